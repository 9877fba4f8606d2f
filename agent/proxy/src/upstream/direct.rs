//! Connections whose HTTP/1.1 is read and written by `http::direct`: bytes in, bytes out, and a place to wait for the next request.

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::error::ConnectError;
use super::pool::Key;
use super::{Limits, Target, Upstream};
use crate::http::headers::Protocol;
use crate::observe::{Observer, Step, UpstreamEvent};

/// A request whose body is too large to be sent twice does not go on a connection unused for longer than this: the server may be
/// closing it.
const SURELY_ALIVE: Duration = Duration::from_secs(2);

/// A connection to a provider, for one request. Dropped, it is closed.
pub(crate) struct Direct {
    io: Stream,
    key: Key,
    /// Whether it carried a request before.
    pub(crate) reused: bool,
    idle: Duration,
    /// Why nothing more can be read. The kernel says it once.
    broken: Option<io::ErrorKind>,
    pool: Arc<DirectPool>,
}

pub(super) enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Why there is no such connection.
pub(crate) enum NotDirect {
    /// The server speaks HTTP/2 only, and requests must be translated.
    Http2,
    Failed(ConnectError),
}

impl Upstream {
    /// A connection to the target: one that waits, unless it must be `fresh`, or a new one. `small` says that the request can be
    /// sent twice.
    pub(crate) async fn direct(
        &self,
        target: &Target,
        fresh: bool,
        small: bool,
        observer: &dyn Observer,
    ) -> Result<Direct, NotDirect> {
        let inner = &self.inner;
        let key = Key {
            host: Arc::clone(&target.host),
            destination: target.destination,
            uid: target.uid,
            plain: target.plain,
            wanted: Protocol::Http1,
        };
        if !fresh && let Some(waiting) = inner.direct.take(&key, small) {
            observer.upstream(UpstreamEvent::Reused);
            return Ok(waiting);
        }
        if inner.pool.has_agreed_on_http2(&key) {
            return Err(NotDirect::Http2);
        }
        let started = Instant::now();
        // Boxed, as most requests find a connection, and this would be held by each.
        let io = match Box::pin(inner.connect_raw(target)).await {
            Ok(io) => io,
            Err(error) => {
                if let NotDirect::Failed(_) = &error {
                    observer.upstream(UpstreamEvent::ConnectFailed);
                }
                return Err(error);
            }
        };
        observer.took(Step::Connect, started.elapsed());
        observer.upstream(UpstreamEvent::Connected { http2: false });
        let idle = inner.limits.idle_timeout;
        Ok(Direct { io, key, reused: false, idle, broken: None, pool: Arc::clone(&inner.direct) })
    }

    /// How soon a used connection must break for its request to be sent again.
    pub(crate) fn resend_within(&self) -> Duration {
        self.inner.limits.resend_within
    }
}

impl Direct {
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let read = self.io.poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read {
            self.broken = Some(error.kind());
        }
        read
    }

    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    /// The server keeps it for so long when it is unused.
    pub(crate) fn kept_for(&mut self, time: Duration) {
        // A second less: ours must close first.
        self.idle = self.idle.min(time.saturating_sub(Duration::from_secs(1)));
    }

    /// The response is complete, and the connection may carry another request.
    pub(crate) fn give_back(mut self) {
        if self.broken.is_none() && self.io.is_silent() {
            let pool = Arc::clone(&self.pool);
            pool.put(self);
        }
    }
}

impl Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// Whether nothing came and the server has not closed: what comes between two requests is an end, or no HTTP.
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let reading = poll_fn(|context| self.poll_read(context, &mut ReadBuf::new(&mut byte)));
        // A task that has done much is told that there is nothing, whatever there is.
        pin!(unconstrained(reading)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Connections that wait for their next request.
pub(super) struct DirectPool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest unused first. No list is empty: there are as many keys as callers like.
    waiting: HashMap<Key, Vec<Waiting>>,
    count: usize,
    sweeping: bool,
}

struct Waiting {
    io: Stream,
    since: Instant,
    until: Instant,
}

impl DirectPool {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// The last used first: it is the likeliest to be alive. It is looked at, and closed if it is not, when others may use the pool.
    fn take(self: &Arc<Self>, key: &Key, small: bool) -> Option<Direct> {
        let now = Instant::now();
        loop {
            let last = self.pop(key, |last| small || now - last.since <= SURELY_ALIVE)?;
            let mut direct = Direct {
                io: last.io,
                key: key.clone(),
                reused: true,
                idle: self.limits.idle_timeout,
                broken: None,
                pool: Arc::clone(self),
            };
            if now < last.until && direct.io.is_silent() {
                return Some(direct);
            }
        }
    }

    fn pop(&self, key: &Key, will_do: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        let mut state = self.state.lock();
        let list = state.waiting.get_mut(key)?;
        let last = list.pop_if(|last| will_do(last))?;
        if list.is_empty() {
            state.waiting.remove(key);
        }
        state.count -= 1;
        Some(last)
    }

    fn put(self: &Arc<Self>, direct: Direct) {
        let since = Instant::now();
        let Direct { io, key, idle, .. } = direct;
        let mut state = self.state.lock();
        let State { waiting, count, .. } = &mut *state;
        if *count >= self.limits.idle_total {
            return;
        }
        let list = waiting.entry(key).or_default();
        // Only a bound of none leaves a list empty, and then there is nobody to remove it.
        if list.len() < self.limits.idle_per_host.max(1) {
            list.push(Waiting { io, since, until: since + idle });
            *count += 1;
        }
        self.sweep_later(&mut state);
    }

    fn sweep_later(self: &Arc<Self>, state: &mut State) {
        if state.sweeping {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        state.sweeping = true;
        let (pool, period) = (Arc::downgrade(self), self.limits.idle_timeout / 2);
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

    /// Closes what has been unused for too long, or closed by its server. Says whether anything is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut over = Vec::new();
        let mut state = self.state.lock();
        let State { waiting, count, sweeping } = &mut *state;
        waiting.retain(|_, list| {
            over.extend(list.extract_if(.., |waiting| now >= waiting.until || !waiting.io.is_silent()));
            !list.is_empty()
        });
        *count -= over.len();
        let is_left = !waiting.is_empty();
        *sweeping = is_left;
        // They are closed when the pool is free again, by a system call each.
        drop(state);
        is_left
    }
}
