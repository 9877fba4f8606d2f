//! Asks the policy about a call before it leaves: rules first, then budgets and limits.
//!
//! The two ways of HTTP, and the messages of WebSockets, bring the facts; what is here is the same for all of them.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode, request};
use jiff::Timestamp;
use rust_decimal::Decimal;
use tollgate_ledger::{Outcome, Refusal};
use tollgate_llm::{
    Allowance, Api, Call, Clamp, Edits, Operation, PolicyRefusal, Provider, RefusalCause, RequestFacts, is_ambiguous,
    largest_output,
};
use tollgate_policy::{Ask, Decided, Engine, Mode, Needs, Notice, Quota, Refused, What};

use crate::drain;
use crate::exchange::Exchange;

/// How long a client may pause within a request that has to be read.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What the configuration says about asking the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicySettings {
    /// How large a request may be that has to be read before it is decided on, in bytes. A larger one is refused.
    pub body_limit: usize,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self { body_limit: 32 << 20 }
    }
}

/// The policy that calls have to pass.
pub(crate) struct Gate {
    engine: Arc<Engine>,
    settings: PolicySettings,
}

impl Gate {
    pub(crate) fn new(engine: Arc<Engine>, settings: PolicySettings) -> Self {
        Self { engine, settings }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.settings.body_limit
    }

    /// What the policy in force has to know of a call.
    pub(crate) fn needs(&self) -> Needs {
        self.engine.needs()
    }

    /// Asks the rules about a call, and takes note of whom it is put down to. What is worth telling is not told yet.
    pub(crate) fn decide(&self, exchange: &mut Exchange, facts: &RequestFacts) -> Result<Decided, Refused> {
        let (named, decided) = self.engine.decide(&exchange.subject(facts), Timestamp::now());
        exchange.put_down_to(named, facts);
        decided
    }

    /// Like [`Self::decide`], for a call with a body. `is_read` says that all of it was.
    pub(crate) fn decide_on(
        &self,
        exchange: &mut Exchange,
        call: &Call,
        facts: &RequestFacts,
        is_read: bool,
    ) -> Result<Decided, Refused> {
        if self::is_read(call, self.needs()) && !is_read {
            return Err(unreadable(Unreadable::Unread, 0));
        }
        let decided = self.decide(exchange, facts)?;
        // The provider may read it otherwise.
        if is_read && facts.is_unclear { Err(unreadable(Unreadable::Unclear, 0)) } else { Ok(decided) }
    }

    /// The most that the call may use. `input` is how many tokens the model is given to read.
    pub(crate) fn ask(
        &self,
        exchange: &Exchange,
        call: &Call,
        decided: &Decided,
        facts: &RequestFacts,
        input: u64,
    ) -> Ask {
        let stream = facts.stream == Some(true);
        if !is_charged(call.operation) {
            return Ask { cost: Some(Decimal::ZERO), input_cost: Some(Decimal::ZERO), stream, ..Ask::default() };
        }
        let needs = self.needs();
        if !(needs.ask && needs.body) {
            return Ask { stream, ..Ask::default() };
        }
        let mut clamped = facts.clone();
        if let Some(most) = decided.clamp {
            clamped.max_output_tokens = Some(facts.max_output_tokens.map_or(most, |asked| asked.min(most)));
        }
        let output = largest_output(call, &clamped, decided.assumed_output_tokens);
        let cost = exchange.worst(facts, input, output);
        Ask { input, output, cost, input_cost: cost.and_then(|_| exchange.worst(facts, input, 0)), stream }
    }

    /// Sets aside what the call may use, and tells what was decided. It may have to wait, until a drain begins.
    pub(crate) async fn reserve(
        &self,
        exchange: &mut Exchange,
        mut decided: Decided,
        facts: &RequestFacts,
        ask: Ask,
        drain: &drain::Watch,
    ) -> Result<(), Refused> {
        for notice in std::mem::take(&mut decided.notices) {
            if let Notice::Clamped { rule, mode: Mode::Enforce, .. } = &notice {
                exchange.rule = Some(Arc::clone(rule));
            }
            exchange.tell(&notice);
        }
        let subject = exchange.subject(facts);
        let reserved = tokio::select! {
            biased;
            reserved = decided.reserve(&subject, &ask) => reserved,
            () = drain.signaled() => Err(stopping()),
        };
        let mut reservation = reserved?;
        for notice in reservation.take_notices() {
            exchange.tell(&notice);
        }
        exchange.reservation = Some(reservation);
        Ok(())
    }
}

/// Whether there is one way to read which call a request is.
pub(crate) fn check_target(provider: &Provider, head: &request::Parts) -> Result<(), Refused> {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if is_ambiguous(provider, &head.method, target) { Err(unreadable(Unreadable::Target, 0)) } else { Ok(()) }
}

/// How a request's body is to be changed for what was decided. `read` reads it, once more, and as a whole.
pub(crate) fn clamp(
    call: &Call,
    provider: &Provider,
    headers: &HeaderMap,
    facts: &RequestFacts,
    decided: &Decided,
    read: impl FnOnce(&mut Clamp),
) -> Result<Edits, Refused> {
    let Some(limit) = decided.clamp else { return Ok(Edits::default()) };
    let mut clamp = Clamp::new(call, provider, headers, facts, limit);
    read(&mut clamp);
    clamp.finish().map_err(|error| {
        let rule = decided.notices.iter().find_map(|notice| match notice {
            Notice::Clamped { rule, mode: Mode::Enforce, .. } => Some(Arc::clone(rule)),
            _ => None,
        });
        let name = rule.unwrap_or_else(|| "clamp".into());
        let message = format!("the request asks for more than the rule {name:?} allows, and {error}");
        Refused {
            what: What::Rule,
            name,
            status: StatusCode::BAD_REQUEST,
            message,
            retry_after: None,
            quota: None,
            notices: Vec::new(),
        }
    })
}

/// The policy has refused a call: tells it, and gives how its exchange ends.
pub(crate) fn refuse(exchange: &mut Exchange, refused: &Refused) -> Outcome {
    for notice in &refused.notices {
        exchange.tell(notice);
    }
    exchange.tell(&Notice::Refused { what: refused.what, name: Arc::clone(&refused.name), mode: Mode::Enforce });
    exchange.rule = Some(Arc::clone(&refused.name));
    Outcome::Refused(match refused.what {
        What::Rule => Refusal::Policy,
        What::Budget => Refusal::Budget,
        What::Limit => Refusal::Limit,
    })
}

/// Whether a call's body has to be read before it is decided on.
pub(crate) fn is_read(call: &Call, needs: Needs) -> bool {
    needs.body && call.api != Api::Unknown && !call.is_websocket
}

/// Whether what is left of a refused request may be read for its connection's sake: it is not too much, and it comes.
pub(crate) fn is_worth_reading(refused: &Refused) -> bool {
    !matches!(refused.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT)
}

/// Whether the answer to a call may be a stream, as far as its method and path tell.
pub(crate) fn may_stream(call: &Call) -> bool {
    call.stream_in_path != Some(false) && call.api != Api::Unknown && is_charged(call.operation)
}

/// Whether a provider charges for such calls at all.
pub(crate) fn is_charged(operation: Operation) -> bool {
    !matches!(operation, Operation::Other | Operation::CountTokens | Operation::Session)
}

/// The media type by which a body is read that decides something. What a client says of a body is no reason not to read it, where
/// it can be but one thing.
pub(crate) fn believed<'a>(call: &Call, content_type: Option<&'a str>) -> Option<&'a str> {
    let may_be_form = matches!(call.api, Api::Images | Api::Transcription);
    content_type.filter(|kind| {
        may_be_form && kind.trim_start().get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
    })
}

/// A request that cannot be read, and has to be.
pub(crate) fn unreadable(reason: Unreadable, limit: usize) -> Refused {
    let (name, status, message, retry_after) = match reason {
        Unreadable::TooLarge => (
            "body_limit",
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request is larger than the {limit} bytes that the policy of this host reads"),
            None,
        ),
        Unreadable::NoRoom => (
            "body_room",
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are being read at once for the policy of this host; try again".to_owned(),
            Some(Duration::from_secs(1)),
        ),
        Unreadable::Slow => (
            "body_timeout",
            StatusCode::REQUEST_TIMEOUT,
            "the request did not come, and the policy of this host has to read it".to_owned(),
            None,
        ),
        Unreadable::Unread => (
            "body",
            StatusCode::SERVICE_UNAVAILABLE,
            "the policy of this host has just changed, and has to read the request; try again".to_owned(),
            Some(Duration::from_secs(1)),
        ),
        Unreadable::Target => (
            "target",
            StatusCode::BAD_REQUEST,
            "the policy of this host has to know which call and model the request is for, and servers may read its path or query otherwise".to_owned(),
            None,
        ),
        Unreadable::Unclear => (
            "body",
            StatusCode::BAD_REQUEST,
            "the policy of this host has to read the request, which is not one JSON object that names one model, in UTF-8".to_owned(),
            None,
        ),
    };
    Refused { what: What::Rule, name: name.into(), status, message, retry_after, quota: None, notices: Vec::new() }
}

/// Why a request cannot be decided on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unreadable {
    /// It is larger than may be read.
    TooLarge,
    /// Others have taken the memory for it.
    NoRoom,
    /// Its client paused for too long.
    Slow,
    /// Nobody had to read it until now.
    Unread,
    /// There is more than one way to read its path or query.
    Target,
    /// There is more than one way to read it, or none.
    Unclear,
}

/// A call that waits does not hold up the end of the agent.
pub(crate) fn stopping() -> Refused {
    Refused {
        what: What::Limit,
        name: "stopping".into(),
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "the gateway of this host is being stopped, and the call had to wait; try again".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
        quota: None,
        notices: Vec::new(),
    }
}

/// A refusal, ready to be worded in a caller's dialect.
pub(crate) fn in_words(refused: &Refused) -> PolicyRefusal<'_> {
    PolicyRefusal {
        status: refused.status,
        cause: match refused.what {
            What::Rule => RefusalCause::Rule,
            What::Budget => RefusalCause::Budget,
            What::Limit => RefusalCause::Limit,
        },
        message: &refused.message,
        retry_after: refused.retry_after,
        allowance: refused.quota.map(|Quota { is_tokens, limit, remaining, reset }| Allowance {
            is_tokens,
            limit,
            remaining,
            reset,
        }),
    }
}
