//! The policy on a WebSocket: each response that is asked for is decided on by itself, as a call over HTTP is.
//!
//! A client's message is decided on before it is passed on. Responses that the server begins by itself, as where it listens for
//! pauses, are decided on as they begin; one that is refused ends the session, as nothing else keeps the next from beginning.

mod telling;
mod upgrade;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use tollgate_ledger::Record;
use tollgate_llm::{
    Api, Call, HeldMessage, Operation, Prices, RequestFacts, SocketAsk, SocketSession, Usage, WorstCase,
    estimate_input, largest_output,
};
use tollgate_policy::{Ask, Decided, Engine, Refused, Reservation, What};

pub(super) use self::telling::error;
use self::telling::{put_down_to, refusal, rule_of, subject, tell_notices, tell_refused, tell_reserved};
pub(in crate::http) use self::upgrade::{admit_upgrade, is_followed};
use super::Session;
use crate::admit::{self, Gate};
use crate::drain;
use crate::observe::Observer;

/// How many models a session may be asked to go on with.
const MAX_MODELS: usize = 8;

/// Bytes of base64 for a token of sound: 100 ms of 16 bits at 24 kHz, as platform.openai.com/docs/guides/realtime-costs has it.
const SOUND_TOKEN: u64 = 6400;

/// What the policy has to know of a session, and what it has said.
pub(in crate::http) struct Guard {
    engine: Arc<Engine>,
    call: Call,
    /// Models that the client has named for the session. Which of them answers is the server's to say, and it need not.
    asked: Vec<Arc<str>>,
    /// How many changes of the session were passed on.
    updates: u64,
    /// A change of its bound on responses is among them, up to this one.
    bound_changed: u64,
    /// Tokens that the model reads again with the next message.
    held: u64,
    /// The response that the message which is about to be passed on asks for.
    admitted: Option<Admitted>,
    /// Why the session is to end.
    pub(super) ending: Option<Refused>,
}

/// A response that may go on.
pub(super) struct Admitted {
    pub(super) record: Record,
    pub(super) reservation: Reservation,
}

/// A message that rules let pass, and what is to be set aside for it.
struct Judged {
    record: Record,
    decided: Decided,
    facts: RequestFacts,
    ask: Ask,
}

impl Guard {
    /// For a WebSocket that `call` opens by this request, if a policy is in force. One that came after the request was sent cannot
    /// help, if the client has offered the server to compress.
    pub(in crate::http) fn of(gate: Option<&Gate>, call: &Call, sent: &HeaderMap) -> Option<Self> {
        let gate = gate.filter(|gate| is_followed(call) && gate.needs().anything)?;
        (!sent.contains_key(SEC_WEBSOCKET_EXTENSIONS)).then(|| Self::new(gate.engine(), call))
    }

    fn new(engine: &Arc<Engine>, call: &Call) -> Self {
        Self {
            engine: Arc::clone(engine),
            call: call.clone(),
            asked: call.model_in_path.iter().cloned().collect(),
            updates: 0,
            bound_changed: 0,
            held: 0,
            admitted: None,
            ending: None,
        }
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn api(&self) -> Api {
        self.call.api
    }

    /// Whether anything has to be decided at the moment.
    fn is_needed(&self) -> bool {
        self.engine.needs().anything
    }

    /// The bound on responses that the server has told, unless a change of it is under way.
    fn bound(&self, session: &SocketSession) -> Option<u64> {
        session.max_output_tokens.filter(|_| session.updates >= self.bound_changed)
    }

    /// The models that may answer a message which names `named`. The first is the likeliest.
    fn models(&self, named: Option<&Arc<str>>, session: &SocketSession) -> Vec<Option<Arc<str>>> {
        let mut models: Vec<Arc<str>> = named.into_iter().cloned().collect();
        // Realtime's answers are the session's model's, whatever a message says.
        if self.api() == Api::Realtime || named.is_none() {
            models.extend(self.asked.iter().rev().cloned());
        }
        if models.is_empty() {
            models.extend(session.model.clone());
        }
        let mut models: Vec<_> = models.into_iter().map(Some).collect();
        models.dedup();
        if models.is_empty() {
            models.push(None);
        }
        models
    }

    /// Asks the rules about a response by any of `models`. The record learns whom it is put down to.
    fn decide(
        &self,
        record: &mut Record,
        models: &[Option<Arc<str>>],
        facts: &RequestFacts,
    ) -> Result<Decided, Refused> {
        let now = Timestamp::now();
        let mut first: Option<Decided> = None;
        for model in models {
            let facts = RequestFacts { model: model.clone(), ..facts.clone() };
            let (named, decided) = self.engine.decide(&subject(record, &facts), now);
            put_down_to(record, named, &facts);
            let decided = decided?;
            first = Some(match first.take() {
                None => decided,
                Some(mut first) => {
                    first.clamp = first.clamp.into_iter().chain(decided.clamp).min();
                    first
                }
            });
        }
        Ok(first.expect("there is at least one"))
    }

    /// The most that a response may use.
    fn ask(
        &self,
        record: &Record,
        prices: &Prices,
        models: &[Option<Arc<str>>],
        decided: &Decided,
        facts: &RequestFacts,
        input: u64,
    ) -> Ask {
        let mut facts = facts.clone();
        let (mut most, mut cost, mut input_cost) = (0, Some(Decimal::ZERO), Some(Decimal::ZERO));
        for model in models {
            facts.model.clone_from(model);
            let output = largest_output(&self.call, &facts, decided.assumed_output_tokens);
            let output = decided.clamp.map_or(output, |clamp| output.min(clamp));
            let worst = |output| {
                let (provider, region, at) = (&*record.provider, record.region.as_deref(), record.started);
                prices.worst(&WorstCase { provider, region, facts: &facts, input, output, at }).ok()
            };
            // Where one of them has no price, nothing is known.
            cost = cost.zip(worst(output)).map(|(one, other)| one.max(other));
            input_cost = input_cost.zip(worst(0)).map(|(one, other)| one.max(other));
            most = most.max(output);
        }
        Ask { input, output: most, cost, input_cost, stream: true }
    }

    /// A message is passed on that asks for no response.
    pub(super) fn passed(&mut self, ask: &SocketAsk) {
        self.updates += u64::from(ask.is_update);
        if ask.changes_bound {
            self.bound_changed = self.updates;
        }
        if let Some(model) = ask.session_model.as_ref().filter(|model| !self.asked.contains(model)) {
            self.asked.push(Arc::clone(model));
        }
        if self.api() == Api::Realtime {
            let words = if ask.sound > 0 { ask.sound / SOUND_TOKEN } else { estimate_input(&ask.text, &ask.facts) };
            self.held = self.held.saturating_add(words);
        }
    }

    /// A response has ended, and the model will read it again with the next.
    pub(super) fn ended(&mut self, usage: &Usage) {
        self.held = usage.input.saturating_add(usage.output);
    }

    /// What was let pass, for the response that has begun.
    pub(super) fn admitted(&mut self) -> Option<Admitted> {
        self.admitted.take()
    }

    pub(super) fn admit(&mut self, admitted: Admitted) {
        self.admitted = Some(admitted);
    }

    /// The server has begun a response by itself, of which a record is begun. It is decided on here and now; what would have to wait
    /// is refused. Where it is, the session is to end.
    pub(super) fn begun(
        &mut self,
        record: &mut Record,
        session: &SocketSession,
        prices: &Prices,
        observer: &dyn Observer,
    ) -> Option<Reservation> {
        if !self.is_needed() {
            return None;
        }
        let result = self.judge_begun(record, session, prices, observer);
        result
            .inspect_err(|refused| {
                tell_refused(observer, record, refused);
                record.rule = Some(Arc::clone(&refused.name));
                self.ending.get_or_insert_with(|| refused.clone());
            })
            .ok()
    }

    fn judge_begun(
        &self,
        record: &mut Record,
        session: &SocketSession,
        prices: &Prices,
        observer: &dyn Observer,
    ) -> Result<Reservation, Refused> {
        let bound = self.bound(session);
        let facts = RequestFacts { max_output_tokens: bound, stream: Some(true), ..RequestFacts::default() };
        let models = match record.operation {
            Operation::Transcription => vec![record.request_model.clone()],
            _ => self.models(None, session),
        };
        let mut decided = self.decide(record, &models, &facts)?;
        if let Some(limit) = decided
            .clamp
            .filter(|limit| record.operation != Operation::Transcription && bound.is_none_or(|bound| bound > *limit))
        {
            let message = format!(
                "a response that the server begins by itself may have more tokens than the {limit} that a rule allows; \
                 set the session's max_output_tokens to that, or ask for each response"
            );
            return Err(refusal(rule_of(&decided), StatusCode::BAD_REQUEST, message));
        }
        let ask = self.ask(record, prices, &models, &decided, &facts, self.held);
        tell_notices(observer, record, &mut decided);
        let facts = RequestFacts { model: models[0].clone(), ..facts };
        let subject = subject(record, &facts);
        let mut reserving = std::pin::pin!(decided.reserve(&subject, &ask));
        match reserving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(reserved) => {
                let mut reservation = reserved?;
                tell_reserved(observer, record, &mut reservation);
                Ok(reservation)
            }
            Poll::Pending => Err(Refused {
                what: What::Limit,
                ..refusal(
                    "wait".into(),
                    StatusCode::TOO_MANY_REQUESTS,
                    "the server began a response for which a limit has no room yet, and it cannot wait".to_owned(),
                )
            }),
        }
    }

    /// Decides on a client's message by the rules. `None` for one that asks for no response.
    fn judge(&self, session: &Session, message: &mut HeldMessage) -> Result<Option<Judged>, Box<(Record, Refused)>> {
        if !self.is_needed() {
            return Ok(None);
        }
        let mut record = session.record();
        let said = session.said();
        record.request_model.clone_from(&message.ask.facts.model);
        if let Some(refused) = self.judge_change(&mut record, message) {
            return Err(Box::new((record, refused)));
        }
        if !message.ask.is_create {
            return Ok(None);
        }
        let ask = &message.ask;
        let models = self.models(ask.facts.model.as_ref(), &said);
        record.request_model.clone_from(&models[0]);
        let bound = ask.facts.max_output_tokens.or(self.bound(&said));
        let facts = RequestFacts {
            max_output_tokens: bound,
            stream: Some(true),
            model: models[0].clone(),
            ..ask.facts.clone()
        };
        let decided = match self.decide(&mut record, &models, &facts) {
            Ok(decided) => decided,
            Err(refused) => return Err(Box::new((record, refused))),
        };
        if let Some(limit) = decided.clamp
            && let Err(error) = message.clamp(&self.call, limit)
        {
            let rule = rule_of(&decided);
            let text = format!("the request asks for more than the rule {rule:?} allows, and {error}");
            return Err(Box::new((record, refusal(rule, StatusCode::BAD_REQUEST, text))));
        }
        let ask = &message.ask;
        let goes_on = self.api() == Api::Realtime || ask.continues;
        let input = estimate_input(&ask.text, &ask.facts).saturating_add(if goes_on { self.held } else { 0 });
        let ask = self.ask(&record, &session.settler.prices(), &models, &decided, &facts, input);
        Ok(Some(Judged { record, decided, facts, ask }))
    }

    /// Whether what a message says is clear, and what it makes of the session is allowed.
    fn judge_change(&self, record: &mut Record, message: &HeldMessage) -> Option<Refused> {
        let ask = &message.ask;
        if ask.is_ambiguous {
            let message = "the message says twice what the policy of this host depends on; say it once".to_owned();
            return Some(refusal("message".into(), StatusCode::BAD_REQUEST, message));
        }
        let model = ask.session_model.clone().filter(|model| !self.asked.contains(model))?;
        if self.asked.len() >= MAX_MODELS {
            let message =
                "the session's model was changed too often for the policy of this host; open another".to_owned();
            return Some(refusal("message".into(), StatusCode::BAD_REQUEST, message));
        }
        // What a request must say is the request's matter, not the session's.
        let facts = RequestFacts { stream: Some(true), ..RequestFacts::default() };
        let refused = self.decide(record, &[Some(Arc::clone(&model))], &facts).err();
        let refused = refused.filter(|refused| refused.status != StatusCode::BAD_REQUEST)?;
        record.request_model = Some(model);
        Some(refused)
    }
}

/// Has a client's message pass the policy, which may take a while. Gives what it is to be passed on with, if it asks for a response;
/// the error is what to tell the client, and the message is not to be passed on.
pub(super) async fn admit(
    session: &Mutex<Session>,
    message: &mut HeldMessage,
    drain: &drain::Watch,
) -> Result<Option<Admitted>, Vec<u8>> {
    let judged = {
        let session = session.lock();
        let guard = session.guard.as_ref().expect("this relay is for sessions that have one");
        match guard.judge(&session, message) {
            Ok(None) => return Ok(None),
            Ok(Some(judged)) => judged,
            Err(refused) => {
                let (record, refused) = *refused;
                return Err(session.refuse(record, &refused, message.ask.event_id.as_deref()));
            }
        }
    };
    let Judged { mut record, mut decided, facts, ask } = judged;
    let observer = Arc::clone(session.lock().settler.observer());
    tell_notices(&*observer, &mut record, &mut decided);
    let reserved = {
        let subject = subject(&record, &facts);
        tokio::select! {
            biased;
            reserved = decided.reserve(&subject, &ask) => reserved,
            () = drain.signaled() => Err(admit::stopping()),
        }
    };
    match reserved {
        Ok(mut reservation) => {
            tell_reserved(&*observer, &record, &mut reservation);
            record.charges = reservation.charges().to_vec();
            Ok(Some(Admitted { record, reservation }))
        }
        Err(refused) => Err(session.lock().refuse(record, &refused, message.ask.event_id.as_deref())),
    }
}
