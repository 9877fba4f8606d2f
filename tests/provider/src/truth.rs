//! What was really served: the list that a test holds the gateway's ledger against.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// How many exchanges and handshakes are listed unless settings say otherwise.
pub(crate) const KEPT: usize = 10_000;

/// Tokens, each field a total in itself: `input` includes cache reads and writes, `output` includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// Answer tokens, reasoning included.
    pub output: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: u64,
    /// Answer tokens spent on reasoning.
    pub reasoning: u64,
}

/// What a model has written, without its reasoning: pieces, each of which is a token here, and their bytes as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Pieces.
    pub tokens: u64,
    /// Bytes of text, UTF-8 and without the framing.
    pub bytes: u64,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended yet.
    Open,
    /// The whole response was written.
    Completed,
    /// The client left before the whole response was written.
    ClientGone,
    /// A fault ended it, as asked.
    Faulted,
}

/// One request and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Counts from 0 in order of arrival.
    pub id: u64,
    /// Which connection, counted from 0.
    pub connection: u64,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// Our end of the TCP connection.
    pub local: SocketAddr,
    /// Server name of the TLS handshake.
    pub sni: Option<String>,
    /// Application protocol the handshake chose.
    pub alpn: Option<String>,
    /// Whether the handshake resumed an earlier session.
    pub tls_resumed: bool,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Request method.
    pub method: String,
    /// `Host` or `:authority`, without a port.
    pub host: String,
    /// Path and query as sent.
    pub path: String,
    /// Header names and values. On HTTP/1: in the order and case received, repeats kept. Bytes that are no UTF-8 show
    /// as U+FFFD; `raw_head` has them.
    pub headers: Vec<(String, String)>,
    /// The request head as received, request line to the empty line; HTTP/1 only.
    #[serde(skip)]
    pub raw_head: Option<Vec<u8>>,
    /// Request trailers.
    pub trailers: Vec<(String, String)>,
    /// Bytes of request body read.
    pub request_bytes: u64,
    /// SHA-256 of the request body in hexadecimal, once all of it was read.
    pub request_sha256: Option<String>,
    /// The same of the body without the option that asks for a stream's usage, [`crate::USAGE_OPTION`], where it is there.
    pub unasked_sha256: Option<String>,
    /// The model as requested, faults included.
    pub model: Option<String>,
    /// The model the response named.
    pub response_model: Option<String>,
    /// Whether the response is a stream.
    pub stream: bool,
    /// Response status; 0 before there is one.
    pub status: u16,
    /// Bytes of response body handed to the connection, as coded.
    pub response_bytes: u64,
    /// Usage as the bytes written so far tell it; none where no usage was written.
    pub usage: Option<Usage>,
    /// Usage the whole response tells.
    pub planned_usage: Option<Usage>,
    /// What of a streamed answer was written before its end, whether its usage was or not. Nothing for one that is not streamed.
    pub said: Said,
    /// Whether the request was signed for AWS and its signature held; none where it was not signed.
    pub signed: Option<bool>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Exchange {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One TLS handshake.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handshake {
    /// The other end.
    pub peer: SocketAddr,
    /// Server name asked for.
    pub sni: Option<String>,
    /// Protocols offered.
    pub alpn: Vec<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Totals over all exchanges, also those no longer listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Exchanges begun.
    pub exchanges: u64,
    /// Exchanges whose whole response was written.
    pub completed: u64,
    /// Exchanges whose client left early.
    pub client_gone: u64,
    /// Exchanges that a fault ended.
    pub faulted: u64,
    /// Sum of [`Exchange::usage`].
    pub usage: Usage,
}

/// The record; clones share it.
#[derive(Clone)]
pub struct Truth(Arc<Shared>);

struct Shared {
    /// Older entries live on in the sums alone.
    kept: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    open: u64,
    exchanges: VecDeque<Exchange>,
    handshakes: VecDeque<Handshake>,
    sums: Sums,
}

impl Truth {
    pub(crate) fn new(kept: usize) -> Self {
        let kept = kept.max(1);
        Self(Arc::new(Shared { kept, state: Mutex::default(), changed: Notify::new() }))
    }

    /// The exchanges so far, oldest first.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.state.lock().exchanges.iter().cloned().collect()
    }

    /// The exchanges with this host and any of its paths that start so.
    pub fn exchanges_at(&self, host: &str, path: &str) -> Vec<Exchange> {
        let state = self.0.state.lock();
        state.exchanges.iter().filter(|it| it.host == host && it.path.starts_with(path)).cloned().collect()
    }

    /// The TLS handshakes so far, oldest first, failed ones included.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.0.state.lock().handshakes.iter().cloned().collect()
    }

    /// Totals.
    pub fn sums(&self) -> Sums {
        self.0.state.lock().sums
    }

    /// Waits until no exchange is open, since a client may see its answer's end a moment before it is recorded here.
    pub async fn settled(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.state.lock().open == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits until an exchange satisfies `condition` and returns it.
    pub async fn when(&self, condition: impl Fn(&Exchange) -> bool) -> Exchange {
        loop {
            let changed = self.0.changed.notified();
            if let Some(found) = self.0.state.lock().exchanges.iter().find(|it| condition(it)) {
                return found.clone();
            }
            changed.await;
        }
    }

    /// Forgets everything that has ended.
    pub fn clear(&self) {
        let mut state = self.0.state.lock();
        state.exchanges.retain(|it| it.outcome == Outcome::Open);
        state.handshakes.clear();
        state.sums = Sums { exchanges: state.open, ..Sums::default() };
    }

    pub(crate) fn handshake(&self, handshake: Handshake) {
        let mut state = self.0.state.lock();
        if state.handshakes.len() == self.0.kept {
            state.handshakes.pop_front();
        }
        state.handshakes.push_back(handshake);
        drop(state);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn open(&self, mut exchange: Exchange) -> Ticket {
        let mut state = self.0.state.lock();
        let id = state.next;
        exchange.id = id;
        state.next += 1;
        state.open += 1;
        state.sums.exchanges += 1;
        if state.exchanges.len() == self.0.kept {
            state.exchanges.pop_front();
        }
        state.exchanges.push_back(exchange);
        drop(state);
        self.0.changed.notify_waiters();
        Ticket { truth: self.clone(), id, usage: None, ended: false }
    }
}

/// The right to write one exchange's record. Dropped before its end, it records that the client left.
pub(crate) struct Ticket {
    truth: Truth,
    id: u64,
    usage: Option<Usage>,
    ended: bool,
}

impl Ticket {
    pub(crate) fn update(&self, change: impl FnOnce(&mut Exchange)) {
        let mut state = self.truth.0.state.lock();
        // Ids ascend, and only `clear` leaves gaps.
        if let Ok(index) = state.exchanges.binary_search_by_key(&self.id, |it| it.id) {
            change(&mut state.exchanges[index]);
        }
    }

    /// Notes a frame handed to the connection, and the usage that all frames so far tell.
    pub(crate) fn wrote(&mut self, bytes: usize, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
        let latest = self.usage;
        self.update(|exchange| {
            exchange.response_bytes += bytes as u64;
            exchange.usage = latest;
        });
    }

    /// Notes a piece of the answer handed to the connection.
    pub(crate) fn said(&self, said: Said) {
        self.update(|exchange| {
            exchange.said.tokens += said.tokens;
            exchange.said.bytes += said.bytes;
        });
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.update(|exchange| exchange.outcome = outcome);
        let mut state = self.truth.0.state.lock();
        state.open -= 1;
        match outcome {
            Outcome::Completed => state.sums.completed += 1,
            Outcome::Faulted => state.sums.faulted += 1,
            Outcome::ClientGone | Outcome::Open => state.sums.client_gone += 1,
        }
        if let Some(usage) = self.usage {
            let sum = &mut state.sums.usage;
            sum.input += usage.input;
            sum.output += usage.output;
            sum.cache_read += usage.cache_read;
            sum.cache_write += usage.cache_write;
            sum.reasoning += usage.reasoning;
        }
        drop(state);
        self.truth.0.changed.notify_waiters();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone);
    }
}
