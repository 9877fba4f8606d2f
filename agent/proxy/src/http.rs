//! HTTP between a client whose TLS was opened and the provider it called, exchange by exchange: `direct` where both speak HTTP/1.1
//! and say nothing unusual; for all else h2 or hyper on either side, by what is spoken there.
//!
//! Nothing is changed but what `splice` and a policy's clamp say, for which bodies are collected, of up to 4 MiB or the policy's limit.
//! hyper does not keep: the spacing around a field's value; how fields that occur more than once interleave with others (they move up to the first); the sizes of chunks that
//! arrive in parts; `content-length` on 204 and 304; HTTP/1.1 trailers that were not announced (`Trailer`) or, towards a client,
//! not asked for (`TE: trailers`); and informational responses other than `100 Continue`, which comes when the provider's comes.

mod admission;
pub(crate) mod backlog;
mod direct;
pub(crate) mod headers;
mod linger;
mod relay;
pub(crate) mod request;
mod response;
mod service;
pub(crate) mod splice;
mod streams;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tollgate_llm::{Prices, Provider};
use tollgate_policy::Engine;
use tollgate_workload::Caller;

pub use self::direct::NotHttp;
use self::direct::Served;
pub(crate) use self::direct::limits::{MAX_BUFFER, MAX_HEADERS};
use self::linger::Lingering;
use self::relay::Switch;
use self::request::Budget;
pub use self::request::{BodyError, RequestBody};
use self::response::Draining;
pub use self::response::{Relayed, ResponseBody};
use self::service::Context;
use self::splice::Splicing;
use crate::admit::Gate;
pub use crate::admit::PolicySettings;
use crate::drain;
use crate::exchange::Ended;
use crate::fingerprint::Fingerprints;
pub use crate::http2::ReceiveError;
use crate::http2::Received;
use crate::observe::Observer;
use crate::prefixed::Prefixed;
use crate::settle::Settler;
use crate::upstream::Upstream;

/// How large an HTTP/2 head may be, as SETTINGS_MAX_HEADER_LIST_SIZE counts. Every stream may have one, so it is less than HTTP/1.1's.
pub(crate) const MAX_HEADER_LIST: u32 = 128 * 1024;

/// How long a client may be silent between requests, or take for a head. Longer than any client pools its connections.
const HEAD: Duration = Duration::from_mins(15);

/// How long a draining connection without any request yet is waited for: its client is about to send one.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// Streams a client may have open, and what each may have in flight towards us.
const STREAMS: u32 = 200;
const STREAM_WINDOW: u32 = 256 * 1024;

/// What a client's connection may have in flight towards us, which bounds what it makes us hold. An upload that the provider does
/// not read holds one stream's share of it; it takes 32 of them on one connection to stop that connection's other uploads.
const CONNECTION_WINDOW: u32 = 32 * STREAM_WINDOW;

/// Serves connections whose TLS was opened. Clones are the same.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Upstream,
    observer: Arc<dyn Observer>,
    settler: Arc<Settler>,
    fingerprints: OnceLock<Fingerprints>,
    splicing: Splicing,
    draining: Option<Arc<Draining>>,
    gate: OnceLock<Gate>,
}

/// What is done so that usage is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metering {
    /// Whether streams in OpenAI's dialect are asked for their usage where the client does not.
    pub include_usage: bool,
    /// What becomes of a stream whose client has left.
    pub on_disconnect: OnDisconnect,
}

impl Default for Metering {
    fn default() -> Self {
        Self { include_usage: true, on_disconnect: OnDisconnect::Cancel }
    }
}

/// What becomes of a stream whose client has left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnDisconnect {
    /// The provider is told at once.
    Cancel,
    /// It is read to its end, which tells the usage, within these bounds.
    Drain {
        /// How long.
        timeout: Duration,
        /// How many bytes.
        limit: u64,
    },
}

/// A client connection after its TLS handshake, or one that does without.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The server's name, from the ClientHello, or from the first request without TLS. Requests go there and nowhere else.
    pub host: Arc<str>,
    /// Where the application wanted to connect to.
    pub destination: SocketAddr,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// Whose host it is.
    pub provider: Arc<Provider>,
    /// Whether HTTP/2 was agreed on (ALPN).
    pub http2: bool,
    /// Whether the application speaks without TLS. Then so do we to the server, and HTTP/1.1.
    pub plain: bool,
}

/// Why a client's connection ended out of order.
#[derive(Debug, thiserror::Error)]
#[error("the client's connection ended: {source}")]
pub struct ServeError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl From<hyper::Error> for ServeError {
    fn from(error: hyper::Error) -> Self {
        Self { source: error.into() }
    }
}

impl From<h2::Error> for ServeError {
    fn from(error: h2::Error) -> Self {
        Self { source: error.into() }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self { source: error.into() }
    }
}

impl Http {
    /// Requests go by `upstream`; `observer` is told of each exchange.
    pub fn new(upstream: Upstream, observer: Arc<dyn Observer>) -> Self {
        Self::with(upstream, observer, Metering::default())
    }

    /// The same, with other choices about metering.
    pub fn with(upstream: Upstream, observer: Arc<dyn Observer>, metering: Metering) -> Self {
        let splicing = Splicing::new(metering.include_usage, Budget::default());
        let draining = match metering.on_disconnect {
            OnDisconnect::Cancel => None,
            OnDisconnect::Drain { timeout, limit } => Some(Arc::new(Draining::new(timeout, limit, &observer))),
        };
        let settler = Arc::new(Settler::new(Arc::clone(&observer)));
        let (fingerprints, gate) = (OnceLock::new(), OnceLock::new());
        Self { shared: Arc::new(Shared { upstream, observer, settler, fingerprints, splicing, draining, gate }) }
    }

    /// The same, at these prices. Without, or when it is too late, at the bundled ones.
    #[must_use]
    pub fn with_prices(self, prices: Arc<Prices>) -> Self {
        self.shared.settler.use_prices(prices);
        self
    }

    /// From now on calls are settled at these prices.
    pub fn replace_prices(&self, prices: Arc<Prices>) {
        self.shared.settler.replace_prices(prices);
    }

    /// The same, with credentials told apart. The first fingerprints stay.
    #[must_use]
    pub fn with_fingerprints(self, fingerprints: Fingerprints) -> Self {
        self.shared.fingerprints.get_or_init(|| fingerprints);
        self
    }

    /// The same, where calls have to pass the policy that `engine` has in force. The first engine stays.
    #[must_use]
    pub fn with_policy(self, engine: Arc<Engine>, settings: PolicySettings) -> Self {
        self.shared.gate.get_or_init(|| {
            self.shared.splicing.budget().widen(settings.body_limit);
            Gate::new(engine, settings)
        });
        self
    }

    /// Serves a connection to its end, which is soon after `drain` begins: what is in flight is finished, and nothing begun.
    pub async fn serve<IO>(&self, io: IO, connection: Connection, drain: drain::Watch) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (settlements, mut ended) = mpsc::unbounded_channel::<Ended>();
        let http2 = connection.http2;
        let (context, begun) = Context::new(Arc::clone(&self.shared), connection, settlements, drain.clone());
        let mut io = Prefixed::new(Lingering::new(io), Vec::new());
        if !http2 && self.shared.draining.is_none() {
            match direct::serve(io, &context).await {
                Served::Ended(result) => return Ok(result?),
                Served::Odd(rest, bytes) => io = rest.rewind(bytes),
            }
        }
        let mut serving = Box::pin(async move {
            if http2 {
                return Ok(streams::serve(io, context, drain).await?);
            }
            Ok(serve_http1(TokioIo::new(io), context, begun, drain).await?)
        });
        let result = loop {
            tokio::select! {
                // The connection first: it flushes what an ended exchange has handed to it, and then the exchange is settled.
                biased;
                result = &mut serving => break result,
                Some(ended) = ended.recv() => ended.settle(),
            }
        };
        drop(serving);
        // Streams and relays outlive hyper's connection by a moment or by hours; each holds a sender.
        while let Some(ended) = ended.recv().await {
            ended.settle();
        }
        result
    }
}

async fn serve_http1<IO>(
    io: TokioIo<Prefixed<Lingering<IO>>>,
    context: Arc<Context>,
    mut begun: watch::Receiver<bool>,
    drain: drain::Watch,
) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request| {
        let switch = service::wants_switch(&request).then(|| Switch::Http1(hyper::upgrade::on(&mut request)));
        service::serve(Arc::clone(&context), request.map(Received::Http1), switch)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .preserve_header_case(true)
            .auto_date_header(false)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            // A client that closes its side has gone, as far as providers are concerned; its request is cancelled at once.
            .half_close(false)
            .serve_connection(io, service)
            .with_upgrades()
    );
    let draining = async {
        drain.signaled().await;
        // An error means that the connection is over.
        drop(tokio::time::timeout(FIRST_REQUEST, begun.wait_for(|begun| *begun)).await);
    };
    tokio::select! {
        biased;
        result = connection.as_mut() => return ended_well(result),
        () = draining => connection.as_mut().graceful_shutdown(),
    }
    ended_well(connection.await)
}

/// A client that has been silent for too long is let go; that is no error.
fn ended_well(result: Result<(), hyper::Error>) -> Result<(), hyper::Error> {
    result.or_else(|error| if error.is_timeout() { Ok(()) } else { Err(error) })
}
