use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use tollgate_workload::Pod;

use crate::{Named, Subject};

mod glob;
mod patterns;
mod values;

pub(crate) use patterns::Key;
pub use patterns::{BadPattern, Patterns};
pub(crate) use values::Values;

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
    /// The unit of the system's own systemd, whose name only root can choose.
    Unit,
    /// The unit of the user's own systemd, whose name its user chooses.
    UserUnit,
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
    pub const ALL: [Self; 20] = [
        Self::Team,
        Self::Program,
        Self::Executable,
        Self::User,
        Self::Uid,
        Self::Cgroup,
        Self::Unit,
        Self::UserUnit,
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
            Self::UserUnit => "user_unit",
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

    /// Whether upper and lower case are the same in it.
    pub fn ignores_case(self) -> bool {
        // Some providers take a model's name in any case, so that another spelling would be a way around a rule.
        matches!(self, Self::Host | Self::Provider | Self::Model)
    }

    /// What it is for a call; `None` where it is absent or empty.
    pub fn value<'a>(self, subject: &Subject<'a>, named: &'a Named) -> Option<Cow<'a, str>> {
        let caller = subject.caller;
        let pod = |of: fn(&Pod) -> Option<&str>| caller.pod.as_deref().and_then(of);
        let value = match self {
            Self::Team => named.team.as_deref(),
            Self::Program => Some(&*caller.program),
            Self::Executable => return caller.executable.as_deref().map(|path| path.to_string_lossy()),
            Self::User => Some(&*caller.user),
            Self::Uid => return Some(Cow::Owned(caller.uid.to_string())),
            Self::Cgroup => caller.cgroup.as_deref(),
            Self::Unit => caller.system_unit.as_deref(),
            Self::UserUnit => caller.unit.as_deref().filter(|unit| caller.system_unit.as_deref() != Some(unit)),
            Self::Container => caller.container.as_deref(),
            Self::Pod => pod(|pod| pod.name.as_deref()),
            Self::Namespace => pod(|pod| pod.namespace.as_deref()),
            Self::ServiceAccount => pod(|pod| pod.service_account.as_deref()),
            Self::Credential => subject.credential,
            Self::UserAgent => subject.user_agent,
            Self::EndUser => subject.end_user,
            Self::Provider => Some(subject.provider),
            Self::Region => subject.region,
            Self::Host => Some(subject.host),
            Self::Operation => Some(subject.operation.as_str()),
            Self::Model => subject.model,
        };
        value.filter(|value| !value.is_empty()).map(Cow::Borrowed)
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
    pub fn matches(&self, subject: &Subject<'_>, named: &Named) -> bool {
        let mut values = Values::new(subject);
        values.set_team(named.team.as_deref());
        self.in_lower_case().accepts(&values)
    }

    /// Whether the request's body has to be read for it.
    pub fn needs_body(&self) -> bool {
        self.fields.iter().any(|(field, _)| field.is_in_body())
    }

    /// Made ready for [`Values`], where what ignores case is in lower case.
    pub(crate) fn in_lower_case(&self) -> Self {
        let fields = self.fields.iter().map(|(field, patterns)| {
            (*field, if field.ignores_case() { patterns.in_lower_case() } else { patterns.clone() })
        });
        Self { fields: fields.collect(), labels: self.labels.clone() }
    }

    /// Whether a call is meant. The selector is from [`Selector::in_lower_case`].
    pub(crate) fn accepts(&self, values: &Values<'_>) -> bool {
        self.fields.iter().all(|(field, patterns)| patterns.matches(values.get(*field)))
            && self.labels.iter().all(|(name, patterns)| patterns.matches(values.label(name)))
    }

    /// The first field or label that does not match, with its value and patterns.
    pub(crate) fn differs<'a>(&'a self, values: &'a Values<'_>) -> Option<(String, Option<&'a str>, &'a Patterns)> {
        let field = self.fields.iter().find_map(|(field, patterns)| {
            let value = values.get(*field);
            (!patterns.matches(value)).then(|| (field.to_string(), value, patterns))
        });
        field.or_else(|| {
            self.labels.iter().find_map(|(name, patterns)| {
                let value = values.label(name);
                (!patterns.matches(value)).then(|| (format!("labels.{name}"), value, patterns))
            })
        })
    }
}

#[cfg(test)]
mod tests;
