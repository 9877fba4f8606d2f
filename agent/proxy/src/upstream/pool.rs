//! Connections that wait for their next request.
//!
//! HTTP/1.1 connections carry one request at a time and are lent; HTTP/2 connections are shared up to a number of streams. When
//! several requests find no HTTP/2 connection, one makes it and the others wait for that one. No lock is held over an await.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Limits;
use super::connect::Connected;
use super::error::ConnectError;
use super::peer::Peer;
use super::wire::Wire;
use crate::http::headers::Protocol;
use crate::http::request::RequestBody;

/// How long an answered HTTP/1.1 connection may take until it can carry another request: its request may still be on its way.
const SETTLE: Duration = Duration::from_secs(10);

/// How many hosts are remembered for what they can do.
const HOSTS: usize = 1024;

/// Which connections are interchangeable.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    /// What the client speaks, which decides what is offered to the server.
    pub(super) wanted: Protocol,
}

pub(super) struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: HashMap<Key, Host>,
    idle: usize,
    sweeping: bool,
    /// Hosts that let HTTP/2 streams switch protocols. It outlives their connections.
    extended_connect: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Host {
    /// The longest unused first.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    joint: Option<Joint>,
    /// What the server agreed to last.
    agreed: Option<Protocol>,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    wire: Arc<Wire>,
    since: Instant,
    until: Instant,
}

struct Shared {
    sender: http2::SendRequest<RequestBody>,
    wire: Arc<Wire>,
    peer: Arc<Peer>,
    load: Arc<Load>,
    /// When a sweep first found it unused.
    unused: Option<Instant>,
}

#[derive(Default)]
struct Load {
    streams: AtomicUsize,
    served: AtomicUsize,
}

/// The outcome of a connection that several requests wait for; an error goes with the address that was asked for.
pub(super) type Joint = watch::Receiver<Option<Result<(), (SocketAddr, Arc<ConnectError>)>>>;
pub(super) type JointSender = watch::Sender<Option<Result<(), (SocketAddr, Arc<ConnectError>)>>>;

/// How to come by a connection.
pub(super) enum Way {
    /// Here is one.
    Ready(Lease),
    /// Somebody is making one that can be shared; wait.
    Wait(Joint),
    /// Make one that others may be waiting for.
    Make(JointSender, Joint),
    /// Make one for yourself.
    MakeOwn,
}

/// What a request needs of a pooled connection.
#[derive(Clone, Copy)]
pub(super) struct Need {
    /// Not a connection that was used before.
    pub(super) fresh: bool,
    /// A connection unused for longer than this might be closed by the server just now.
    pub(super) max_idle: Option<Duration>,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    pub(super) fn way(self: &Arc<Self>, key: &Key, need: Need) -> Way {
        if need.fresh {
            return Way::MakeOwn;
        }
        let mut state = self.state.lock();
        self.sweep_later(&mut state);
        let State { hosts, idle, .. } = &mut *state;
        let host = hosts.entry(key.clone()).or_default();
        if let Some(lease) = self.shared(host, key).or_else(|| self.idle(host, key, need, idle)) {
            return Way::Ready(lease);
        }
        let shareable = match key.wanted {
            Protocol::Http1 => host.agreed == Some(Protocol::Http2),
            Protocol::Http2 => host.agreed != Some(Protocol::Http1),
        };
        if !shareable {
            return Way::MakeOwn;
        }
        // A joint attempt whose maker is gone tells nobody anything.
        if let Some(joint) = host.joint.as_ref().filter(|joint| joint.has_changed().is_ok()) {
            return Way::Wait(joint.clone());
        }
        let (sender, joint) = watch::channel(None);
        host.joint = Some(joint.clone());
        Way::Make(sender, joint)
    }

    fn shared(self: &Arc<Self>, host: &mut Host, key: &Key) -> Option<Lease> {
        host.shared.retain(Shared::is_alive);
        let limit = self.limits.streams_per_connection;
        let free = |shared: &&mut Shared| shared.load.streams.load(Relaxed) < limit.min(shared.capacity());
        let shared = host.shared.iter_mut().find(free)?;
        shared.unused = None;
        Some(self.lease_shared(shared, key))
    }

    fn lease_shared(self: &Arc<Self>, shared: &Shared, key: &Key) -> Lease {
        let reused = shared.load.served.fetch_add(1, Relaxed) > 0;
        let mut lease = self.lease(
            Sender::Http2(shared.sender.clone(), Arc::clone(&shared.peer)),
            Arc::clone(&shared.wire),
            key,
            reused,
        );
        lease.stream = Some(Stream::new(&shared.load));
        lease
    }

    /// The last used first: it is the likeliest to be alive.
    fn idle(self: &Arc<Self>, host: &mut Host, key: &Key, need: Need, idle: &mut usize) -> Option<Lease> {
        let now = Instant::now();
        while let Some(last) = host.idle.last() {
            if need.max_idle.is_some_and(|max| now - last.since > max) {
                return None;
            }
            let Idle { sender, wire, until, .. } = host.idle.pop().expect("there is a last one");
            *idle -= 1;
            if sender.is_ready() && !wire.has_ended() && now < until {
                return Some(self.lease(Sender::Http1(sender), wire, key, true));
            }
        }
        None
    }

    fn lease(self: &Arc<Self>, sender: Sender, wire: Arc<Wire>, key: &Key, reused: bool) -> Lease {
        let idle = self.limits.idle_timeout;
        Lease { sender, wire, key: key.clone(), reused, idle, pool: Arc::clone(self), stream: None }
    }

    /// A connection that was just made, for its maker. An HTTP/2 one is shared with others.
    pub(super) fn adopt(self: &Arc<Self>, key: &Key, connected: Connected) -> Lease {
        match connected {
            Connected::Http1(sender, wire) => {
                self.state.lock().hosts.entry(key.clone()).or_default().agreed = Some(Protocol::Http1);
                self.lease(Sender::Http1(sender), wire, key, false)
            }
            Connected::Http2(sender, wire, peer) => {
                let shared = Shared { sender, wire, peer, load: Arc::default(), unused: None };
                let lease = self.lease_shared(&shared, key);
                self.share(key, shared);
                lease
            }
        }
    }

    /// A connection that was just made, for those who wait for it.
    pub(super) fn insert(self: &Arc<Self>, key: &Key, connected: Connected) {
        match connected {
            http1 @ Connected::Http1(..) => self.adopt(key, http1).give_back(),
            Connected::Http2(sender, wire, peer) => {
                self.share(key, Shared { sender, wire, peer, load: Arc::default(), unused: None });
            }
        }
    }

    fn share(self: &Arc<Self>, key: &Key, shared: Shared) {
        let mut state = self.state.lock();
        let host = state.hosts.entry(key.clone()).or_default();
        host.agreed = Some(Protocol::Http2);
        host.shared.push(shared);
        self.sweep_later(&mut state);
    }

    /// The joint attempt has ended; later requests do not wait for it.
    pub(super) fn disjoin(&self, key: &Key) {
        if let Some(host) = self.state.lock().hosts.get_mut(key) {
            host.joint = None;
        }
    }

    /// Whether a host is known to let HTTP/2 streams switch protocols.
    pub(super) fn has_extended_connect(&self, host: &str) -> bool {
        self.state.lock().extended_connect.contains(host)
    }

    fn learn(&self, host: &Arc<str>, peer: &Peer) {
        if !peer.has_extended_connect() {
            return;
        }
        let known = &mut self.state.lock().extended_connect;
        if known.len() >= HOSTS {
            known.clear();
        }
        known.insert(Arc::clone(host));
    }

    fn put(self: &Arc<Self>, key: Key, idle: Idle) {
        let mut state = self.state.lock();
        if state.idle >= self.limits.idle_total {
            return;
        }
        let host = state.hosts.entry(key).or_default();
        if host.idle.len() < self.limits.idle_per_host {
            host.idle.push(idle);
            state.idle += 1;
            self.sweep_later(&mut state);
        }
    }

    fn sweep_later(self: &Arc<Self>, state: &mut State) {
        let Ok(runtime) = Handle::try_current() else { return };
        if std::mem::replace(&mut state.sweeping, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        let period = self.limits.idle_timeout / 2;
        runtime.spawn(async move {
            loop {
                sleep(period).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep() {
                    return;
                }
            }
        });
    }

    /// Closes what has been unused for too long. Says whether anything is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut idle = 0;
        state.hosts.retain(|_, host| {
            host.idle.retain(|idle| now < idle.until && !idle.sender.is_closed());
            host.shared.retain_mut(|shared| shared.is_alive() && !shared.expire(now, self.limits.idle_timeout));
            idle += host.idle.len();
            !(host.idle.is_empty() && host.shared.is_empty() && host.joint.is_none())
        });
        state.idle = idle;
        state.sweeping = !state.hosts.is_empty();
        state.sweeping
    }
}

impl Shared {
    fn is_alive(&self) -> bool {
        !self.sender.is_closed() && !self.wire.has_ended()
    }

    /// How many streams the server allows.
    fn capacity(&self) -> usize {
        // A server that allows none for now will allow some later; hyper waits for that.
        self.peer.streams().max(1)
    }

    fn expire(&mut self, now: Instant, limit: Duration) -> bool {
        if self.load.streams.load(Relaxed) > 0 {
            self.unused = None;
            return false;
        }
        now - *self.unused.get_or_insert(now) >= limit
    }
}

/// One of a shared connection's streams.
pub(super) struct Stream {
    load: Arc<Load>,
}

impl Stream {
    fn new(load: &Arc<Load>) -> Self {
        load.streams.fetch_add(1, Relaxed);
        Self { load: Arc::clone(load) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.load.streams.fetch_sub(1, Relaxed);
    }
}

pub(super) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>, Arc<Peer>),
}

/// A connection, or a stream of one, for one request. Dropped, it closes the HTTP/1.1 connection.
pub(crate) struct Lease {
    pub(super) sender: Sender,
    pub(super) wire: Arc<Wire>,
    /// Whether it carried a request before.
    pub(super) reused: bool,
    key: Key,
    idle: Duration,
    pool: Arc<Pool>,
    /// Counts this among a shared connection's streams as long as it lives.
    stream: Option<Stream>,
}

impl Lease {
    /// What the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self.sender {
            Sender::Http1(_) => Protocol::Http1,
            Sender::Http2(..) => Protocol::Http2,
        }
    }

    /// Reads how long the server keeps an unused connection, where it says so (`Keep-Alive`, RFC 2068 § 19.7.1).
    pub(crate) fn heed(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return };
        let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.trim().parse().ok());
        if let Some(seconds) = seconds {
            // A second less: ours must close first.
            self.idle = self.idle.min(Duration::from_secs(u64::saturating_sub(seconds, 1)));
        }
    }

    /// The response is complete: the connection may carry another request.
    pub(crate) fn give_back(self) {
        let Self { sender, wire, key, idle, pool, .. } = self;
        let mut sender = match sender {
            Sender::Http1(sender) => sender,
            Sender::Http2(_, peer) => return pool.learn(&key.host, &peer),
        };
        let put = move |sender, pool: &Arc<Pool>| {
            let since = Instant::now();
            pool.put(key, Idle { sender, wire, since, until: since + idle });
        };
        if sender.is_ready() {
            return put(sender, &pool);
        }
        if sender.is_closed() {
            return;
        }
        // The connection's task has yet to see the end of the exchange.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Ok(Ok(())) = timeout(SETTLE, sender.ready()).await {
                    put(sender, &pool);
                }
            });
        }
    }
}
