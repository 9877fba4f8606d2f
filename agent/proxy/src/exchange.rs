//! One request and its response, from the head of the request to one [`Record`].
//!
//! ```text
//! begin ──► identify ──► answered (or refused) ──► passed, frame by frame ──► end ──► settle
//! ```
//!
//! [`Open`] is held by whoever drives the exchange at the time: the service, then the response's body or the relay. Whatever
//! happens to that holder, the exchange is ended once. It is settled by the connection's own task, after the flush, so that the
//! last frame does not wait for the meter either.

mod open;
mod request;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tollgate_ledger::{Attribution, Id, Opened, Outcome, Record};
use tollgate_llm::{
    Api, Call, Operation, Provider, RequestFacts, ResponseFacts, ResponseMeter, SocketMeter, Unmetered, Untold,
    UsageSource, WorstCase,
};
use tollgate_policy::{Actual, Named, Notice, Refused, Reservation, Subject};
use tollgate_workload::Caller;

pub(crate) use self::open::{Ended, Open};
pub(crate) use self::request::{DirectRequest, RequestSide};
use crate::drain;
use crate::http::backlog::Backlog;
use crate::http::headers::joined_lines;
use crate::observe::PolicyEvent;
use crate::settle::{Bill, Reserved, Settler};

/// What is known when the head of a request has been read.
pub(crate) struct Exchange {
    id: Id,
    started: Instant,
    started_at: SystemTime,
    host: Arc<str>,
    provider: Arc<Provider>,
    caller: Arc<Caller>,
    call: Call,
    region: Option<Arc<str>>,
    credential: Option<Arc<str>>,
    request: RequestSide,
    response: Option<ResponseMeter>,
    backlog: Backlog,
    status: Option<StatusCode>,
    streams: bool,
    request_id: Option<Arc<str>>,
    first_byte: Option<Duration>,
    first_token: Option<Duration>,
    response_bytes: u64,
    pub(crate) attribution: Attribution,
    /// The model that is asked for, where it was learned before the request left.
    asked_model: Option<Arc<str>>,
    /// What refused it, or whose clamp was put on it.
    pub(crate) rule: Option<Arc<str>>,
    /// What the policy has set aside for it.
    pub(crate) reservation: Option<Reservation>,
    settler: Arc<Settler>,
    settled: bool,
}

impl Exchange {
    pub(crate) fn begin(
        host: Arc<str>,
        provider: Arc<Provider>,
        caller: Arc<Caller>,
        call: Call,
        credential: Option<Arc<str>>,
        request: impl Into<RequestSide>,
        settler: Arc<Settler>,
    ) -> Self {
        let started_at = SystemTime::now();
        Self {
            id: Id::at(started_at),
            started: Instant::now(),
            started_at,
            region: provider.region(&host).map(Arc::from),
            host,
            provider,
            caller,
            call,
            credential,
            request: request.into(),
            response: None,
            backlog: Backlog::default(),
            status: None,
            streams: false,
            request_id: None,
            first_byte: None,
            first_token: None,
            response_bytes: 0,
            attribution: Attribution::default(),
            asked_model: None,
            rule: None,
            reservation: None,
            settler,
            settled: false,
        }
    }

    /// The provider has answered; its body is to be metered.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let coding = joined_lines(headers, &header::CONTENT_ENCODING);
        self.status = Some(status);
        self.streams = content_type.is_some_and(is_stream);
        self.request_id = request_id(headers);
        let meter = ResponseMeter::new(self.call.api, status, content_type, coding.as_deref());
        let meter = meter.with_headers(headers);
        self.response = Some(match self.settler.pointers(&self.provider.name) {
            Some(pointers) => meter.with_pointers(&pointers),
            None => meter,
        });
    }

    /// We answered in the provider's place.
    pub(crate) fn refused(&mut self, status: StatusCode, bytes: u64) {
        self.status = Some(status);
        self.response_bytes = bytes;
    }

    /// A frame of the response is being handed on.
    pub(crate) fn passed(&mut self, frame: &Bytes) {
        self.first_byte.get_or_insert_with(|| self.started.elapsed());
        self.response_bytes += frame.len() as u64;
        if let Some(meter) = &mut self.response {
            self.backlog.passed(frame, |bytes| meter.push(bytes));
        }
        self.looked();
    }

    /// The provider has sent all of its answer, and the client is yet to get the end of it.
    pub(crate) fn has_come(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.leave();
        }
    }

    /// Content of the response was handed on, and may be looked at.
    pub(crate) fn handed_on(&mut self, bytes: &[u8]) {
        self.first_byte.get_or_insert_with(|| self.started.elapsed());
        self.response_bytes += bytes.len() as u64;
        if let Some(meter) = &mut self.response {
            meter.push(bytes);
        }
        self.looked();
    }

    /// What is learned from the request, where it passes without hyper.
    pub(crate) fn direct_request(&mut self) -> Option<&mut DirectRequest> {
        match &mut self.request {
            RequestSide::Direct(request) => Some(request),
            RequestSide::Source(_) => None,
        }
    }

    /// Notes when the first text was seen. Frames are looked at as soon as they are flushed, so this is when it was sent.
    fn looked(&mut self) {
        if self.streams && self.first_token.is_none() && self.response.as_ref().is_some_and(ResponseMeter::has_text) {
            self.first_token = Some(self.started.elapsed());
        }
    }

    /// See [`Backlog::resume`].
    pub(crate) fn resume(&mut self) {
        if let Some(meter) = &mut self.response {
            self.backlog.resume(|bytes| meter.push(bytes));
        }
        self.looked();
    }

    /// See [`Backlog::idle`].
    pub(crate) fn idle(&mut self, context: &std::task::Context<'_>) {
        self.backlog.idle(context);
    }

    /// The connection was not switched to the protocol that the call asked for, or will not be.
    pub(crate) fn not_switched(&mut self) {
        if self.call.is_websocket {
            (self.call.operation, self.call.api) = (Operation::Other, Api::Unknown);
        }
    }

    /// It was switched, and each call on it is followed as a turn of its own. Gives what their records have in common with this
    /// exchange's, if they can be followed.
    pub(crate) fn switched<B>(&mut self, response: &Response<B>) -> Option<(SocketMeter, Record)> {
        let extensions = joined_lines(response.headers(), &header::SEC_WEBSOCKET_EXTENSIONS);
        let meter = SocketMeter::new(&self.call, extensions.as_deref());
        if let Err(reason @ Unmetered::UnknownCoding) = &meter {
            tracing::warn!(host = %self.host, %reason, "a WebSocket uses an unknown extension, and is not followed");
        }
        let meter = meter.ok()?;
        let turn = self.turn();
        (self.call.operation, self.call.api) = (Operation::Session, Api::Unknown);
        self.response = None;
        Some((meter, turn))
    }

    /// The turns on a switched connection could not be followed to its end, so it counts as a call of which nothing is known.
    pub(crate) fn lost_track(&mut self, operation: Operation, reason: Unmetered) {
        tracing::warn!(host = %self.host, %reason, "a WebSocket could not be followed, and calls on it may be missing");
        self.call.operation = operation;
    }

    /// A record of nothing yet, for a turn on this connection. The bytes are counted once, with the session's own.
    fn turn(&self) -> Record {
        let Opened { region, credential, .. } = self.opened();
        Record {
            id: self.id,
            started: self.started_at,
            duration: Duration::ZERO,
            time_to_first_byte: None,
            time_to_first_token: None,
            region,
            provider: Arc::clone(&self.provider.name),
            host: Arc::clone(&self.host),
            operation: self.call.operation,
            request_model: None,
            response_model: None,
            usage: None,
            usage_source: UsageSource::None,
            cost: None,
            price_from: None,
            price_status: None,
            status: Some(StatusCode::SWITCHING_PROTOCOLS),
            outcome: Outcome::Completed,
            error: None,
            stream: Some(true),
            request_bytes: 0,
            response_bytes: 0,
            request_id: self.request_id.clone(),
            credential,
            caller: Arc::clone(&self.caller),
            attribution: self.attribution.clone(),
            rule: None,
            charges: Vec::new(),
        }
    }

    /// Who settles this exchange, and those on its connection.
    pub(crate) fn settler(&self) -> Arc<Settler> {
        Arc::clone(&self.settler)
    }

    /// Counts bytes that were relayed without being looked at, after a protocol switch.
    pub(crate) fn relayed(&mut self, sent: u64, received: u64) {
        self.request.relayed(sent);
        self.response_bytes += received;
    }

    /// What is to be remembered before the request leaves.
    pub(crate) fn opened(&self) -> Opened {
        Opened {
            id: self.id,
            started: self.started_at,
            provider: Arc::clone(&self.provider.name),
            region: self.region.clone(),
            host: Arc::clone(&self.host),
            // Should the agent crash: what was called on it has rows of its own.
            operation: if self.call.is_websocket { Operation::Session } else { self.call.operation },
            request_model: self.asked_model.clone().or_else(|| self.call.model_in_path.clone()),
            credential: self.credential.clone(),
            caller: Arc::clone(&self.caller),
            attribution: self.attribution.clone(),
            charges: self.reservation.as_ref().map(|reservation| reservation.charges().to_vec()).unwrap_or_default(),
        }
    }

    /// What the call costs at most, by what is known of its request.
    pub(crate) fn worst(&self, facts: &RequestFacts, input: u64, output: u64) -> Option<Decimal> {
        let (provider, region, at) = (&*self.provider.name, self.region.as_deref(), self.started_at);
        self.settler.prices().worst(&WorstCase { provider, region, facts, input, output, at }).ok()
    }

    /// Takes note of whom the call is put down to, and of what it asks for, before it leaves.
    pub(crate) fn put_down_to(&mut self, named: Named, facts: &RequestFacts) {
        (self.attribution.team, self.attribution.cost_center) = (named.team, named.cost_center);
        self.attribution.end_user.clone_from(&facts.end_user);
        self.asked_model.clone_from(&facts.model);
    }

    /// Tells what the policy has decided about the call.
    pub(crate) fn tell(&self, notice: &Notice) {
        self.settler.observer().policy(&PolicyEvent {
            notice,
            id: self.id,
            caller: &self.caller,
            attribution: &self.attribution,
            credential: self.credential.as_deref(),
            provider: &self.provider.name,
            host: &self.host,
            operation: self.call.operation,
            model: self.asked_model.as_deref(),
        });
    }

    /// Whether a budget may cut the answer.
    pub(crate) fn may_be_cut(&self) -> bool {
        self.reservation.as_ref().is_some_and(Reservation::may_cut)
    }

    /// Tells the budgets what was used so far. The error is one that is to cut the answer.
    pub(crate) fn used(&mut self) -> Result<(), Refused> {
        let (Some(reservation), Some(meter)) = (&mut self.reservation, &self.response) else { return Ok(()) };
        let (input, output) = meter.so_far();
        reservation.used(&Actual { input, output, cost: None, is_billable: true })
    }

    /// The call as the policy sees it, with what is known of its request.
    pub(crate) fn subject<'a>(&'a self, facts: &'a RequestFacts) -> Subject<'a> {
        Subject {
            caller: &self.caller,
            credential: self.credential.as_deref(),
            provider: &self.provider.name,
            region: self.region.as_deref(),
            host: &self.host,
            operation: self.call.operation,
            model: facts.model.as_deref(),
            stream: facts.stream == Some(true),
            max_output_tokens: facts.max_output_tokens,
            end_user: facts.end_user.as_deref(),
            user_agent: self.attribution.user_agent.as_deref(),
        }
    }

    fn settle(mut self, outcome: Outcome, duration: Duration, drain: &drain::Watch) {
        self.settled = true;
        if let Some(meter) = &mut self.response {
            self.backlog.drain(|bytes| meter.push(bytes));
        }
        self.looked();
        let request = self.request.settle();
        let (response, untold) = match self.response.take() {
            Some(meter) => meter.finish_with_untold(),
            None => (ResponseFacts::default(), self.unanswered(outcome, request.is_sent)),
        };
        let untold = if is_text(self.call.operation) { untold } else { Untold::default() };
        let mut attribution = std::mem::take(&mut self.attribution);
        attribution.end_user = request.facts.end_user;
        // Nothing was sent of what was refused.
        let request_bytes = if matches!(outcome, Outcome::Refused(_)) { 0 } else { request.bytes };
        let record = Record {
            id: self.id,
            started: self.started_at,
            duration,
            time_to_first_byte: self.first_byte,
            time_to_first_token: self.first_token,
            region: self.region.clone(),
            provider: Arc::clone(&self.provider.name),
            host: Arc::clone(&self.host),
            operation: self.call.operation,
            request_model: request.facts.model,
            response_model: response.model,
            usage: response.usage,
            usage_source: response.source,
            cost: None,
            price_from: None,
            price_status: None,
            status: self.status,
            outcome,
            error: response.error,
            stream: request.facts.stream.or(self.streams.then_some(true)),
            request_bytes,
            response_bytes: self.response_bytes,
            request_id: self.request_id.take(),
            credential: self.credential.take(),
            caller: Arc::clone(&self.caller),
            attribution,
            rule: self.rule.take(),
            charges: Vec::new(),
        };
        let is_sent = request.is_sent;
        let reserved = self.reservation.take().map(|reservation| Reserved { reservation, is_sent });
        let bill = Bill { cost: response.cost, pointed: response.pointed, reserved };
        if untold.is_nothing() {
            self.settler.settle(record, bill);
        } else {
            self.settler.estimate(record, bill, untold, request.text, drain.clone());
        }
    }

    /// What is untold where no answer came: of a request that was sent, and that nobody waited for, what it had the model read.
    fn unanswered(&self, outcome: Outcome, is_sent: bool) -> Untold {
        let nobody_waited = matches!(outcome, Outcome::ClientGone | Outcome::Stopped) && self.status.is_none();
        if is_sent && nobody_waited { Untold::unanswered(self.call.api) } else { Untold::default() }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only a detector: every holder ends its exchange in words (`Open`, `Ended`).
        if !self.settled {
            self.settler.observer().leaked();
            debug_assert!(std::thread::panicking(), "an exchange was dropped unsettled");
        }
    }
}

/// Whether a call is about text, which can be counted. Bedrock has images and sound asked for by the same API.
fn is_text(operation: Operation) -> bool {
    use Operation::{Chat, Embeddings, GenerateContent, TextCompletion};
    matches!(operation, Chat | TextCompletion | GenerateContent | Embeddings)
}

/// Content types that arrive event by event: SSE (OpenAI, Anthropic, Gemini), AWS event streams, NDJSON.
pub(crate) fn is_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["text/event-stream", "application/vnd.amazon.eventstream", "application/x-ndjson"]
        .iter()
        .any(|stream| essence.eq_ignore_ascii_case(stream))
}

/// The provider's own name for an exchange: OpenAI's, Anthropic's, Amazon's, Azure's, and who follows them.
const REQUEST_IDS: [HeaderName; 7] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-amzn-requestid"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("x-ms-request-id"),
    HeaderName::from_static("x-goog-request-id"),
    HeaderName::from_static("x-cloud-trace-context"),
];

/// No provider's is longer. Records and logs are not for whatever else a server may send.
const MAX_REQUEST_ID: usize = 128;

fn request_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = REQUEST_IDS.iter().find_map(|name| headers.get(name))?.to_str().ok()?.trim();
    let is_sane = (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_sane.then(|| id.into())
}
