//! One request of a client's connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS,
    USER_AGENT,
};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Version, request};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tollgate_ledger::{Outcome, Refusal, UpstreamFailure};
use tollgate_llm::{Api, Call, Dialect, Edits, RequestMeter, identify};
use tollgate_policy::Refused;

use super::admission::{Stop, admit};
use super::headers::{Protocol, joined_lines, prepare_response};
use super::relay::{Switch, relay};
use super::request::RequestSource;
use super::response::{Cutting, Rare, Relayed, ResponseBody, Sent};
use super::splice::{self, Answered, Candidate};
use super::websocket::Session;
use super::websocket::guard::Guard;
use super::{Connection, Shared};
use crate::admit::{self, Gate};
use crate::drain;
use crate::exchange::{Ended, Exchange, Open, RequestSide};
use crate::http2::Received;
use crate::observe::Step;
use crate::upstream::{Outgoing, SendError, Target, Wish};

/// Bodies that are surely kept whole for a second attempt.
const SMALL: u64 = 128 * 1024;

/// No SDK's name and version are longer.
const LONGEST_PRODUCT: usize = 64;

/// What the requests of one connection have in common.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    pub(super) target: Target,
    settlements: mpsc::UnboundedSender<Ended>,
    pub(super) begun: watch::Sender<bool>,
    /// Streams and relays outlive their connection, and the drain waits for them.
    pub(super) drain: drain::Watch,
    last_product: Mutex<Option<Arc<str>>>,
    /// A request that has passed the policy and turned out to be hyper's.
    pub(super) carried: Mutex<Option<Carried>>,
}

/// A request that has passed the policy, with what has to be changed in it.
pub(super) struct Carried {
    pub(super) open: Open,
    pub(super) clamp: Edits,
}

impl Context {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Connection,
        settlements: mpsc::UnboundedSender<Ended>,
        drain: drain::Watch,
    ) -> (Arc<Self>, watch::Receiver<bool>) {
        let (begun, receiver) = watch::channel(false);
        let host = Arc::clone(&connection.host);
        let Connection { destination, plain, .. } = connection;
        let target = Target { host, destination, uid: connection.caller.uid, plain };
        let (last_product, carried) = (Mutex::default(), Mutex::default());
        let context = Self { shared, connection, target, settlements, begun, drain, last_product, carried };
        (Arc::new(context), receiver)
    }

    /// Whether the provider is known to let HTTP/2 streams switch protocols.
    pub(super) fn has_extended_connect(&self) -> bool {
        self.shared.upstream.has_extended_connect(&self.target.host)
    }

    /// An exchange whose end is settled when it was flushed, by the connection's task.
    fn begin(&self, call: &Call, head: &request::Parts, source: &RequestSource) -> Open {
        let user_agent = head.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        let exchange = self.exchange(call, head, user_agent, source.clone());
        Open::new(exchange, Some(self.settlements.clone()), self.drain.clone())
    }

    /// `user_agent` is the field as it came.
    pub(super) fn exchange(
        &self,
        call: &Call,
        head: &request::Parts,
        user_agent: Option<&[u8]>,
        request: impl Into<RequestSide>,
    ) -> Exchange {
        let Connection { host, provider, caller, .. } = &self.connection;
        let mut exchange = Exchange::begin(
            Arc::clone(host),
            Arc::clone(provider),
            Arc::clone(caller),
            call.clone(),
            self.shared.fingerprints.get().and_then(|fingerprints| fingerprints.of(head)),
            request,
            Arc::clone(&self.shared.settler),
        );
        exchange.attribution.user_agent = user_agent.and_then(|field| self.product(field));
        exchange
    }

    /// The first product that a `user-agent` names (RFC 9110 § 10.1.5). A connection is one client's, as a rule.
    fn product(&self, field: &[u8]) -> Option<Arc<str>> {
        let product = product(field)?;
        let mut last = self.last_product.lock();
        if let Some(last) = last.as_ref().filter(|last| ***last == *product) {
            return Some(Arc::clone(last));
        }
        let product = Arc::from(product);
        *last = Some(Arc::clone(&product));
        Some(product)
    }
}

/// The first word of a `user-agent`, as far as records have room for it.
fn product(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(field.len());
    let product = std::str::from_utf8(&field[..end.min(LONGEST_PRODUCT)]).ok()?;
    Some(product).filter(|product| !product.is_empty())
}

/// Serves one request. Dropped before it is done, the client has gone. `switch` is there where it wants to [switch](wants_switch).
pub(super) async fn serve(
    context: Arc<Context>,
    request: Request<Received>,
    switch: Option<Switch>,
) -> Result<Response<ResponseBody>, Infallible> {
    let begun = Instant::now();
    context.begun.send_if_modified(|begun| !std::mem::replace(begun, true));
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let call = identify(&context.connection.provider, &parts.method, path);
    let gate = context.shared.gate.get().filter(|gate| gate.needs().anything);
    let source = RequestSource::new(body, meter(&call, &parts, gate));
    let (mut open, passed) = match context.carried.lock().take() {
        Some(Carried { open, clamp }) => (open.carried_on(source.clone(), context.settlements.clone()), Some(clamp)),
        None => (context.begin(&call, &parts, &source), None),
    };
    tracing::debug!(host = %context.target.host, method = %parts.method, operation = %call.operation, "a request");

    if is_misdirected(&parts, &context.target.host) {
        let message = format!("this connection is for {} only; connect anew for another host", context.target.host);
        let outcome = Outcome::Refused(Refusal::Misdirected);
        return Ok(refuse(open, call.dialect, StatusCode::MISDIRECTED_REQUEST, &message, outcome));
    }
    let Shared { splicing, observer, .. } = &*context.shared;
    let candidate = splicing.candidate(&context.connection.provider, &context.target.host, &call, &parts);
    let mut outgoing = outgoing(parts, source);
    let own = begun.elapsed();
    let admitted = match (gate, &candidate) {
        (Some(gate), candidate) => {
            // Boxed, so that where there is no policy none of it is held.
            Box::pin(admit(&context, gate, &mut open, &call, &mut outgoing, candidate.as_ref(), passed)).await
        }
        (None, Some(candidate)) if !splicing.prepare(candidate, &mut outgoing).await => Err(Stop::Gone),
        (None, _) => Ok(()),
    };
    match admitted {
        Ok(()) => {}
        Err(Stop::Refused(refused)) => return Ok(refuse_by_policy(open, call.dialect, &outgoing, &refused).await),
        Err(Stop::Gone) => {
            open.end(Outcome::ClientGone);
            let message = "the request broke off";
            return Ok(refuse(open, call.dialect, StatusCode::BAD_REQUEST, message, Outcome::ClientGone));
        }
    }
    let collected = Instant::now();
    if let Some(exchange) = open.exchange() {
        observer.opened(&exchange.opened());
    }
    observer.took(Step::Request, own + collected.elapsed());
    // A WebSocket without a client says nothing more.
    let draining = context.shared.draining.clone().filter(|_| call.api != Api::Unknown && !call.is_websocket);
    let source = outgoing.source.clone();
    // Boxed where it is made: held here it would be part of this twice, and all of this is moved for each request.
    let sending = Box::pin(send(Arc::clone(&context), outgoing, candidate));
    let ((answered, outgoing), open) = match draining {
        Some(draining) => draining.wait(sending, open, source).await,
        None => (sending.await, open),
    };
    match answered {
        Ok(answered) => {
            let answering = Instant::now();
            let response = answer(&context, &outgoing, &call, open, switch, answered);
            observer.took(Step::Response, answering.elapsed());
            Ok(response)
        }
        Err(error) => Ok(failed(&context, open, call.dialect, &outgoing, &error)),
    }
}

/// Sends a request, and gives it back with what came of it.
async fn send(context: Arc<Context>, mut outgoing: Outgoing, candidate: Option<Candidate>) -> Sent {
    let answered = splice::send(&context.shared, &context.target, &mut outgoing, candidate.as_ref()).await;
    (answered, outgoing)
}

/// Reads of a request what the policy has to know, where there is one.
pub(super) fn meter(call: &Call, parts: &request::Parts, gate: Option<&Gate>) -> RequestMeter {
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let coding = joined_lines(&parts.headers, &CONTENT_ENCODING);
    if gate.is_some() {
        return RequestMeter::for_policy(call, admit::believed(call, content_type), coding.as_deref());
    }
    RequestMeter::new(call, content_type, coding.as_deref())
}

fn outgoing(mut parts: request::Parts, source: RequestSource) -> Outgoing {
    let from = Protocol::of(parts.version);
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let empty = source.is_empty();
    let wish = if parts.extensions.get::<h2::ext::Protocol>().is_some() { Wish::ExtendedConnect } else { Wish::Plain };
    // hyper's own handle on a switch, if any, stays with us.
    parts.extensions.remove::<OnUpgrade>();
    let small = empty || length.is_some_and(|length| length <= SMALL);
    Outgoing { parts, source, from, wish, empty, small, unasked: None }
}

/// Whether the client asks to go on in another protocol: `Upgrade` in HTTP/1.1, CONNECT in both.
pub(super) fn wants_switch<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        || (request.version() == Version::HTTP_11 && request.headers().contains_key(http::header::UPGRADE))
}

/// Whether a request names another host than the handshake did. It would go to a server that the client did not verify.
fn is_misdirected(parts: &request::Parts, host: &str) -> bool {
    let same = |authority: &str| {
        let name = Authority::try_from(authority).ok();
        name.is_some_and(|name| name.host().trim_end_matches('.').eq_ignore_ascii_case(host.trim_end_matches('.')))
    };
    let named = parts.uri.authority().is_some_and(|authority| !same(authority.as_str()));
    named || parts.headers.get_all(HOST).iter().any(|value| !value.to_str().is_ok_and(same))
}

fn answer(
    context: &Arc<Context>,
    outgoing: &Outgoing,
    call: &Call,
    mut open: Open,
    switch: Option<Switch>,
    answered: Answered,
) -> Response<ResponseBody> {
    let Answered { mut response, lease, read } = answered;
    let to = outgoing.from;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (outgoing.parts.method == Method::CONNECT && response.status().is_success());
    let client = switch.filter(|_| switches);
    if let Some(exchange) = open.exchange() {
        if client.is_none() {
            exchange.not_switched();
        }
        exchange.answered(response.status(), response.headers());
    }
    if let Some(client) = client {
        let server = Switch::of(&mut response);
        let drain = context.drain.clone();
        let session = open.exchange().and_then(|exchange| {
            let (meter, common) = exchange.switched(&response)?;
            Some(Session::new(meter, common, exchange.settler(), drain.clone()))
        });
        let guard = Guard::of(context.shared.gate.get(), call, &outgoing.parts.headers);
        let is_extended = response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS);
        let session = match (session, guard) {
            (Some(session), Some(guard)) if !is_extended => Some(Box::new(session.guarded(guard))),
            (session, None) => session.map(Box::new),
            (_, Some(_)) => {
                let message = "the server agreed on an extension that was not offered, and the policy of this host has to read what passes";
                let outcome = Outcome::UpstreamFailed(UpstreamFailure::Protocol);
                return refuse(open, call.dialect, StatusCode::BAD_GATEWAY, message, outcome);
            }
        };
        tokio::spawn(async move {
            relay(client, server, open, session, lease).await;
            drop(drain);
        });
        let (mut parts, _body) = response.into_parts();
        prepare_response(&mut parts.headers, to);
        return Response::from_parts(parts, ResponseBody::Own(Full::default()));
    }
    let Shared { observer, draining, .. } = &*context.shared;
    let is_asked = outgoing.unasked.is_some();
    let remover = is_asked.then(|| splice::remover(response.status(), response.headers(), &**observer)).flatten();
    let draining = draining.clone().filter(|_| response.status().is_success() && call.api != Api::Unknown);
    let cuts = context.shared.gate.get().is_some_and(|gate| gate.needs().cut)
        && response.status().is_success()
        && open.exchange().is_some_and(|exchange| exchange.reservation.is_some());
    let cutting = cuts.then(|| Cutting::of(call, response.headers())).flatten();
    let rare = Rare::new(read, remover, draining).cut_by(cutting);
    let (mut parts, body) = response.into_parts();
    prepare_response(&mut parts.headers, to);
    if to == Protocol::Http1 && parts.version == Version::HTTP_2 {
        parts.version = Version::HTTP_11;
    }
    let framed = to == Protocol::Http1 && parts.headers.contains_key(CONTENT_LENGTH);
    Response::from_parts(parts, ResponseBody::Relayed(Relayed::new(body, open, lease, framed, rare)))
}

fn failed(
    context: &Context,
    mut open: Open,
    dialect: Dialect,
    outgoing: &Outgoing,
    error: &SendError,
) -> Response<ResponseBody> {
    if outgoing.source.is_broken() {
        // Nobody is there to read an answer.
        open.end(Outcome::ClientGone);
    } else {
        tracing::warn!(host = %context.target.host, %error, "a provider could not be reached or did not answer");
    }
    let outcome = Outcome::UpstreamFailed(error.failure());
    let mut response = refuse(open, dialect, error.status(), &error.to_string(), outcome);
    if error.is_transient() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Answers in the provider's place, in the shape of its own errors.
fn refuse(
    mut open: Open,
    dialect: Dialect,
    status: StatusCode,
    message: &str,
    outcome: Outcome,
) -> Response<ResponseBody> {
    let response = words(dialect, status, message);
    if let Some(exchange) = open.exchange() {
        exchange.refused(status, response.body().len() as u64);
    }
    open.end(outcome);
    response.map(|body| ResponseBody::Own(Full::new(body)))
}

/// Answers for the policy. What is left of a request is read, within bounds, so that its connection stays of use.
async fn refuse_by_policy(
    mut open: Open,
    dialect: Dialect,
    outgoing: &Outgoing,
    refused: &Refused,
) -> Response<ResponseBody> {
    // A client that waits to be told to send its body is told this instead.
    if !outgoing.parts.headers.contains_key(EXPECT) && admit::is_worth_reading(refused) {
        outgoing.source.discard().await;
    }
    let response = words_of(dialect, refused);
    let Some(exchange) = open.exchange() else { return response.map(|body| ResponseBody::Own(Full::new(body))) };
    let outcome = admit::refuse(exchange, refused);
    exchange.refused(refused.status, response.body().len() as u64);
    open.end(outcome);
    response.map(|body| ResponseBody::Own(Full::new(body)))
}

/// What we say for the policy.
pub(super) fn words_of(dialect: Dialect, refused: &Refused) -> Response<Bytes> {
    let (headers, body) = admit::in_words(refused).answer(dialect, SystemTime::now());
    let mut response = Response::new(body);
    *response.status_mut() = refused.status;
    *response.headers_mut() = headers;
    response
}

/// What we say in the provider's place, in the shape of its own errors.
pub(super) fn words(dialect: Dialect, status: StatusCode, message: &str) -> Response<Bytes> {
    let refusal = tollgate_llm::refusal(dialect, status, message);
    let mut response = Response::new(refusal.body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(refusal.content_type));
    response.headers_mut().extend(refusal.header);
    response
}
