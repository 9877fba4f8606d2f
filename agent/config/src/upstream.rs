use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Leaf;

/// Connections to providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Files of certificates to trust beside the system's.
    pub roots: Vec<PathBuf>,
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawUpstream {
    /// Files (PEM) of certificate authorities to trust beside those of the system, for providers
    /// behind a private one.
    roots: Vec<Leaf<PathBuf>>,
    /// How long one address of a provider may take to accept a connection, before the next is tried.
    /// Answers have no limit but the caller's own.
    connect_timeout: Leaf<Duration>,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self { roots: Vec::new(), connect_timeout: Leaf(Duration::from_secs(10)) }
    }
}

impl From<RawUpstream> for Upstream {
    fn from(raw: RawUpstream) -> Self {
        Self { roots: raw.roots.into_iter().map(|path| path.0).collect(), connect_timeout: raw.connect_timeout.0 }
    }
}
