//! The internet's name server: real packets over UDP and TCP, whose answers a test chooses while it runs.

mod answer;
mod server;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use answer::{Answer, Owner};
pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::RecordType;
pub(crate) use server::serve;

/// The zone and the log of the name server. Clones share both.
#[derive(Clone, Default)]
pub struct Dns {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    zone: HashMap<String, Answer>,
    log: Vec<Query>,
    outbox: Option<tokio::sync::mpsc::UnboundedSender<(Vec<u8>, SocketAddr)>>,
}

/// One question that reached the name server.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name as it was asked, upper case kept, without the final dot.
    pub name: String,
    /// A, AAAA, HTTPS and so on.
    pub kind: RecordType,
    /// Over TCP, or over UDP.
    pub tcp: bool,
    /// Who asked.
    pub from: SocketAddr,
    /// When it arrived.
    pub at: Instant,
}

impl Dns {
    /// Answers `name` with `addresses` (A and AAAA, each asked for separately) to live for `ttl` seconds.
    pub fn set(&self, name: &str, addresses: &[IpAddr], ttl: u32) {
        self.answer(name, Answer::addresses(addresses).ttl(Duration::from_secs(ttl.into())));
    }

    /// Answers `name` in any form; see [`Answer`].
    pub fn answer(&self, name: &str, answer: Answer) {
        self.state.lock().zone.insert(key(name), answer);
    }

    /// Forgets `name`, which then does not exist (NXDOMAIN).
    pub fn remove(&self, name: &str) {
        self.state.lock().zone.remove(&key(name));
    }

    /// All questions so far, oldest first.
    pub fn queries(&self) -> Vec<Query> {
        self.state.lock().log.clone()
    }

    /// How often `name` was asked for, of any type and in any case.
    pub fn count(&self, name: &str) -> usize {
        self.state.lock().log.iter().filter(|query| query.name.eq_ignore_ascii_case(name)).count()
    }

    /// Sends `packet` unasked from the name server's UDP port 53 to `target`: a late or forged answer.
    pub fn send(&self, packet: Vec<u8>, target: SocketAddr) {
        let state = self.state.lock();
        let outbox = state.outbox.as_ref().expect("the world started the name server");
        outbox.send((packet, target)).expect("the name server runs as long as the world");
    }

    fn find(&self, name: &str) -> Option<Answer> {
        self.state.lock().zone.get(&key(name)).cloned()
    }

    fn record(&self, query: Query) {
        self.state.lock().log.push(query);
    }

    fn connect(&self, outbox: tokio::sync::mpsc::UnboundedSender<(Vec<u8>, SocketAddr)>) {
        self.state.lock().outbox = Some(outbox);
    }
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
