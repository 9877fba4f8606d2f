//! No one in between: what the provider, the wire and the generator cost by themselves.

use anyhow::Result;

use super::{Contender, Kind, Running, Traits};
use crate::stage::Stage;

/// The client calls the provider.
pub(super) struct Direct;

impl Contender for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn traits(&self) -> Traits {
        Traits::of(Kind::Direct)
    }

    fn version(&self) -> Result<String> {
        Ok("no one in between".into())
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        Ok(Running::new(stage))
    }
}
