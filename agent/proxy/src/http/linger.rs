//! Closing a connection so that its last response arrives.
//!
//! A response may come before its request has ended, and the connection then closes. To close a socket with unread bytes is to
//! reset it, and a reset may overtake the response (RFC 9112 § 9.6). So the write side is closed first, and what still comes is
//! read and thrown away until the client closes too, or for a short while.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Lingering<T> {
    io: T,
    read_ended: bool,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<T> Lingering<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, read_ended: false, closing: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.read_ended |= result.is_err() || (room > 0 && buf.filled().len() == before);
        Poll::Ready(result)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
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
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.closing = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let mut sink = [0; 8 * 1024];
        // Bounded, so that a fast sender does not hold the thread.
        for _ in 0..16 {
            let this = &mut *self;
            let waited = this.closing.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            if this.read_ended || waited {
                return Poll::Ready(Ok(()));
            }
            // An error is the client's close, as good as any.
            drop(ready!(self.as_mut().poll_read(cx, &mut ReadBuf::new(&mut sink))));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
