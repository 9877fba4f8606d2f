//! What the proxy tells the rest of the agent. It knows neither metrics nor logs nor ledger.

use std::time::Duration;

use tollgate_ledger::{Attribution, Id, Opened, Record};
use tollgate_llm::Operation;
use tollgate_policy::Notice;
use tollgate_workload::Caller;

use crate::fate::ConnectionRecord;

/// Is told what happened. Called on the request path, so it must not block: count, or hand on to a queue.
pub trait Observer: Send + Sync + 'static {
    /// A request is about to be sent to a provider. Called once for each exchange that is, before any byte of it leaves.
    fn opened(&self, opened: &Opened) {
        let _: &Opened = opened;
    }

    /// An exchange has ended. Called exactly once for each, after its last byte was handed to the connection.
    fn settled(&self, record: Record);

    /// A redirected connection was identified, and what became of it.
    fn connection(&self, record: ConnectionRecord) {
        drop(record);
    }

    /// A connection came that nobody had redirected here.
    fn stray(&self) {}

    /// Something happened between us and a provider.
    fn upstream(&self, event: UpstreamEvent) {
        let _: UpstreamEvent = event;
    }

    /// The policy has decided something that is worth telling.
    fn policy(&self, event: &PolicyEvent<'_>) {
        let _: &PolicyEvent<'_> = event;
    }

    /// A step of our own took so long, which the caller had to wait for.
    fn took(&self, step: Step, time: Duration) {
        let _: (Step, Duration) = (step, time);
    }

    /// An exchange was dropped unsettled: a defect, to be counted because it loses a record.
    fn leaked(&self) {}
}

/// What the policy decided, and about whose call. It holds nothing of what the call says.
#[derive(Clone, Copy, Debug)]
pub struct PolicyEvent<'a> {
    /// What happened.
    pub notice: &'a Notice,
    /// Which exchange.
    pub id: Id,
    /// Who calls.
    pub caller: &'a Caller,
    /// Whom the call is put down to.
    pub attribution: &'a Attribution,
    /// Keyed hash of the credential.
    pub credential: Option<&'a str>,
    /// As in `gen_ai.provider.name`.
    pub provider: &'a str,
    /// The host that is called.
    pub host: &'a str,
    /// What is asked.
    pub operation: Operation,
    /// The model that is asked for.
    pub model: Option<&'a str>,
}

impl<'a> PolicyEvent<'a> {
    /// What the policy decided about the call of this record.
    pub(crate) fn of(record: &'a Record, notice: &'a Notice) -> Self {
        Self {
            notice,
            id: record.id,
            caller: &record.caller,
            attribution: &record.attribution,
            credential: record.credential.as_deref(),
            provider: &record.provider,
            host: &record.host,
            operation: record.operation,
            model: record.request_model.as_deref(),
        }
    }
}

/// A step on the way of a connection or a request whose duration is told.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// The TLS handshake with a client.
    Handshake,
    /// A new connection to a provider, its TLS handshake included.
    Connect,
    /// From the head of a request to its being handed to a connection, without the wait for that connection or for the body.
    Request,
    /// From the head of a response to its being handed to the client's connection.
    Response,
}

/// What happened between us and a provider.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum UpstreamEvent {
    /// A new connection was made; `http2` says which protocol was agreed on.
    Connected {
        /// HTTP/2 rather than HTTP/1.1.
        http2: bool,
    },
    /// A connection that was already there carried a request.
    Reused,
    /// No connection could be made.
    ConnectFailed,
    /// A request that the provider had provably not processed was sent again on another connection.
    Resent,
    /// A stream's request was edited so that the provider tells its usage.
    UsageAsked,
    /// A provider refused that edit, and was sent the request as it came.
    UsageRefused,
    /// The chunk that such an edit brings was left in an answer, which is coded or says its length.
    UsageShown,
    /// A client left, and its answer is read on.
    ReadOn,
}

impl UpstreamEvent {
    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected { http2: false } => "connected_http1",
            Self::Connected { http2: true } => "connected_http2",
            Self::Reused => "reused",
            Self::ConnectFailed => "connect_failed",
            Self::Resent => "resent",
            Self::UsageAsked => "usage_asked",
            Self::UsageRefused => "usage_refused",
            Self::UsageShown => "usage_shown",
            Self::ReadOn => "read_on",
        }
    }
}
