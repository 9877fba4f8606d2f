//! Connections to providers: made to the application's own destination first, verified for the server's name always, pooled,
//! and repeated only where the provider has provably not seen the request.

mod connect;
mod dial;
mod direct;
mod error;
mod http2;
mod pool;
mod send;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;
use tollgate_tls::{Roots, client_config};

pub use self::dial::{Dial, Dialing, Resolving, SystemDial};
use self::direct::DirectPool;
pub(crate) use self::direct::{Direct, NotDirect};
pub use self::error::{ConnectError, SendError};
pub(crate) use self::pool::Lease;
use self::pool::Pool;
pub(crate) use self::send::{Outgoing, Wish};
pub(crate) use self::wire::{Watched, Wire};
use crate::http::headers::Protocol;

/// Bounds on connections to providers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long an unused connection is kept. Shorter than what providers keep theirs, so that ours closes first.
    pub idle_timeout: Duration,
    /// How many unused HTTP/1.1 connections are kept for each user, host and address. As many as one program may have calls at a time:
    /// beyond that, each call pays for a handshake.
    pub idle_per_host: usize,
    /// How many unused connections of each protocol are kept in all.
    pub idle_total: usize,
    /// How many streams one HTTP/2 connection carries before another is made, where the provider allows as many.
    pub streams_per_connection: usize,
    /// How soon a connection that was used before must break for its request to be sent again, unless the method is idempotent:
    /// a request crosses with a close within a round trip. One that breaks later may have carried the request to a model that
    /// was thinking about it. What is kept of a body for this is let go after as long.
    pub resend_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(50),
            idle_per_host: 512,
            idle_total: 1024,
            streams_per_connection: 100,
            resend_within: Duration::from_secs(1),
        }
    }
}

/// Sends requests to providers. Clones share the pool.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    dial: Arc<dyn Dial>,
    tls: Tls,
    limits: Limits,
    pool: Arc<Pool>,
    direct: Arc<DirectPool>,
}

/// One configuration for each list of protocols offered (ALPN): sessions are resumed within one.
struct Tls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The server's name, for which its certificate is verified.
    pub(crate) host: Arc<str>,
    /// Where the application wanted to connect to.
    pub(crate) destination: SocketAddr,
    /// Whose request it is.
    pub(crate) uid: u32,
    /// Whether the server is spoken to without TLS, as the application did.
    pub(crate) plain: bool,
}

impl Upstream {
    /// Connections from here, verified against `roots`.
    pub fn new(roots: &Roots) -> Self {
        Self::with(roots, Limits::default(), Arc::new(SystemDial))
    }

    /// The same, with other bounds, and with sockets made by `dial`: in another network namespace, for one.
    pub fn with(roots: &Roots, limits: Limits, dial: Arc<dyn Dial>) -> Self {
        let tls = Tls {
            http1: client_config(roots, &[b"http/1.1"]),
            http2: client_config(roots, &[b"h2"]),
            either: client_config(roots, &[b"h2", b"http/1.1"]),
        };
        let (pool, direct) = (Arc::new(Pool::new(limits)), Arc::new(DirectPool::new(limits)));
        Self { inner: Arc::new(Inner { dial, tls, limits, pool, direct }) }
    }

    /// Whether a host is known to let HTTP/2 streams switch protocols (RFC 8441).
    pub(crate) fn has_extended_connect(&self, host: &str) -> bool {
        self.inner.pool.has_extended_connect(host)
    }
}

/// What is offered to a server (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Offer {
    Http1,
    Http2,
    Either,
}

impl Offer {
    /// HTTP/1.1 clients get an HTTP/1.1 server where there is one: it keeps the case of names, and can switch protocols.
    fn wanted(by: Protocol) -> Self {
        match by {
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Either,
        }
    }

    fn config(self, tls: &Tls) -> Arc<ClientConfig> {
        Arc::clone(match self {
            Self::Http1 => &tls.http1,
            Self::Http2 => &tls.http2,
            Self::Either => &tls.either,
        })
    }
}
