//! What came over a connection, as seen below HTTP: the evidence on which a repeat is decided.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
    ended: AtomicBool,
    settings: Settings,
}

/// What an HTTP/2 server allows, as far as it has said.
#[derive(Debug, Default)]
struct Settings {
    streams: AtomicUsize,
    extended_connect: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Wire {
    /// Bytes received so far, inside TLS.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes sent so far, inside TLS.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether the server has closed its side, or the connection broke.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// How many streams the server allows; as of the last request, or of `refresh`.
    pub(crate) fn streams(&self) -> usize {
        self.settings.streams.load(Relaxed)
    }

    /// Whether the server lets streams switch protocols (RFC 8441 § 3); as of the last request, or of `refresh`.
    pub(crate) fn has_extended_connect(&self) -> bool {
        self.settings.extended_connect.load(Relaxed)
    }

    /// Has the settings read anew, soon.
    pub(crate) fn refresh(&self) {
        if let Some(waker) = &*self.settings.driver.lock() {
            waker.wake_by_ref();
        }
    }
}

/// Drives an HTTP/2 connection. hyper tells what the server allows to the owner of the connection only.
pub(super) struct Driver<B, T>
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection: http2::Connection<TokioIo<T>, B, TokioExecutor>,
    wire: Arc<Wire>,
}

impl<B, T> Driver<B, T>
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(connection: http2::Connection<TokioIo<T>, B, TokioExecutor>, wire: Arc<Wire>) -> Self {
        let driver = Self { connection, wire };
        driver.publish();
        driver
    }

    fn publish(&self) {
        let settings = &self.wire.settings;
        settings.streams.store(self.connection.current_max_send_streams(), Relaxed);
        settings.extended_connect.store(self.connection.is_extended_connect_protocol_enabled(), Relaxed);
    }
}

impl<B, T> Future for Driver<B, T>
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.wire.settings.driver.lock() = Some(cx.waker().clone());
        let polled = Pin::new(&mut self.connection).poll(cx);
        self.publish();
        // Its requests are told of an error themselves.
        polled.map(drop)
    }
}

/// A stream that keeps a [`Wire`] up to date.
pub(crate) struct Watched<T> {
    io: T,
    wire: Arc<Wire>,
}

impl<T> Watched<T> {
    pub(crate) fn new(io: T, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }

    fn note<V>(&self, result: io::Result<V>) -> io::Result<V> {
        if result.is_err() {
            self.wire.ended.store(true, Relaxed);
        }
        result
    }

    fn note_sent(&self, result: io::Result<usize>) -> io::Result<usize> {
        if let Ok(count) = &result {
            self.wire.sent.fetch_add(*count as u64, Relaxed);
        }
        self.note(result)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining();
        let result = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        self.wire.received.fetch_add(count as u64, Relaxed);
        if count == 0 && room > 0 {
            self.wire.ended.store(true, Relaxed);
        }
        Poll::Ready(self.note(result))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.note_sent(result))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.note_sent(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(self.note(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
