use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, at};
use crate::value::{Leaf, Size};

/// How long, and for how much, is waited until it is known what a new connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// How long.
    pub timeout: Duration,
    /// How many bytes.
    pub limit: usize,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPeek {
    /// How long a client may take to say what it wants, in its TLS ClientHello. After that the
    /// connection is passed through as it is, as for protocols in which the server speaks first.
    timeout: Leaf<Duration>,
    /// How large that may be, from `4KiB` to `1MiB`. Post-quantum key shares make it a few KiB.
    limit: Leaf<Size>,
}

impl Default for RawPeek {
    fn default() -> Self {
        Self { timeout: Leaf(Duration::from_secs(5)), limit: Leaf(Size(64 * 1024)) }
    }
}

impl RawPeek {
    pub(crate) fn check(self, checks: &mut Checks<'_>) -> Peek {
        let limit = self.limit.0.0;
        if !(4 * 1024..=1024 * 1024).contains(&limit) {
            let message = "this is too little for a ClientHello, or more than one may cost";
            checks.report(&at("peek", "limit"), message, "write a size from `4KiB` to `1MiB`");
        }
        Peek { timeout: self.timeout.0, limit }
    }
}
