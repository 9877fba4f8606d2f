use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Leaf;

/// How the agent stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// How long calls in flight are waited for.
    pub timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDrain {
    /// How long calls in flight may go on after the agent is told to stop. New connections go to the
    /// provider directly meanwhile.
    timeout: Leaf<Duration>,
}

impl Default for RawDrain {
    fn default() -> Self {
        Self { timeout: Leaf(Duration::from_secs(30)) }
    }
}

impl From<RawDrain> for Drain {
    fn from(raw: RawDrain) -> Self {
        Self { timeout: raw.timeout.0 }
    }
}
