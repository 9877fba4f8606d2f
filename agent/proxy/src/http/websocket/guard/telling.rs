//! What is told of decisions: to the client, to the ledger, and to whoever observes.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use tollgate_ledger::{Id, Outcome, Record, Refusal};
use tollgate_llm::{Api, RequestFacts, SocketError};
use tollgate_policy::{Decided, Mode, Named, Notice, Refused, Reservation, Subject, What};

use super::super::Session;
use crate::admit;
use crate::observe::{Observer, PolicyEvent};

impl Session {
    /// A record of a response that is yet to begin.
    pub(in crate::http::websocket) fn record(&self) -> Record {
        Record { id: Id::new(), started: SystemTime::now(), ..self.common.clone() }
    }

    /// Takes a refusal down, and words it for the client.
    pub(super) fn refuse(&self, mut record: Record, refused: &Refused, about: Option<&str>) -> Vec<u8> {
        let observer = self.settler.observer();
        tell_refused(&**observer, &record, refused);
        let error = error(&record, refused, about, self.guard.as_ref().map_or(Api::Unknown, |guard| guard.api()));
        record.duration = record.started.elapsed().unwrap_or_default();
        record.rule = Some(Arc::clone(&refused.name));
        record.status = Some(refused.status);
        record.outcome = Outcome::Refused(match refused.what {
            What::Rule => Refusal::Policy,
            What::Budget => Refusal::Budget,
            What::Limit => Refusal::Limit,
        });
        observer.settled(record);
        error
    }

    /// A message is larger than may be read.
    pub(in crate::http::websocket) fn too_large(&self, limit: usize) -> Vec<u8> {
        let message = format!("the message is larger than the {limit} bytes that the policy of this host reads");
        self.refuse(self.record(), &refusal("body_limit".into(), StatusCode::PAYLOAD_TOO_LARGE, message), None)
    }
}

/// The API's own words for a refusal.
pub(in crate::http::websocket) fn error(record: &Record, refused: &Refused, about: Option<&str>, api: Api) -> Vec<u8> {
    let id = format!("event_{}", record.id);
    SocketError { refusal: admit::in_words(refused), about, id: &id }.frame(api)
}

pub(super) fn refusal(name: Arc<str>, status: StatusCode, message: String) -> Refused {
    Refused { what: What::Rule, name, status, message, retry_after: None, quota: None, notices: Vec::new() }
}

/// Whose clamp it is.
pub(super) fn rule_of(decided: &Decided) -> Arc<str> {
    let rule = decided.notices.iter().find_map(|notice| match notice {
        Notice::Clamped { rule, mode: Mode::Enforce, .. } => Some(Arc::clone(rule)),
        _ => None,
    });
    rule.unwrap_or_else(|| "clamp".into())
}

pub(super) fn put_down_to(record: &mut Record, named: Named, facts: &RequestFacts) {
    (record.attribution.team, record.attribution.cost_center) = (named.team, named.cost_center);
    record.attribution.end_user.clone_from(&facts.end_user);
}

/// Tells what was decided about a response that may go on, as far as rules are concerned.
pub(super) fn tell_notices(observer: &dyn Observer, record: &mut Record, decided: &mut Decided) {
    for notice in std::mem::take(&mut decided.notices) {
        if let Notice::Clamped { rule, mode: Mode::Enforce, .. } = &notice {
            record.rule = Some(Arc::clone(rule));
        }
        observer.policy(&PolicyEvent::of(record, &notice));
    }
}

pub(super) fn tell_refused(observer: &dyn Observer, record: &Record, refused: &Refused) {
    let refusal = Notice::Refused { what: refused.what, name: Arc::clone(&refused.name), mode: Mode::Enforce };
    for notice in refused.notices.iter().chain([&refusal]) {
        observer.policy(&PolicyEvent::of(record, notice));
    }
}

/// Tells what was decided when something was set aside.
pub(super) fn tell_reserved(observer: &dyn Observer, record: &Record, reservation: &mut Reservation) {
    for notice in reservation.take_notices() {
        observer.policy(&PolicyEvent::of(record, &notice));
    }
}

/// A response as the policy sees it.
pub(super) fn subject<'a>(record: &'a Record, facts: &'a RequestFacts) -> Subject<'a> {
    Subject {
        caller: &record.caller,
        credential: record.credential.as_deref(),
        provider: &record.provider,
        region: record.region.as_deref(),
        host: &record.host,
        operation: record.operation,
        model: facts.model.as_deref(),
        stream: true,
        max_output_tokens: facts.max_output_tokens,
        end_user: facts.end_user.as_deref(),
        user_agent: record.attribution.user_agent.as_deref(),
    }
}
