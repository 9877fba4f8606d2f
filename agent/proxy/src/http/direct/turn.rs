//! One request of a client and its answer.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tollgate_ledger::{Outcome, UpstreamFailure};
use tollgate_llm::{Call, Edits, Splicer, identify, mentions_stream};
use tollgate_policy::Refused;

use super::admission::{Admitted, admit};
use super::client::Client;
use super::head::{RequestHead, ResponseHead, with_close};
use super::pump::{Answer, End, Pump, Unanswered};
use super::sending::Sending;
use crate::admit;
use crate::exchange::{DirectRequest, Open};
use crate::http::request::{DISCARDED, LARGEST, PAUSE};
use crate::http::service::{self, Carried, Context};
use crate::http::splice::{self, Candidate};
use crate::observe::{Step, UpstreamEvent};
use crate::together::together;
use crate::upstream::{Direct, NotDirect, SendError};

/// Bodies that are surely kept whole for a second attempt.
const SMALL: u64 = 128 * 1024;

/// How much memory is asked for on a client's word for what it will send. Until it is written to, it is none.
const ANNOUNCED: u64 = 512 * 1024;

/// What becomes of the connection.
pub(super) enum Turn {
    /// It may carry another request.
    Again,
    /// It is to be closed.
    Last,
    /// The request is hyper's, and nothing of it has left.
    Odd,
    /// It ends here, without a goodbye.
    Broken(io::Error),
}

/// Serves one request, whose head stands at the beginning of what was read.
pub(super) async fn turn<IO>(client: &mut Client<IO>, context: &Arc<Context>, head: RequestHead) -> Turn
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let begun = Instant::now();
    let path = head.parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let call = identify(&context.connection.provider, &head.parts.method, path);
    let gate = context.shared.gate.get().filter(|gate| gate.needs().anything);
    if gate.is_some_and(|gate| gate.needs().cut) && admit::may_stream(&call) {
        // What may have to be cut is hyper's.
        return Turn::Odd;
    }
    let request = DirectRequest::new(service::meter(&call, &head.parts, gate));
    let exchange = context.exchange(&call, &head.parts, head.user_agent(&client.input), request);
    let mut open = Open::new(exchange, None, context.drain.clone());
    tracing::debug!(host = %context.target.host, method = %head.parts.method, operation = %call.operation, "a request");
    let own = begun.elapsed();
    let shared = &context.shared;
    let candidate = shared.splicing.candidate(&context.connection.provider, &context.target.host, &call, &head.parts);
    // Read into memory that grows, a body would be copied as often as that.
    let announced = head.content_length.unwrap_or_default().min(ANNOUNCED) as usize;
    client.input.reserve_exact((head.length + announced).saturating_sub(client.input.len()));
    let admitted = match (gate, &candidate) {
        (Some(gate), _) => {
            // Boxed, so that where there is no policy none of it is held.
            Box::pin(admit(client, context, gate, &head, &call, &mut open, candidate.is_some())).await
        }
        (None, Some(_)) => collect(client, context, &head).await,
        (None, None) => Admitted::Passed(Sending::new(client, &head)),
    };
    let collected_at = Instant::now();
    let (sending, refused) = match admitted {
        Admitted::Passed(sending) => (sending, None),
        Admitted::Refused(sending, refused) => (sending, Some(refused)),
        Admitted::Odd => {
            open.hand_over();
            return Turn::Odd;
        }
        Admitted::Gone(error) => {
            open.end(Outcome::ClientGone);
            return Turn::Broken(error);
        }
    };
    let passed = gate.is_some();
    let mut exchange = Exchange { client, context, head, call, open, sending, candidate, passed };
    if let Some(refused) = refused {
        return exchange.refuse_by_policy(&refused).await;
    }
    shared.observer.took(Step::Request, own + collected_at.elapsed());
    exchange.send().await
}

/// Reads a body, within bounds, as long as there may be something to edit in it, and asks for usage in it.
pub(super) async fn collect<IO>(client: &mut Client<IO>, context: &Context, head: &RequestHead) -> Admitted
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let splicing = &context.shared.splicing;
    let (mut splicer, mut framing, mut at) = (Splicer::default(), head.body, head.length);
    let mut room = None;
    loop {
        let body = &client.input[at..];
        let is_here = framing.is_done_by(body);
        if is_here && !mentions_stream(body) {
            break;
        }
        if is_here || head.content_length.is_none() {
            // A malformed body is found out by whoever sends it on.
            let Ok(used) = framing.pass(body, |content| splicer.push(content)) else { break };
            at += used;
            if framing.is_done() {
                let usage = splicer.finish().map(Edits::from);
                let changed = Sending::changed(client, head, Edits::default(), usage, room);
                return changed.map_or(Admitted::Odd, Admitted::Passed);
            }
        }
        let length = client.input.len();
        if splicer.is_hopeless() || length > LARGEST || !splicing.has_room(&mut room, length) {
            break;
        }
        match timeout(PAUSE, std::future::poll_fn(|context| client.poll_input(context))).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Admitted::Gone(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => return Admitted::Gone(error),
            // It may be waiting for an answer to what it has sent.
            Err(_elapsed) => break,
        }
    }
    Admitted::Passed(Sending::new(client, head))
}

struct Exchange<'a, IO> {
    client: &'a mut Client<IO>,
    context: &'a Arc<Context>,
    head: RequestHead,
    call: Call,
    open: Open,
    sending: Sending,
    candidate: Option<Candidate>,
    /// The policy has let it go on.
    passed: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Exchange<'_, IO> {
    async fn send(&mut self) -> Turn {
        let context = Arc::clone(self.context);
        let upstream = &context.shared.upstream;
        let small = self.head.body.is_done() || self.head.content_length.is_some_and(|length| length <= SMALL);
        let (mut resent, mut opened) = (false, false);
        loop {
            let connecting = upstream.direct(&context.target, resent, small, &*context.shared.observer);
            let server = match self.client.unless_gone(connecting).await {
                Some(Ok(server)) => server,
                Some(Err(NotDirect::Http2)) if !opened => {
                    let clamp = self.sending.give_back(self.client);
                    if self.passed {
                        *context.carried.lock() = Some(Carried { open: self.open.carry(), clamp });
                    }
                    self.open.hand_over();
                    return Turn::Odd;
                }
                Some(Err(NotDirect::Http2)) => {
                    let host = Arc::clone(&context.target.host);
                    return self.failed(&SendError::Closed { host }).await;
                }
                Some(Err(NotDirect::Failed(error))) => return self.failed(&SendError::from(error)).await,
                None => return self.gone(),
            };
            if !opened && let Some(exchange) = self.open.exchange() {
                context.shared.observer.opened(&exchange.opened());
                if self.sending.asks_usage() {
                    context.shared.observer.upstream(UpstreamEvent::UsageAsked);
                }
                opened = true;
            }
            let (started, reused) = (Instant::now(), server.reused);
            together().await;
            self.sending.begin(reused);
            let mut pump = Pump::new(self.client, server, &mut self.sending, &mut self.open);
            let host = || Arc::clone(&context.target.host);
            match pump.answer(&self.head.parts.method).await {
                Ok(mut answer) => {
                    let may_refuse = pump.asks_usage() && splice::may_refuse(answer.head.status);
                    let is_refusal = may_refuse && pump.is_refusal(&mut answer).await;
                    let server = pump.server;
                    if is_refusal {
                        self.restore(server, &answer);
                        continue;
                    }
                    return self.answer(server, answer).await;
                }
                Err(Unanswered::ClientGone) => return self.gone(),
                Err(Unanswered::NotHttp(error)) => {
                    return self.failed(&SendError::NotHttp { host: host(), error }).await;
                }
                Err(Unanswered::Malformed) => {
                    // hyper says the same of it.
                    let message = "the request's body is not what its framing says";
                    self.open.end(Outcome::ClientGone);
                    return self.refuse(StatusCode::BAD_REQUEST, message, None).await;
                }
                Err(Unanswered::Closed { unseen }) => {
                    let within = upstream.resend_within();
                    let harmless = started.elapsed() < within || self.head.parts.method.is_idempotent();
                    if resent || !reused || !unseen || !harmless || !self.sending.can_repeat() {
                        return self.failed(&SendError::Closed { host: host() }).await;
                    }
                    resent = true;
                    context.shared.observer.upstream(UpstreamEvent::Resent);
                }
            }
        }
    }

    /// The server refuses what was edited: the request is sent again as it came.
    fn restore(&mut self, server: Direct, answer: &Answer) {
        self.context.shared.observer.upstream(UpstreamEvent::UsageRefused);
        let (mut framing, body) = (answer.head.body, &answer.bytes[answer.head.length..]);
        let is_clean = framing.skip(body) == Ok(body.len());
        self.give_back(server, is_clean, answer.head.closes);
        self.sending.restore(&self.head);
    }

    /// Keeps a connection for another request, if both messages on it have ended and neither side wants it closed.
    fn give_back(&self, server: Direct, is_clean: bool, closes: bool) {
        if is_clean && self.sending.is_done() && !closes && !self.head.closes {
            server.give_back();
        }
    }

    /// The client has left; dropping the rest cancels the provider's work.
    fn gone(&mut self) -> Turn {
        self.open.end(Outcome::ClientGone);
        Turn::Broken(io::ErrorKind::ConnectionAborted.into())
    }

    async fn answer(&mut self, mut server: Direct, answer: Answer) -> Turn {
        let answering = Instant::now();
        let Answer { head, mut bytes } = answer;
        if let Some(time) = head.keeps_for {
            server.kept_for(time);
        }
        if let Some(exchange) = self.open.exchange() {
            exchange.not_switched();
            exchange.answered(head.status, &head.fields);
        }
        let observer = &*self.context.shared.observer;
        let may_remove = self.sending.asks_usage() && !head.fields.contains_key(http::header::TRAILER);
        let remover = may_remove.then(|| splice::remover(head.status, &head.fields, observer)).flatten();
        if let Some(candidate) =
            self.candidate.as_ref().filter(|_| self.sending.was_refused && head.status.is_success())
        {
            // Refused again, it was about something else.
            self.context.shared.splicing.has_refused(candidate);
        }
        self.sending.forget();
        let drains = self.context.drain.is_draining() && !head.closes;
        let length = edit(&head, &mut bytes, drains);
        observer.took(Step::Response, answering.elapsed());
        let mut pump = Pump::new(self.client, server, &mut self.sending, &mut self.open);
        let end = pump.relay(bytes, length, head.body, remover).await;
        let server = pump.server;
        match end {
            End::Complete { is_clean } => {
                self.give_back(server, is_clean, head.closes);
                self.open.end(Outcome::Completed);
                // The rest of a request that was answered early would be taken for the next one.
                let is_received = self.sending.is_received();
                if head.closes || self.head.closes || drains || !is_received { Turn::Last } else { Turn::Again }
            }
            End::ClientGone => self.gone(),
            End::Broken(failure) => {
                self.open.end(Outcome::UpstreamFailed(failure));
                Turn::Broken(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// Answers in the place of a provider that gave no answer.
    async fn failed(&mut self, error: &SendError) -> Turn {
        tracing::warn!(host = %self.context.target.host, %error, "a provider could not be reached or did not answer");
        let outcome = Outcome::UpstreamFailed(error.failure());
        let retry_after = error.is_transient().then_some("1");
        let status = error.status();
        let refusal = service::words(self.call.dialect, status, &error.to_string());
        if let Some(exchange) = self.open.exchange() {
            exchange.refused(status, refusal.body().len() as u64);
        }
        let turn = self.say(refusal, retry_after).await;
        self.open.end(outcome);
        turn
    }

    /// Answers for the policy. What is left of the request is read, within bounds, so that its connection stays of use.
    async fn refuse_by_policy(&mut self, refused: &Refused) -> Turn {
        if admit::is_worth_reading(refused) {
            let Self { client, sending, .. } = self;
            let mut left = DISCARDED;
            let discarding = std::future::poll_fn(|context| sending.poll_discard(client, &mut left, context));
            drop(timeout(PAUSE, discarding).await);
        }
        let refusal = service::words_of(self.call.dialect, refused);
        let mut outcome = Outcome::ClientGone;
        if let Some(exchange) = self.open.exchange() {
            outcome = admit::refuse(exchange, refused);
            exchange.refused(refused.status, refusal.body().len() as u64);
        }
        let turn = self.say(refusal, None).await;
        self.open.end(outcome);
        turn
    }

    async fn refuse(&mut self, status: StatusCode, message: &str, retry_after: Option<&str>) -> Turn {
        let refusal = service::words(self.call.dialect, status, message);
        self.say(refusal, retry_after).await
    }

    async fn say(&mut self, refusal: Response<Bytes>, retry_after: Option<&str>) -> Turn {
        let closes = !self.sending.is_received() || self.head.closes || self.context.drain.is_draining();
        let text = written(refusal, retry_after, closes, self.head.parts.method == Method::HEAD);
        match self.client.say(&text).await {
            Err(error) => Turn::Broken(error),
            Ok(()) if closes => Turn::Last,
            Ok(()) => Turn::Again,
        }
    }
}

/// Puts the head that the client is sent in the place of the server's, where they differ. Gives its length.
fn edit(head: &ResponseHead, bytes: &mut Vec<u8>, drains: bool) -> usize {
    let edited = match (&head.edited, drains) {
        (None, false) => return head.length,
        (None, true) => with_close(&bytes[..head.length]),
        (Some(edited), false) => edited.clone(),
        (Some(edited), true) => with_close(edited),
    };
    let length = edited.len();
    bytes.splice(..head.length, edited);
    length
}

/// Our own words as they go over the wire.
fn written(refusal: Response<Bytes>, retry_after: Option<&str>, closes: bool, is_bare: bool) -> Vec<u8> {
    let (parts, body) = refusal.into_parts();
    let mut text = Vec::with_capacity(256 + body.len());
    let reason = parts.status.canonical_reason().unwrap_or_default();
    text.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).as_bytes());
    let mut line = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    };
    for (name, value) in &parts.headers {
        line(name.as_str(), value.as_bytes());
    }
    if let Some(seconds) = retry_after {
        line(RETRY_AFTER.as_str(), seconds.as_bytes());
    }
    line("content-length", body.len().to_string().as_bytes());
    if closes {
        line("connection", b"close");
    }
    text.extend_from_slice(b"\r\n");
    if !is_bare {
        text.extend_from_slice(&body);
    }
    text
}

/// Why a response broke off.
pub(super) fn failure(error: &io::Error) -> UpstreamFailure {
    if error.kind() == io::ErrorKind::InvalidData { UpstreamFailure::Protocol } else { UpstreamFailure::Reset }
}
