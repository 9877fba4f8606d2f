use serde::{Deserialize, Serialize};

/// What `/status` tells, as JSON. Unknown fields are skipped when it is read, so that an older
/// command understands a newer agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The agent's process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Whether nothing is pending.
    pub ready: bool,
    /// What is still to happen before it is ready.
    pub pending: Vec<String>,
    /// What the rest of the agent tells.
    #[serde(flatten)]
    pub state: State,
}

/// What the rest of the agent tells of itself for [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whose TLS is opened: `all` or `off`.
    pub terminate: String,
    /// Where intercepted connections are taken.
    pub listeners: Vec<String>,
    /// Who is passed through because it refused our certificate.
    pub refusals: Vec<Refused>,
    /// How the ledger is; none where none is kept.
    pub ledger: Option<LedgerState>,
}

/// How the ledger is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerState {
    /// Its file.
    pub file: String,
    /// Why it cannot be written, if so.
    pub trouble: Option<String>,
    /// Calls that wait to be written.
    pub waiting: u64,
    /// Calls of which not all is in the ledger, because there was no room.
    pub lost: u64,
}

/// A program that refused our certificate for a host, and is passed through for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The program.
    pub program: String,
    /// The user who ran it.
    #[serde(default)]
    pub user: String,
    /// The host that it called.
    pub host: String,
    /// How it refused.
    pub reason: String,
    /// How often.
    pub times: u32,
    /// Seconds until it is tried again.
    pub remaining_seconds: u64,
    /// What makes it trust us.
    pub remedy: String,
}
