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
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawUpstream {
    /// Files (PEM) of certificate authorities to trust beside those of the system, for providers
    /// behind a private one.
    roots: Vec<Leaf<PathBuf>>,
    /// How long it may take to connect to a provider, the TLS handshake included. Answers have no
    /// limit but the caller's own.
    connect_timeout: Leaf<Duration>,
    /// How long a connection to a provider is kept open for the next call.
    idle_timeout: Leaf<Duration>,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            connect_timeout: Leaf(Duration::from_secs(10)),
            idle_timeout: Leaf(Duration::from_secs(90)),
        }
    }
}

impl From<RawUpstream> for Upstream {
    fn from(raw: RawUpstream) -> Self {
        Self {
            roots: raw.roots.into_iter().map(|path| path.0).collect(),
            connect_timeout: raw.connect_timeout.0,
            idle_timeout: raw.idle_timeout.0,
        }
    }
}
