//! A connection while it carries a request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::HeaderMap;
use hyper::client::conn::http1;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::{Idle, Key, Load, Pool};
use crate::http::headers::Protocol;
use crate::http::request::RequestBody;
use crate::upstream::http2::Requests;
use crate::upstream::wire::Wire;

/// How long an answered HTTP/1.1 connection may take until it can carry another request: its request may still be on its way.
const SETTLE: Duration = Duration::from_secs(10);

/// One of a shared connection's streams.
pub(super) struct Stream {
    load: Arc<Load>,
}

impl Stream {
    pub(super) fn new(load: &Arc<Load>) -> Self {
        load.streams.fetch_add(1, Relaxed);
        Self { load: Arc::clone(load) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.load.streams.fetch_sub(1, Relaxed);
    }
}

pub(in crate::upstream) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(Requests),
}

/// A connection, or a stream of one, for one request. Dropped, it closes the HTTP/1.1 connection.
pub(crate) struct Lease {
    pub(in crate::upstream) sender: Sender,
    pub(in crate::upstream) wire: Arc<Wire>,
    /// Whether it carried a request before.
    pub(in crate::upstream) reused: bool,
    pub(super) key: Key,
    pub(super) idle: Duration,
    pub(super) pool: Arc<Pool>,
    /// Counts this among a shared connection's streams as long as it lives.
    pub(super) stream: Option<Stream>,
}

impl Lease {
    /// What the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self.sender {
            Sender::Http1(_) => Protocol::Http1,
            Sender::Http2(_) => Protocol::Http2,
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

    /// The connection carries another protocol now, in which a failed write is the end.
    pub(crate) fn switched(&self) {
        self.wire.forgive(false);
    }

    /// The response is complete: the connection may carry another request.
    pub(crate) fn give_back(self) {
        let Self { sender, wire, key, idle, pool, .. } = self;
        let mut sender = match sender {
            Sender::Http1(sender) => sender,
            Sender::Http2(requests) => return pool.learn(&key.host, &requests),
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
