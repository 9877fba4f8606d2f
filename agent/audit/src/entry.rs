use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

/// Bytes of a text that are kept. Callers choose some of them.
const LONGEST: usize = 1024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The agent began its work.
    Started,
    /// It ended in good order.
    Stopped,
    /// Another configuration is in force.
    Reloaded,
    /// A configuration was not taken; the one before stays.
    ReloadRefused,
    /// A call was refused, or would have been.
    Refused,
    /// A request's largest answer was made smaller, or would have been.
    Clamped,
    /// An answer was ended because a budget is spent.
    Cut,
    /// So much of a budget is spent.
    Spent,
    /// A program refused our certificate, and is passed through for a while.
    TrustRefused,
    /// A certificate authority was made.
    AuthorityMade,
    /// So many entries had no room. Written by the audit itself.
    Dropped,
    /// The line before was torn by a crash or a full disk. Written by the audit itself.
    Torn,
}

impl What {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload_refused",
            Self::Refused => "refused",
            Self::Clamped => "clamped",
            Self::Cut => "cut",
            Self::Spent => "spent",
            Self::TrustRefused => "trust_refused",
            Self::AuthorityMade => "authority_made",
            Self::Dropped => "dropped",
            Self::Torn => "torn",
        }
    }
}

/// One thing that happened. What is not known or not of this kind is left out. Texts are cut at 1024 bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// What.
    pub what: What,
    /// Which exchange, as in the ledger.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub id: Option<Arc<str>>,
    /// Whose call it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// Keyed hash of the credential.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub credential: Option<Arc<str>>,
    /// As in `gen_ai.provider.name`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub provider: Option<Arc<str>>,
    /// The host that was called.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub host: Option<Arc<str>>,
    /// Chat, embeddings and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
    /// The model that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub model: Option<Arc<str>>,
    /// `rule`, `budget` or `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub name: Option<Arc<str>>,
    /// Whose share of a budget.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub group: Option<Arc<str>>,
    /// `enforce`, or `observe` for what would have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// What the request asked for, where that was made smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// What it asks for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// How much of a budget is spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// In words of ours.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub detail: Option<Arc<str>>,
}

/// The process that called, and whom it is put down to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Who {
    /// File name of the executable.
    #[serde(serialize_with = "clip")]
    pub program: Arc<str>,
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "path")]
    pub executable: Option<PathBuf>,
    /// Login name.
    #[serde(serialize_with = "clip")]
    pub user: Arc<str>,
    /// User id.
    pub uid: u32,
    /// Process id.
    pub pid: u32,
    /// Path in the cgroup v2 hierarchy.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub cgroup: Option<Arc<str>>,
    /// systemd's unit.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub unit: Option<Arc<str>>,
    /// Id of the container.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub container: Option<Arc<str>>,
    /// Uid of the Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub pod_uid: Option<Arc<str>>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub pod: Option<Arc<str>>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub namespace: Option<Arc<str>>,
    /// Its service account.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub service_account: Option<Arc<str>>,
    /// The team that the policy says it is of.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub team: Option<Arc<str>>,
    /// Who pays for it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped")]
    pub cost_center: Option<Arc<str>>,
}

impl Entry {
    /// Of this moment, with nothing else said.
    pub fn new(what: What) -> Self {
        Self {
            time: SystemTime::now(),
            what,
            id: None,
            who: None,
            credential: None,
            provider: None,
            host: None,
            operation: None,
            model: None,
            kind: None,
            name: None,
            group: None,
            mode: None,
            from: None,
            to: None,
            percent: None,
            count: None,
            detail: None,
        }
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

fn clip<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(short(text))
}

#[expect(clippy::ref_option, reason = "serde's form")]
fn clipped<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().map_or("", short))
}

#[expect(clippy::ref_option, reason = "serde's form")]
fn path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_deref().map(|path| path.to_string_lossy()).unwrap_or_default();
    serializer.serialize_str(short(&text))
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    use time::format_description::well_known::Rfc3339;
    let text = time::OffsetDateTime::from(*at).format(&Rfc3339);
    serializer.serialize_str(&text.map_err(serde::ser::Error::custom)?)
}
