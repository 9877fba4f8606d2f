//! What came over a connection, as seen below HTTP: the evidence on which a repeat is decided.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
    ended: AtomicBool,
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
