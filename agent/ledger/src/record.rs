use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use rust_decimal::Decimal;
use tollgate_llm::{ErrorKind, Operation, PriceStatus, Usage, UsageSource};
use tollgate_workload::Caller;

pub use crate::id::Id;
use crate::outcome::Outcome;
pub use tollgate_policy::Charge;

/// One settled exchange: a request that a caller made of a provider, and what became of it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Which exchange; chosen by us, never by a client, so that nobody can pass two calls off as one.
    pub id: Id,
    /// When the head of the request had been read.
    pub started: SystemTime,
    /// From `started` to the last byte of the response, or to the end of it all.
    pub duration: Duration,
    /// From `started` to the first byte of the response's body.
    pub time_to_first_byte: Option<Duration>,
    /// From `started` to the first event of a stream that carries content.
    pub time_to_first_token: Option<Duration>,
    /// As in `gen_ai.provider.name`: `openai`, `anthropic`, `gcp.gemini`, or the operator's own name.
    pub provider: Arc<str>,
    /// The provider's region, where the host's name says it: `us-east-1`, `europe-west4`, `eu`.
    pub region: Option<Arc<str>>,
    /// The host that was called.
    pub host: Arc<str>,
    /// What kind of call it was.
    pub operation: Operation,
    /// The model that was asked for, by body or path.
    pub request_model: Option<Arc<str>>,
    /// The model that says it answered.
    pub response_model: Option<Arc<str>>,
    /// Tokens, where they are known.
    pub usage: Option<Usage>,
    /// Where the count of tokens comes from.
    pub usage_source: UsageSource,
    /// US dollars; `None` where tokens or price are not known. Never zero for "do not know".
    pub cost: Option<Decimal>,
    /// Where the price is from and of when, as `genai-prices 0.2.1`; `None` where there is none.
    pub price_from: Option<Arc<str>>,
    /// What looking for the price came to; `None` where nothing was there to be priced.
    pub price_status: Option<PriceStatus>,
    /// Status of the response that the caller got, from the provider or from us.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: Outcome,
    /// What the provider said went wrong, in the body or in the middle of a stream.
    pub error: Option<ErrorKind>,
    /// Whether the answer was asked for, or came, as a stream; `None` where neither says.
    pub stream: Option<bool>,
    /// Bytes of the request's body, as sent.
    pub request_bytes: u64,
    /// Bytes of the response's body, as sent.
    pub response_bytes: u64,
    /// The provider's own name for the exchange, from its response's headers, to ask its support about.
    pub request_id: Option<Arc<str>>,
    /// Which credential was used: a keyed hash of it in hexadecimal, never the credential.
    pub credential: Option<Arc<str>>,
    /// The process that called.
    pub caller: Arc<Caller>,
    /// Whom the call is put down to, beside its caller.
    pub attribution: Attribution,
    /// The rule, budget or limit that refused or cut it, or whose clamp was put on it.
    pub rule: Option<Arc<str>>,
    /// What budgets were charged for it.
    pub charges: Vec<Charge>,
}

/// Whom a call is put down to, beside its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The team that the policy says the caller is of.
    pub team: Option<Arc<str>>,
    /// Who pays for it.
    pub cost_center: Option<Arc<str>>,
    /// Whom the request says that it is for: `user`, `metadata.user_id`, `safety_identifier`.
    pub end_user: Option<Arc<str>>,
    /// The SDK: the first product of `user-agent`, as `openai-python/2.8.0`.
    pub user_agent: Option<Arc<str>>,
}

/// An exchange that is about to be sent: what a crash must not make us forget.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The same as in the [`Record`] that will settle it.
    pub id: Id,
    /// When the head of the request had been read.
    pub started: SystemTime,
    /// As in [`Record::provider`].
    pub provider: Arc<str>,
    /// As in [`Record::region`].
    pub region: Option<Arc<str>>,
    /// The host that is called.
    pub host: Arc<str>,
    /// What kind of call it is.
    pub operation: Operation,
    /// The model that is asked for, where it is known this early.
    pub request_model: Option<Arc<str>>,
    /// As in [`Record::credential`].
    pub credential: Option<Arc<str>>,
    /// The process that calls.
    pub caller: Arc<Caller>,
    /// As in [`Record::attribution`].
    pub attribution: Attribution,
    /// What was set aside for it. A call of which no end is known is charged that.
    pub charges: Vec<Charge>,
}

impl Record {
    /// The model to group by: the one asked for, else the one that answered.
    pub fn model(&self) -> Option<&Arc<str>> {
        self.request_model.as_ref().or(self.response_model.as_ref())
    }

    /// Whether the provider began a successful answer to an operation that it charges for. If so, it
    /// has a cost, even when we do not know it. A connection that was switched to another protocol, as
    /// for a WebSocket, counts as such, unless the calls on it are followed and have records of their own.
    pub fn is_billable(&self) -> bool {
        let Some(status) = self.status.filter(|_| !matches!(self.outcome, Outcome::Refused(_))) else { return false };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // On a WebSocket, no status says that a call was refused.
            let is_refused = self.error.is_some() && self.usage.is_none();
            return self.operation != Operation::Session && !is_refused;
        }
        let charged = !matches!(self.operation, Operation::Other | Operation::CountTokens | Operation::Session);
        charged && status.is_success()
    }

    /// What went wrong, as one low-cardinality word for `error.type`; `None` for a good answer.
    ///
    /// In order: why there was no full answer, what the provider's error says, what its status says.
    pub fn error_type(&self) -> Option<&'static str> {
        match self.outcome {
            Outcome::Completed => {
                self.error.or_else(|| self.status.and_then(ErrorKind::from_status)).map(ErrorKind::as_str)
            }
            outcome => Some(outcome.reason().unwrap_or(outcome.kind())),
        }
    }

    /// Whether the caller got less than it asked for, through no choice of its own.
    pub fn is_error(&self) -> bool {
        self.outcome != Outcome::ClientGone && self.error_type().is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::outcome::{Refusal, UpstreamFailure};

    /// The beginning of [`chat`].
    pub(crate) fn opened(id: Id) -> Opened {
        opening(&Record { id, ..chat() })
    }

    /// The beginning of an exchange that ended like this.
    pub(crate) fn opening(record: &Record) -> Opened {
        let record = record.clone();
        Opened {
            id: record.id,
            started: record.started,
            provider: record.provider,
            region: record.region,
            host: record.host,
            operation: record.operation,
            request_model: record.request_model,
            credential: record.credential,
            caller: record.caller,
            attribution: record.attribution,
            charges: record.charges,
        }
    }

    /// A chat by a pod, put down to a team and charged to two budgets.
    pub(crate) fn charged(amount: Decimal) -> Record {
        let pod = tollgate_workload::Pod {
            uid: "0b5e".into(),
            name: Some("train-0".into()),
            namespace: Some("ml".into()),
            service_account: Some("trainer".into()),
            ..tollgate_workload::Pod::default()
        };
        let charge = |budget: &str, group: &str, amount| Charge {
            budget: budget.into(),
            group: group.into(),
            window: 1_761_955_200,
            counts: None,
            amount,
        };
        Record {
            caller: Arc::new(Caller { pod: Some(Arc::new(pod)), ..(*chat().caller).clone() }),
            attribution: Attribution {
                team: Some("research".into()),
                cost_center: Some("CC-1".into()),
                end_user: Some("u-7".into()),
                user_agent: Some("openai-python/2.8.0".into()),
            },
            rule: Some("small".into()),
            charges: vec![charge("month", "alice", amount), charge("tokens", "", Decimal::from(1_540))],
            ..chat()
        }
    }

    /// A good chat of one program.
    pub(crate) fn chat() -> Record {
        Record {
            id: Id::new(),
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_850_000_250),
            duration: Duration::from_micros(1_234_567),
            time_to_first_byte: Some(Duration::from_millis(250)),
            time_to_first_token: None,
            region: None,
            provider: "openai".into(),
            host: "api.openai.com".into(),
            operation: Operation::Chat,
            request_model: Some("gpt-5".into()),
            response_model: Some("gpt-5-2025-08-07".into()),
            usage: Some(Usage { input: 1_200, output: 340, cache_read: 1_000, reasoning: 64, ..Usage::default() }),
            usage_source: UsageSource::Provider,
            cost: Some(Decimal::new(3_775, 6)),
            price_from: None,
            price_status: Some(PriceStatus::Exact),
            request_id: None,
            credential: None,
            status: Some(StatusCode::OK),
            outcome: Outcome::Completed,
            error: None,
            stream: Some(true),
            request_bytes: 5_120,
            response_bytes: 20_480,
            caller: Arc::new(Caller {
                program: "python3.13".into(),
                executable: Some("/usr/bin/python3.13".into()),
                user: "alice".into(),
                uid: 1000,
                pid: 4242,
                cgroup: Some("/user.slice/app.scope".into()),
                unit: Some("app.scope".into()),
                container: None,
                pod: None,
                system_unit: None,
            }),
            attribution: Attribution::default(),
            rule: None,
            charges: Vec::new(),
        }
    }

    #[test]
    fn the_error_type_names_the_outcome_then_the_providers_error_then_the_status() {
        let ok = chat();
        assert_eq!((ok.error_type(), ok.is_error()), (None, false));

        let limited = Record { status: Some(StatusCode::TOO_MANY_REQUESTS), ..chat() };
        assert_eq!((limited.error_type(), limited.is_error()), (Some("rate_limited"), true));
        let quota = Record { error: Some(ErrorKind::QuotaExceeded), ..limited };
        assert_eq!(quota.error_type(), Some("quota_exceeded"));
        let in_stream = Record { error: Some(ErrorKind::Overloaded), ..chat() };
        assert_eq!((in_stream.error_type(), in_stream.is_error()), (Some("overloaded"), true));

        let failed = Record { outcome: Outcome::UpstreamFailed(UpstreamFailure::Certificate), ..quota };
        assert_eq!((failed.error_type(), failed.is_error()), (Some("certificate"), true));
        let gone = Record { outcome: Outcome::ClientGone, ..chat() };
        assert_eq!((gone.error_type(), gone.is_error()), (Some("client_gone"), false));
    }

    #[test]
    fn only_successful_answers_to_charged_operations_are_billable() {
        assert!(chat().is_billable());
        assert!(Record { outcome: Outcome::ClientGone, ..chat() }.is_billable());
        let socket = Record { operation: Operation::Other, status: Some(StatusCode::SWITCHING_PROTOCOLS), ..chat() };
        assert!(socket.is_billable(), "a WebSocket's tokens are not known to be none");
        let turn = Record { operation: Operation::Realtime, ..socket.clone() };
        assert!(turn.is_billable(), "a response on a WebSocket");
        for free in [
            Record { operation: Operation::Session, ..socket },
            Record { error: Some(ErrorKind::InvalidRequest), usage: None, ..turn },
            Record { operation: Operation::Session, ..chat() },
            Record { operation: Operation::Other, ..chat() },
            Record { operation: Operation::CountTokens, ..chat() },
            Record { status: Some(StatusCode::UNAUTHORIZED), ..chat() },
            Record { status: None, ..chat() },
            Record { outcome: Outcome::Refused(Refusal::Policy), ..chat() },
        ] {
            assert!(!free.is_billable(), "{free:?}");
        }
    }
}
