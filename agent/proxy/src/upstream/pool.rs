//! Connections that wait for their next request.
//!
//! HTTP/1.1 connections carry one request at a time and are lent; HTTP/2 connections are shared up to a number of streams. When
//! several requests find no HTTP/2 connection, one makes it and the others wait for that one. No lock is held over an await.

mod lease;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::http1;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub(crate) use self::lease::Lease;
pub(super) use self::lease::Sender;
use self::lease::Stream;
use super::Limits;
use super::connect::Connected;
use super::error::ConnectError;
use super::http2::Requests;
use super::wire::Wire;
use crate::http::headers::Protocol;
use crate::http::request::RequestBody;

/// How many hosts are remembered for what they can do.
const HOSTS: usize = 1024;

/// Which connections are interchangeable. The address is the application's choice, and may be dead, slow or far from what the
/// name resolves to: nobody else's requests wait for a connection to it or travel on one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) host: Arc<str>,
    pub(super) destination: SocketAddr,
    pub(super) uid: u32,
    pub(super) plain: bool,
    /// What the client speaks, which decides what is offered to the server.
    pub(super) wanted: Protocol,
}

pub(super) struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None is [vacant](Host::is_vacant): there are as many keys as callers like.
    hosts: HashMap<Key, Host>,
    idle: usize,
    shared: usize,
    sweeping: bool,
    /// What hosts agreed to last, by what was wanted. It outlives their connections.
    agreed: HashMap<(Arc<str>, Protocol), Protocol>,
    /// Hosts that let HTTP/2 streams switch protocols. It outlives their connections.
    extended_connect: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Host {
    /// The longest unused first.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    joint: Option<Joint>,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    wire: Arc<Wire>,
    since: Instant,
    until: Instant,
}

struct Shared {
    requests: Requests,
    wire: Arc<Wire>,
    load: Arc<Load>,
    /// When a sweep first found it unused.
    unused: Option<Instant>,
}

#[derive(Default)]
struct Load {
    streams: AtomicUsize,
    served: AtomicUsize,
}

/// The outcome of a connection that several requests wait for.
pub(super) type Joint = watch::Receiver<Option<Result<(), Arc<ConnectError>>>>;
pub(super) type JointSender = watch::Sender<Option<Result<(), Arc<ConnectError>>>>;

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
        if let Some(lease) = self.ready(&mut state, key, need) {
            return Way::Ready(lease);
        }
        let State { hosts, agreed, .. } = &mut *state;
        let agreed = agreed.get(&(Arc::clone(&key.host), key.wanted));
        let shareable = match key.wanted {
            Protocol::Http1 => agreed == Some(&Protocol::Http2),
            Protocol::Http2 => agreed != Some(&Protocol::Http1),
        };
        if !shareable {
            return Way::MakeOwn;
        }
        let host = hosts.entry(key.clone()).or_default();
        if let Some(joint) = host.joint() {
            return Way::Wait(joint.clone());
        }
        let (sender, joint) = watch::channel(None);
        host.joint = Some(joint.clone());
        Way::Make(sender, joint)
    }

    /// A connection that is there, if there is one.
    fn ready(self: &Arc<Self>, state: &mut State, key: &Key, need: Need) -> Option<Lease> {
        let State { hosts, idle, shared, .. } = state;
        let host = hosts.get_mut(key)?;
        let lease = self.shared(host, key, shared).or_else(|| self.idle(host, key, need, idle));
        if host.is_vacant() {
            hosts.remove(key);
        }
        lease
    }

    fn shared(self: &Arc<Self>, host: &mut Host, key: &Key, count: &mut usize) -> Option<Lease> {
        *count -= host.shared.len();
        host.shared.retain(Shared::is_alive);
        *count += host.shared.len();
        let limit = self.limits.streams_per_connection;
        let free = |shared: &&mut Shared| shared.load.streams.load(Relaxed) < limit.min(shared.capacity());
        let shared = host.shared.iter_mut().find(free)?;
        shared.unused = None;
        Some(self.lease_shared(shared, key))
    }

    fn lease_shared(self: &Arc<Self>, shared: &Shared, key: &Key) -> Lease {
        let reused = shared.load.served.fetch_add(1, Relaxed) > 0;
        let mut lease = self.lease(Sender::Http2(shared.requests.clone()), Arc::clone(&shared.wire), key, reused);
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
                self.state.lock().agree(key, Protocol::Http1);
                self.lease(Sender::Http1(sender), wire, key, false)
            }
            Connected::Http2(requests, wire) => {
                let shared = Shared { requests, wire, load: Arc::default(), unused: None };
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
            Connected::Http2(requests, wire) => {
                self.share(key, Shared { requests, wire, load: Arc::default(), unused: None });
            }
        }
    }

    fn share(self: &Arc<Self>, key: &Key, shared: Shared) {
        let mut state = self.state.lock();
        state.agree(key, Protocol::Http2);
        if state.shared >= self.limits.idle_total {
            // Those in use are as many as their clients' connections allow; the others would be as many as were ever asked for.
            state.retain(|_| true, |shared| shared.is_alive() && shared.load.streams.load(Relaxed) > 0);
        }
        state.hosts.entry(key.clone()).or_default().shared.push(shared);
        state.shared += 1;
        self.sweep_later(&mut state);
    }

    /// The joint attempt has ended; later requests do not wait for it.
    pub(super) fn disjoin(&self, key: &Key) {
        let hosts = &mut self.state.lock().hosts;
        let Some(host) = hosts.get_mut(key) else { return };
        host.joint = None;
        if host.is_vacant() {
            hosts.remove(key);
        }
    }

    /// Whether what the client speaks is to be translated, as the server last agreed on HTTP/2 alone.
    pub(super) fn has_agreed_on_http2(&self, key: &Key) -> bool {
        self.state.lock().agreed.get(&(Arc::clone(&key.host), key.wanted)) == Some(&Protocol::Http2)
    }

    /// Whether a host is known to let HTTP/2 streams switch protocols.
    pub(super) fn has_extended_connect(&self, host: &str) -> bool {
        self.state.lock().extended_connect.contains(host)
    }

    fn learn(&self, host: &Arc<str>, requests: &Requests) {
        if !requests.has_extended_connect() {
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
        let kept = state.hosts.get(&key).map_or(0, |host| host.idle.len());
        if kept < self.limits.idle_per_host {
            state.hosts.entry(key).or_default().idle.push(idle);
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
        state.retain(
            |idle| now < idle.until && !idle.sender.is_closed(),
            |shared| shared.is_alive() && !shared.expire(now, self.limits.idle_timeout),
        );
        state.sweeping = !state.hosts.is_empty();
        state.sweeping
    }
}

impl State {
    /// Closes all other connections, and forgets keys that have none left.
    fn retain(&mut self, keep_idle: impl Fn(&Idle) -> bool, keep_shared: impl Fn(&mut Shared) -> bool) {
        (self.idle, self.shared) = (0, 0);
        self.hosts.retain(|_, host| {
            host.idle.retain(&keep_idle);
            host.shared.retain_mut(&keep_shared);
            self.idle += host.idle.len();
            self.shared += host.shared.len();
            !host.is_vacant()
        });
    }

    fn agree(&mut self, key: &Key, protocol: Protocol) {
        let asked = (Arc::clone(&key.host), key.wanted);
        if self.agreed.len() >= HOSTS && !self.agreed.contains_key(&asked) {
            self.agreed.clear();
        }
        self.agreed.insert(asked, protocol);
    }
}

impl Host {
    /// The joint attempt, if there is one. One whose maker is gone tells nobody anything.
    fn joint(&self) -> Option<&Joint> {
        self.joint.as_ref().filter(|joint| joint.has_changed().is_ok())
    }

    fn is_vacant(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty() && self.joint().is_none()
    }
}

impl Shared {
    fn is_alive(&self) -> bool {
        !self.requests.is_closed() && !self.wire.has_ended()
    }

    /// How many streams the server allows.
    fn capacity(&self) -> usize {
        // A server that allows none for now will allow some later; h2 waits for that.
        self.requests.streams().max(1)
    }

    fn expire(&mut self, now: Instant, limit: Duration) -> bool {
        if self.load.streams.load(Relaxed) > 0 {
            self.unused = None;
            return false;
        }
        now - *self.unused.get_or_insert(now) >= limit
    }
}

#[cfg(test)]
mod tests;
