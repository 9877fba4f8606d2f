//! WebSockets on which a model is called many times: OpenAI's Realtime API, and its Responses API over a WebSocket.
//!
//! Frames are observed as they pass and never changed: unmasked and inflated on a copy, their JSON read piece by piece. Each
//! response in a session is a turn, with a count of its own. What cannot be followed is passed on all the same, and said.

mod asked;
mod fields;
mod frames;
mod gaps;
mod hold;
mod inflate;
mod turns;
mod words;

use std::fmt;
use std::sync::Arc;

pub use self::asked::SocketAsk;
pub use self::gaps::SocketGaps;
pub use self::hold::{Held, HeldMessage, SocketHold};
pub use self::words::{CloseCode, SocketError};

use self::fields::{Asked, CLIENT, Report, Request, SERVER, Said};
use self::frames::{Frames, Messages};
use self::inflate::Deflate;
use self::turns::Turns;
use crate::call::{Api, Call, Operation};
use crate::estimate::Sample;
use crate::json::Scanner;
use crate::request::RequestMeter;
use crate::response::{ResponseFacts, Unmetered, Untold};

/// One end of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Who opened it.
    Client,
    /// The provider.
    Server,
}

/// What happened in a session. Turns are numbered from zero, in the order in which they began.
#[derive(Debug)]
pub enum SocketEvent {
    /// A response was asked for, or the server began one by itself.
    Began {
        /// Which turn.
        turn: u64,
        /// A response, or a transcription of what was said.
        operation: Operation,
        /// The model asked for, by the message or by the session.
        model: Option<Arc<str>>,
    },
    /// The server has said something about a turn.
    Answered {
        /// Which turn.
        turn: u64,
        /// It was content: text or sound.
        is_content: bool,
    },
    /// A turn is over.
    Ended {
        /// Which turn.
        turn: u64,
        /// What is known of it.
        end: Box<TurnEnd>,
    },
}

/// What is known of a turn in the end.
#[derive(Debug, Default)]
pub struct TurnEnd {
    /// What the server said of it.
    pub facts: ResponseFacts,
    /// What it left unsaid, to be estimated.
    pub untold: Untold,
    /// The text that the model was given to read, where that may have to be estimated.
    pub asked: Sample,
}

/// What the server has said of the session, the last time that it did.
#[derive(Debug, Clone, Default)]
pub struct SocketSession {
    /// The model that answers.
    pub model: Option<Arc<str>>,
    /// The most tokens that a response may have, where it said a number.
    pub max_output_tokens: Option<u64>,
    /// How many times it said that the session was changed as the client had asked.
    pub updates: u64,
}

/// What remains when a WebSocket has closed.
#[derive(Debug)]
pub struct SocketRemains {
    /// Turns that had not ended, and what is known of them.
    pub open: Vec<(u64, TurnEnd)>,
    /// Why turns may be missing, if they may.
    pub unmetered: Option<Unmetered>,
}

/// Watches both directions of one WebSocket. Memory is bounded whatever passes; nothing of the content is kept.
pub struct SocketMeter {
    call: Call,
    client: Direction<Asked, Request>,
    server: Direction<Said, Report>,
    turns: Turns,
    closed_by: Option<Sender>,
}

/// Why a direction is no longer followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The bytes are no frames.
    Violation,
    /// An extension was agreed on that is not known here.
    Extension,
    /// A compressed message does not inflate.
    Corrupt,
    /// A message expands beyond reason.
    TooDense,
}

impl From<Stop> for Unmetered {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Violation => Self::Framing,
            Stop::Extension => Self::UnknownCoding,
            Stop::Corrupt => Self::CorruptCoding,
            Stop::TooDense => Self::TooDense,
        }
    }
}

struct Direction<F: 'static, I> {
    frames: Frames,
    scanner: Scanner<F>,
    item: I,
    stopped: Option<Stop>,
}

impl SocketMeter {
    /// For a WebSocket that was opened by `call`, with the `Sec-WebSocket-Extensions` of the answer. An error says why it
    /// cannot be followed: the call is of another kind, or an unknown extension was agreed on.
    pub fn new(call: &Call, extensions: Option<&str>) -> Result<Self, Unmetered> {
        if !call.is_websocket || !matches!(call.api, Api::Realtime | Api::Responses) {
            return Err(Unmetered::Operation);
        }
        let deflate = Deflate::agreed(extensions.unwrap_or_default()).map_err(Unmetered::from)?;
        let frames = |from| Frames::new(from, deflate.map(|deflate| deflate.inflate(from)));
        Ok(Self {
            call: call.clone(),
            client: Direction::new(frames(Sender::Client), Scanner::new(&CLIENT)),
            server: Direction::new(frames(Sender::Server), Scanner::new(&SERVER)),
            turns: Turns::new(call.api, call.model_in_path.clone()),
            closed_by: None,
        })
    }

    /// Takes the next bytes from `sender`, cut anywhere.
    pub fn push(&mut self, sender: Sender, bytes: &[u8]) {
        let is_closed = match sender {
            Sender::Client if self.server.stopped.is_none() => {
                let Direction { frames, scanner, item, stopped } = &mut self.client;
                if stopped.is_none() {
                    let mut reader = ClientReader { call: &self.call, scanner, item, turns: &mut self.turns };
                    *stopped = frames.push(bytes, &mut reader).err();
                }
                frames.is_closed()
            }
            // Turns that begin would never be seen to end.
            Sender::Client => return,
            Sender::Server => {
                let Direction { frames, scanner, item, stopped } = &mut self.server;
                if stopped.is_none() {
                    let mut reader = ServerReader { scanner, item, turns: &mut self.turns };
                    *stopped = frames.push(bytes, &mut reader).err();
                }
                frames.is_closed()
            }
        };
        if is_closed {
            self.closed_by.get_or_insert(sender);
        }
    }

    /// What happened since this was last asked, in order.
    pub fn events(&mut self) -> impl Iterator<Item = SocketEvent> + '_ {
        self.turns.events.drain(..)
    }

    /// What the server has said of the session.
    pub fn session(&self) -> &SocketSession {
        &self.turns.session
    }

    /// Why either end is no longer followed, if one is not.
    pub fn stopped(&self) -> Option<Unmetered> {
        self.client.stopped.or(self.server.stopped).map(Unmetered::from)
    }

    /// Which end said first that it would close, if either has.
    pub fn closed_by(&self) -> Option<Sender> {
        self.closed_by
    }

    /// Whether both ends have said that they close. Whatever the connection does then is no failure (RFC 6455, § 7.1.1).
    pub fn is_closed(&self) -> bool {
        self.client.frames.is_closed() && self.server.frames.is_closed()
    }

    /// The WebSocket is gone.
    pub fn finish(self) -> SocketRemains {
        let stopped = self.client.stopped.or(self.server.stopped);
        SocketRemains { open: self.turns.finish(), unmetered: stopped.map(Unmetered::from) }
    }
}

impl fmt::Debug for SocketMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketMeter").finish_non_exhaustive()
    }
}

impl<F: Copy, I: Default> Direction<F, I> {
    fn new(frames: Frames, scanner: Scanner<F>) -> Self {
        Self { frames, scanner, item: I::default(), stopped: None }
    }
}

struct ClientReader<'a> {
    call: &'a Call,
    scanner: &'a mut Scanner<Asked>,
    item: &'a mut Request,
    turns: &'a mut Turns,
}

impl Messages for ClientReader<'_> {
    fn part(&mut self, bytes: &[u8]) {
        // It is a request as over HTTP, but for its type.
        if self.call.api == Api::Responses {
            let meter = || Box::new(RequestMeter::new(self.call, Some("application/json"), None));
            self.item.meter.get_or_insert_with(meter).push(bytes);
        }
        self.scanner.push(bytes, self.item);
    }

    fn end(&mut self) {
        self.turns.asked(std::mem::take(self.item));
        self.scanner.reset();
    }
}

struct ServerReader<'a> {
    scanner: &'a mut Scanner<Said>,
    item: &'a mut Report,
    turns: &'a mut Turns,
}

impl Messages for ServerReader<'_> {
    fn part(&mut self, bytes: &[u8]) {
        self.turns.part(bytes);
        self.scanner.push(bytes, self.item);
    }

    fn end(&mut self) {
        self.turns.end_part();
        self.turns.said(std::mem::take(self.item));
        self.scanner.reset();
    }
}

#[cfg(test)]
mod tests;
