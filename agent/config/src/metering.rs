use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, at};
use crate::value::{Leaf, Size};

/// What is done so that calls can be counted to the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metering {
    /// Whether streams are asked for their usage.
    pub include_usage: IncludeUsage,
    /// What becomes of an answer whose client has left.
    pub on_disconnect: OnDisconnect,
    /// How long such an answer is read on.
    pub drain_timeout: Duration,
    /// How many bytes of it are read on.
    pub drain_limit: usize,
}

/// Whether streams in OpenAI's dialect, which tell their usage only when asked, are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncludeUsage {
    /// Where the client does not ask and the provider is not known to refuse: `stream_options.include_usage` is put into the
    /// request, and the one extra chunk is taken out of the answer.
    Auto,
    /// Requests stay as they are, and such streams are estimated.
    Off,
}

/// What becomes of an answer whose client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// The provider is told at once, as without the agent. What it had not told by then is estimated.
    Cancel,
    /// It is read to its end, where its usage stands, within `drain_timeout` and `drain_limit`. The provider goes on
    /// working, and bills for it.
    Drain,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawMetering {
    /// Whether streams in OpenAI's dialect, which tell their usage only when asked, are asked for it.
    include_usage: IncludeUsage,
    /// What becomes of an answer whose client has left before its end.
    on_disconnect: OnDisconnect,
    /// How long an answer is read on with `on_disconnect: drain`.
    drain_timeout: Leaf<Duration>,
    /// How much of an answer is read on with `on_disconnect: drain`.
    drain_limit: Leaf<Size>,
}

impl Default for RawMetering {
    fn default() -> Self {
        Self {
            include_usage: IncludeUsage::Auto,
            on_disconnect: OnDisconnect::Cancel,
            drain_timeout: Leaf(Duration::from_mins(1)),
            drain_limit: Leaf(Size(16 << 20)),
        }
    }
}

impl RawMetering {
    pub(crate) fn check(self, checks: &mut Checks<'_>) -> Metering {
        if self.drain_timeout.0 > Duration::from_hours(1) {
            let message = "a provider would work for nobody for so long";
            checks.report(&at("metering", "drain_timeout"), message, "write a duration of at most `1h`");
        }
        Metering {
            include_usage: self.include_usage,
            on_disconnect: self.on_disconnect,
            drain_timeout: self.drain_timeout.0,
            drain_limit: self.drain_limit.0.0,
        }
    }
}
