use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose TLS is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Terminate {
    /// Everyone's in scope. A client that refuses our certificate is passed through from its next
    /// try on, and counted.
    #[default]
    All,
    /// Nobody's: connections are passed through and counted by host, bytes and caller.
    Off,
}
