//! A stream that has switched to another protocol (extended CONNECT, RFC 8441), as a connection of its own.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of a stream.
pub(crate) struct Switched {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What was received and not yet read.
    unread: Bytes,
}

impl Switched {
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { send, receive, unread: Bytes::new() }
    }

    /// Why nothing can be sent: what the peer said, if it did.
    fn closed(&mut self, context: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(context) {
            Poll::Ready(Ok(reason)) if ![Reason::NO_ERROR, Reason::CANCEL, Reason::STREAM_CLOSED].contains(&reason) => {
                io_error(reason.into())
            }
            Poll::Ready(Err(error)) => io_error(error),
            // We have ended it.
            Poll::Ready(Ok(_)) | Poll::Pending => ErrorKind::BrokenPipe.into(),
        }
    }
}

impl Drop for Switched {
    /// Ended like this, what was sent still leaves; a stream that is let go of amid it is reset at once.
    fn drop(&mut self) {
        drop(self.send.send_data(Bytes::new(), true));
    }
}

/// The kernel's error, where it is one.
fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() { error.into_io().unwrap_or_else(|| ErrorKind::Other.into()) } else { io::Error::other(error) }
}

impl AsyncRead for Switched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receive.poll_data(context)) {
                Some(Ok(data)) => self.unread = data,
                Some(Err(error)) => {
                    return Poll::Ready(match error.reason() {
                        Some(Reason::NO_ERROR | Reason::CANCEL) => Ok(()),
                        Some(Reason::STREAM_CLOSED) => Err(ErrorKind::BrokenPipe.into()),
                        _ => Err(io_error(error)),
                    });
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(self.receive.flow_control().release_capacity(count).map_err(io_error))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(buf.len());
        let room = loop {
            match ready!(self.send.poll_capacity(context)) {
                Some(Ok(0)) => {}
                Some(Ok(room)) => break room.min(buf.len()),
                Some(Err(_)) | None => return Poll::Ready(Err(self.closed(context))),
            }
        };
        match self.send.send_data(Bytes::copy_from_slice(&buf[..room]), false) {
            Ok(()) => Poll::Ready(Ok(room)),
            Err(_) => Poll::Ready(Err(self.closed(context))),
        }
    }

    /// The connection is flushed by the one that drives it.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.send.send_data(Bytes::new(), true) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(self.closed(context))),
        }
    }
}
