//! APIs over a WebSocket: OpenAI's Realtime, and its Responses. Each response in a session is an exchange of its own in the
//! truth, with `response.create` as its method.

mod frames;
mod realtime;
mod responses;

use std::collections::VecDeque;
use std::sync::Arc;

use http::{Method, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::coding::Coding;
use crate::dialect::Dialect;
use crate::exchange::Inbound;
use crate::fault::{CutHow, Faults, Split};
use crate::json::{Null, Raw, obj};
use crate::provider::Shared;
use crate::seed::Seed;
use crate::serve::playback::Playback;
use crate::serve::wire::Conn;
use crate::truth::{Exchange, Outcome, Said, Ticket, Usage};

pub(crate) use self::frames::Deflate;
use self::frames::{Message, Socket};

/// Which API is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Realtime,
    Responses,
}

impl Kind {
    /// The API that a WebSocket at this path speaks.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.trim_end_matches('/') {
            "/v1/realtime" | "/openai/realtime" | "/openai/v1/realtime" => Some(Self::Realtime),
            "/v1/responses" | "/openai/v1/responses" | "/backend-api/codex/responses" => Some(Self::Responses),
            _ => None,
        }
    }
}

/// One event of a response, and what the truth learns when it is written.
struct Line {
    text: String,
    usage: Option<Usage>,
    said: Said,
}

/// A response, planned.
struct Plan {
    exchange: Exchange,
    faults: Faults,
    events: Vec<Line>,
    /// The event that says that the response failed.
    failed: String,
    /// The event that says that the client cancelled it, with what was used by then.
    cancelled: Option<Line>,
}

/// Answers the handshake, and serves the session on a task of its own.
pub(crate) fn serve(mut inbound: Inbound, kind: Kind) -> Response<Playback> {
    let headers = inbound.request.headers();
    let offered = headers.get_all("sec-websocket-extensions").iter().filter_map(|value| value.to_str().ok());
    let plain = !inbound.shared.compress || inbound.faults.coding == Some(Coding::Identity);
    let deflate = offered.flat_map(|list| list.split(',')).find_map(Deflate::accept).filter(|_| !plain);
    let mut response = Response::builder();
    if inbound.request.version() == Version::HTTP_2 {
        response = response.status(StatusCode::OK);
    } else {
        response = response.status(StatusCode::SWITCHING_PROTOCOLS);
        response = response.header("connection", "Upgrade").header("upgrade", "websocket");
        if let Some(key) = headers.get("sec-websocket-key") {
            response = response.header("sec-websocket-accept", derive_accept_key(key.as_bytes()));
        }
    }
    let protocol = headers.get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    if let Some(first) = protocol.and_then(|list| list.split(',').next()) {
        response = response.header("sec-websocket-protocol", first.trim());
    }
    if let Some(deflate) = &deflate {
        response = response.header("sec-websocket-extensions", deflate.answer());
    }
    let status = if *inbound.request.method() == Method::CONNECT { 200 } else { 101 };
    let mut base = None;
    inbound.ticket.update(|exchange| {
        exchange.status = status;
        if kind == Kind::Realtime {
            exchange.model = Some(realtime::model(&exchange.path));
        }
        base = Some(exchange.clone());
    });
    inbound.conn.heads.lock().stop();
    let upgraded = hyper::upgrade::on(&mut inbound.request);
    let Inbound { shared, conn, ticket, faults, .. } = inbound;
    let response = response.body(Playback::nothing(Arc::clone(&conn))).expect("names and values are valid");
    let Some(base) = base else { return response };
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let socket = Socket::new(TokioIo::new(upgraded), deflate.as_ref(), pieces(&faults));
            let session =
                Session { kind, shared, conn, base, faults, socket, ticket, waiting: VecDeque::new(), turns: 0 };
            session.run().await;
        }
    });
    response
}

fn pieces(faults: &Faults) -> Option<usize> {
    match faults.split {
        Some(Split::Bytes(size)) => Some(size),
        Some(Split::Characters) | None => None,
    }
}

struct Session<IO> {
    kind: Kind,
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    /// What all exchanges of the session have in common.
    base: Exchange,
    faults: Faults,
    socket: Socket<IO>,
    ticket: Ticket,
    /// Came while a response was written.
    waiting: VecDeque<Value>,
    turns: u64,
}

/// How the writing of a response went.
enum Wrote {
    All,
    /// The session is over.
    Over,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    async fn run(mut self) {
        let mut state = realtime::State::new(&self.base);
        if self.kind == Kind::Realtime && self.socket.write(&state.created().0).await.is_err() {
            return;
        }
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => match self.socket.read().await {
                    Some(Message::Text(text)) => serde_json::from_str(&text).unwrap_or(Value::Null),
                    Some(Message::Binary) => Value::Null,
                    Some(Message::Close) => {
                        drop(self.socket.close().await);
                        return self.over(Outcome::Completed);
                    }
                    None => return self.over(Outcome::ClientGone),
                },
            };
            let over = match self.kind {
                Kind::Responses => self.responses(&message).await,
                Kind::Realtime => self.realtime(&mut state, &message).await,
            };
            if matches!(over, Wrote::Over) {
                return self.over(Outcome::Faulted);
            }
        }
    }

    /// Takes down what passed, as it passed.
    fn over(&mut self, outcome: Outcome) {
        let (taken, given, sha256) = self.socket.passed();
        self.ticket.update(|exchange| {
            (exchange.request_bytes, exchange.response_bytes) = (taken, given);
            exchange.request_sha256 = Some(sha256);
        });
        self.ticket.end(outcome);
    }

    /// Writes events that belong to no response.
    async fn say(&mut self, events: &[Raw]) -> Wrote {
        for event in events {
            if self.socket.write(&event.0).await.is_err() {
                return Wrote::Over;
            }
        }
        Wrote::All
    }

    async fn refuse(&mut self, message: &Value, code: &str, text: &str) -> Wrote {
        let event = message["event_id"].as_str();
        let error = obj! {
            "type" => "invalid_request_error", "code" => code, "message" => text, "param" => Null, "event_id" => event,
        };
        let id = Seed::of(&[text.as_bytes()]).id("event_", 21);
        self.say(&[obj! { "type" => "error", "event_id" => id, "error" => error }]).await
    }

    /// The seed of a message's answer: the same for the same message at the same place of a session.
    fn seed(&mut self, message: &Value) -> Seed {
        self.turns += 1;
        let path = self.base.path.clone();
        Seed::of(&[path.as_bytes(), &self.turns.to_be_bytes(), message.to_string().as_bytes()])
    }

    /// Writes a response, faults and all, and reads on meanwhile.
    async fn play(&mut self, plan: Plan) -> Wrote {
        let Plan { exchange, faults, events, failed, cancelled } = plan;
        let mut ticket = self.shared.truth.open(exchange);
        let gate = faults.gate.as_deref().map(|name| self.shared.gates.named(name));
        let limit = faults.cut.map_or(usize::MAX, |cut| cut.after);
        for event in events.into_iter().take(limit) {
            let wait = faults.delay.unwrap_or(self.shared.pace);
            let gate = gate.clone();
            let pause = async move {
                if let Some(gate) = gate {
                    gate.pass().await;
                }
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
            };
            match self.read_during(pause).await {
                During::Waited => {}
                During::Cancelled => {
                    if let Some(event) = cancelled {
                        self.write(&mut ticket, event).await;
                    }
                    ticket.end(Outcome::Completed);
                    return Wrote::All;
                }
                During::Gone => {
                    ticket.end(Outcome::ClientGone);
                    return Wrote::Over;
                }
            }
            if !self.write(&mut ticket, event).await {
                ticket.end(Outcome::ClientGone);
                return Wrote::Over;
            }
        }
        let Some(cut) = faults.cut else {
            ticket.end(Outcome::Completed);
            return Wrote::All;
        };
        match cut.how {
            CutHow::Error => {
                let all = self.write(&mut ticket, Line { text: failed, usage: None, said: Said::default() }).await;
                ticket.end(Outcome::Faulted);
                return if all { Wrote::All } else { Wrote::Over };
            }
            CutHow::Stall => while !matches!(self.read_during(std::future::pending()).await, During::Gone) {},
            CutHow::Truncate => drop(self.socket.flush().await),
            CutHow::Reset | CutHow::ResetConnection => {
                // A reset discards what still waits in the socket: give the bytes before it time to leave.
                drop(self.socket.flush().await);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                self.conn.kill(true);
            }
        }
        ticket.end(Outcome::Faulted);
        Wrote::Over
    }

    async fn write(&mut self, ticket: &mut Ticket, event: Line) -> bool {
        if self.socket.write(&event.text).await.is_err() {
            return false;
        }
        // The bytes are the session's.
        ticket.wrote(0, event.usage);
        ticket.said(event.said);
        true
    }

    async fn read_during(&mut self, pause: impl Future<Output = ()>) -> During {
        let mut pause = std::pin::pin!(pause);
        loop {
            let message = tokio::select! {
                () = &mut pause => return During::Waited,
                message = self.socket.read() => message,
            };
            let Some(Message::Text(text)) = message else { return During::Gone };
            let message: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            if message["type"] == "response.cancel" {
                return During::Cancelled;
            }
            self.waiting.push_back(message);
        }
    }

    fn exchange(&self, model: &str, answered: &str, usage: Usage) -> Exchange {
        Exchange {
            method: "response.create".to_owned(),
            model: Some(model.to_owned()),
            response_model: Some(answered.to_owned()),
            stream: true,
            planned_usage: Some(usage),
            ..self.base.clone()
        }
    }

    fn dialect(&self) -> Dialect {
        self.shared.dialect(&self.base.host).unwrap_or(Dialect::OpenAi)
    }
}

enum During {
    Waited,
    /// The client cancelled what is being written.
    Cancelled,
    Gone,
}
