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
    /// How the audit is; none where none is kept.
    pub audit: Option<AuditState>,
    /// How it stands with the policy's budgets, those first of which the largest share is taken; some of many.
    pub budgets: Vec<BudgetSummary>,
    /// Which configuration is in force.
    pub config: Option<ConfigState>,
}

/// Which configuration is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigState {
    /// Its file; none where none was named.
    pub file: Option<String>,
    /// When it was read (RFC 3339).
    pub loaded: String,
    /// How often another one was taken over since the start.
    pub reloads: u64,
    /// How often another one was refused.
    pub refused: u64,
    /// What is wrong with the one that was read last, if it was refused. What was in force before still is.
    pub trouble: Option<String>,
    /// The parts that were changed and need a restart.
    pub needs_restart: Vec<String>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
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

/// How the audit is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditState {
    /// Its directory.
    pub directory: String,
    /// Why it cannot be written, if so.
    pub trouble: Option<String>,
    /// Entries that wait to be written.
    pub waiting: u64,
    /// Entries for which there was no room.
    pub dropped: u64,
    /// The number of the last line that this agent wrote.
    pub line: Option<u64>,
    /// Its hash. Kept elsewhere, it shows whether lines at the end were removed.
    pub hash: Option<String>,
}

/// How it stands with a budget, or with one group of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetSummary {
    /// Its name.
    pub budget: String,
    /// Whose share of it; empty where all share it.
    pub group: String,
    /// `usd` or `tokens`.
    pub unit: String,
    /// How much there is. A string, as all money here.
    pub limit: String,
    /// How much is spent.
    pub spent: String,
    /// How much is set aside for calls on their way.
    pub reserved: String,
    /// When its next window begins (RFC 3339).
    pub resets: String,
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
