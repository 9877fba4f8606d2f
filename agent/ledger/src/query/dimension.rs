//! What a report can be grouped by.

use std::fmt;
use std::str::FromStr;

/// One property of an exchange to group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Program, with its systemd unit or container where it has one.
    Workload,
    /// File name of the executable.
    Program,
    /// Login name.
    User,
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
    /// The team that the policy says the caller is of.
    Team,
    /// Who pays for it.
    CostCenter,
    /// Whom the request says that it is for.
    EndUser,
    /// The SDK.
    UserAgent,
    /// Keyed hash of the credential.
    Credential,
    /// As in `gen_ai.provider.name`.
    Provider,
    /// The model asked for, else the one that answered.
    Model,
    /// Chat, embeddings and so on.
    Operation,
    /// The provider's region.
    Region,
    /// The host that was called.
    Host,
    /// The day on which the call began.
    Day,
    /// The hour in which the call began.
    Hour,
}

/// A word that is no dimension.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadDimension {
    /// Not one of ours.
    #[error("`{0}` is nothing to group by; there are: {names}", names = Dimension::names())]
    Unknown(String),
}

impl Dimension {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 20] = [
        Self::Workload,
        Self::Program,
        Self::User,
        Self::Unit,
        Self::Container,
        Self::Pod,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Team,
        Self::CostCenter,
        Self::EndUser,
        Self::UserAgent,
        Self::Credential,
        Self::Provider,
        Self::Model,
        Self::Operation,
        Self::Region,
        Self::Host,
        Self::Day,
        Self::Hour,
    ];

    /// Its name in CSV and JSON. On the command line it may have hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Program => "program",
            Self::User => "user",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::ServiceAccount => "service_account",
            Self::Team => "team",
            Self::CostCenter => "cost_center",
            Self::EndUser => "end_user",
            Self::UserAgent => "user_agent",
            Self::Credential => "credential",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Operation => "operation",
            Self::Region => "region",
            Self::Host => "host",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// Whether groups of it follow each other in time.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Hour)
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ").replace('_', "-")
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dimension {
    type Err = BadDimension;

    fn from_str(text: &str) -> Result<Self, BadDimension> {
        let word = text.trim().to_ascii_lowercase().replace('-', "_");
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.as_str() == word)
            .ok_or_else(|| BadDimension::Unknown(text.trim().chars().filter(|c| !c.is_control()).take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_reads_back_and_others_are_refused_with_the_list() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.as_str().to_uppercase().parse(), Ok(dimension));
        }
        assert_eq!("cost-center".parse(), Ok(Dimension::CostCenter));
        let error = "modle".parse::<Dimension>().unwrap_err().to_string();
        assert!(error.contains("`modle`") && error.contains("team, cost-center, end-user"), "{error}");
    }
}
