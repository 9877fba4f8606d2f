//! A connection of which something was read that somebody else is to read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads the given bytes first, then the connection.
pub(super) struct Rewound<T> {
    io: T,
    bytes: Vec<u8>,
    read: usize,
}

impl<T> Rewound<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, bytes: Vec::new(), read: 0 }
    }

    /// Has these bytes read first. Those of an earlier time must all have been read.
    pub(super) fn rewind(self, bytes: Vec<u8>) -> Self {
        debug_assert!(self.bytes.is_empty(), "bytes were forgotten");
        Self { io: self.io, bytes, read: 0 }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let end = self.bytes.len().min(self.read + buf.remaining());
        buf.put_slice(&self.bytes[self.read..end]);
        self.read = end;
        if end == self.bytes.len() {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
