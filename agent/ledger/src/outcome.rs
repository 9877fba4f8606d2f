/// How an exchange ended, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole response was handed to the caller, whatever its status.
    Completed,
    /// The caller closed or reset its side before the end. Often a person who changed their mind.
    ClientGone,
    /// The provider gave no response, or broke off in the middle of it.
    UpstreamFailed(UpstreamFailure),
    /// We answered in the provider's place; nothing was sent to it.
    Refused(Refusal),
    /// The agent stopped before the exchange ended.
    Stopped,
    /// We ended the answer on its way, because a budget was spent.
    Cut,
}

/// What went wrong between us and the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamFailure {
    /// Every address refused the connection or could not be reached.
    Connect,
    /// The connection or the answer took longer than configured.
    Timeout,
    /// The provider's certificate is not valid for its name, or not signed by a trusted root.
    Certificate,
    /// The TLS handshake failed for another reason.
    Tls,
    /// The provider closed or reset the connection before the response had ended.
    Reset,
    /// The provider's bytes are not valid HTTP.
    Protocol,
}

/// Why we answered ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request names another host than the TLS handshake did (421, RFC 9110 §15.5.20).
    Misdirected,
    /// The request cannot be understood as HTTP, or is beyond the limits on it.
    Malformed,
    /// A rule of the operator's forbids it.
    Policy,
    /// A budget of the operator's has no room for it.
    Budget,
    /// A limit of the operator's has no room for it.
    Limit,
}

impl Outcome {
    /// The kind alone, as written in logs and metrics: `completed`, `client_gone`, `upstream_failed`, `refused`, `stopped`, `cut`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::UpstreamFailed(_) => "upstream_failed",
            Self::Refused(_) => "refused",
            Self::Stopped => "stopped",
            Self::Cut => "cut",
        }
    }

    /// What failed or why it was refused, as written in logs and metrics.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed | Self::ClientGone | Self::Stopped | Self::Cut => None,
            Self::UpstreamFailed(failure) => Some(match failure {
                UpstreamFailure::Connect => "connect",
                UpstreamFailure::Timeout => "timeout",
                UpstreamFailure::Certificate => "certificate",
                UpstreamFailure::Tls => "tls",
                UpstreamFailure::Reset => "reset",
                UpstreamFailure::Protocol => "protocol",
            }),
            Self::Refused(refusal) => Some(match refusal {
                Refusal::Misdirected => "misdirected",
                Refusal::Malformed => "malformed",
                Refusal::Policy => "policy",
                Refusal::Budget => "budget",
                Refusal::Limit => "limit",
            }),
        }
    }
}
