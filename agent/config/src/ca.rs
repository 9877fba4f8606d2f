use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Leaf;

/// The certificate authority that intercepted clients meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ca {
    /// Where certificate and key are kept.
    pub directory: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawCa {
    /// Folder of the authority's certificate and key. Made at the first start, readable by the
    /// agent's user alone. Whoever reads the key can pose as the intercepted hosts on this node.
    directory: Leaf<PathBuf>,
}

impl Default for RawCa {
    fn default() -> Self {
        Self { directory: Leaf("/var/lib/tollgate/ca".into()) }
    }
}

impl From<RawCa> for Ca {
    fn from(raw: RawCa) -> Self {
        Self { directory: raw.directory.0 }
    }
}
