use std::fmt;
use std::str::FromStr;

use crate::{Named, Subject};

/// A property of a call that selectors name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The team that the policy says it is of.
    Team,
    /// File name of the executable.
    Program,
    /// Path of the executable.
    Executable,
    /// Login name.
    User,
    /// Numeric user id.
    Uid,
    /// Path in the cgroup v2 hierarchy.
    Cgroup,
    /// systemd's unit.
    Unit,
    /// Id of the container.
    Container,
    /// Name of the Kubernetes pod.
    Pod,
    /// Kubernetes namespace.
    Namespace,
    /// Kubernetes service account.
    ServiceAccount,
    /// Fingerprint of the credential.
    Credential,
    /// The SDK, from `user-agent`.
    UserAgent,
    /// Whom the request says that it is for.
    EndUser,
    /// As in `gen_ai.provider.name`.
    Provider,
    /// The provider's region.
    Region,
    /// The host that is called.
    Host,
    /// Chat, embeddings and so on, as in `gen_ai.operation.name`.
    Operation,
    /// The model that is asked for.
    Model,
}

impl Field {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 19] = [
        Self::Team,
        Self::Program,
        Self::Executable,
        Self::User,
        Self::Uid,
        Self::Cgroup,
        Self::Unit,
        Self::Container,
        Self::Pod,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Credential,
        Self::UserAgent,
        Self::EndUser,
        Self::Provider,
        Self::Region,
        Self::Host,
        Self::Operation,
        Self::Model,
    ];

    /// Its key in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Program => "program",
            Self::Executable => "executable",
            Self::User => "user",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::ServiceAccount => "service_account",
            Self::Credential => "credential",
            Self::UserAgent => "user_agent",
            Self::EndUser => "end_user",
            Self::Provider => "provider",
            Self::Region => "region",
            Self::Host => "host",
            Self::Operation => "operation",
            Self::Model => "model",
        }
    }

    /// Whether it stands in the request's body, as a rule.
    pub fn is_in_body(self) -> bool {
        matches!(self, Self::Model | Self::EndUser)
    }
}

impl FromStr for Field {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|field| field.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a value may be: a list of exact values and globs (`*` any characters, `?` one), those with `!` before them excluded.
///
/// It matches what one of the others matches, or anything where there are no others, and none of the excluded. What is absent
/// is matched by exclusions alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    texts: Vec<String>,
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub String);

impl Patterns {
    /// Reads a list of patterns.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        Ok(Self { texts: patterns.iter().map(|text| text.as_ref().to_owned()).collect() })
    }

    /// Whether it matches.
    pub fn matches(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| self.texts.iter().any(|text| text == value))
    }
}

/// Which calls are meant: those where each named field matches.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// Fields and what they may be, no field twice.
    pub fields: Vec<(Field, Patterns)>,
    /// Labels of the pod and what they may be.
    pub labels: Vec<(String, Patterns)>,
}

impl Selector {
    /// Whether a call is meant.
    pub fn matches(&self, _subject: &Subject<'_>, _named: &Named) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }
}
