//! Gathers what an HTTP/2 connection writes while it is driven, so that it leaves in few TLS records and few sends.
//!
//! h2 flushes after each frame with more than some hundred bytes in it. On a connection that many share, each request would be a
//! record or two of its own and as many system calls, though a dozen wait to be sent. So a flush does nothing here, and whoever
//! drives the connection sends what was gathered each time the connection has nothing more to do.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered: what fits a TLS record (RFC 8446 § 5.1).
const MOST: usize = 16 * 1024;

/// How many pieces are written at once, what was gathered among them.
const PIECES: usize = 8;

/// The connection, for the one who speaks HTTP/2 over it.
pub(crate) struct Gathered<IO> {
    shared: Arc<Mutex<Shared<IO>>>,
    is_vectored: bool,
}

/// Sends what was gathered.
pub(crate) struct Outbox<IO> {
    shared: Arc<Mutex<Shared<IO>>>,
}

struct Shared<IO> {
    io: IO,
    gathered: BytesMut,
    /// How much there was to send the last time. As much is made room for at once, and not piece by piece.
    last: usize,
    /// Something was written since the connection was flushed.
    is_unflushed: bool,
    /// Why sending failed. The next write fails for it.
    failed: Option<io::Error>,
}

/// Makes `io` one that gathers.
pub(crate) fn gather<IO: AsyncWrite>(io: IO) -> (Gathered<IO>, Outbox<IO>) {
    let is_vectored = io.is_write_vectored();
    let shared = Shared { io, gathered: BytesMut::new(), last: 0, is_unflushed: false, failed: None };
    let shared = Arc::new(Mutex::new(shared));
    (Gathered { shared: Arc::clone(&shared), is_vectored }, Outbox { shared })
}

impl<IO: AsyncWrite + Unpin> Outbox<IO> {
    /// Sends what was gathered. What cannot be sent yet is sent by a later call, for which `context` is woken. An error is
    /// told to the one who speaks HTTP/2, and `context` is woken for that, too.
    pub(crate) fn send(&self, context: &mut Context<'_>) {
        let mut shared = self.shared.lock();
        if !shared.is_unflushed {
            return;
        }
        if let Poll::Ready(Err(error)) = shared.poll_flush(context) {
            shared.is_unflushed = false;
            shared.gathered = BytesMut::new();
            shared.failed = Some(error);
            context.waker().wake_by_ref();
        }
    }
}

impl<IO: AsyncWrite + Unpin> Shared<IO> {
    fn poll_write(&mut self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.is_unflushed |= length > 0;
        while self.gathered.len() + length > MOST {
            let written = ready!(self.poll_write_through(context, pieces))?;
            let gathered = written.min(self.gathered.len());
            self.gathered.advance(gathered);
            if written > gathered {
                return Poll::Ready(Ok(written - gathered));
            }
        }
        if self.gathered.is_empty() {
            self.gathered.reserve(self.last.max(length));
        }
        for piece in pieces {
            self.gathered.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes what was gathered, and `pieces`, as far as they go.
    fn poll_write_through(&mut self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut all = [IoSlice::new(&[]); PIECES];
        all[0] = IoSlice::new(&self.gathered);
        let count = pieces.len().min(PIECES - 1);
        all[1..=count].copy_from_slice(&pieces[..count]);
        let first = usize::from(self.gathered.is_empty());
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(context, &all[first..=count]))?;
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            self.last = self.gathered.len();
        }
        while !self.gathered.is_empty() {
            let written = ready!(self.poll_write_through(context, &[]))?;
            self.gathered.advance(written);
        }
        // An unused connection holds nothing.
        self.gathered = BytesMut::new();
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gathered<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.lock().io).poll_read(context, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gathered<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.lock().poll_write(context, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(PIECES - 1)];
        self.shared.lock().poll_write(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    /// [`Outbox::send`] does it.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.lock().failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        ready!(shared.poll_flush(context))?;
        Pin::new(&mut shared.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// A wire that takes as many bytes at each write as it was told, and then all.
    #[derive(Default)]
    struct Slow {
        /// `Some(0)` makes a write wait, `None` makes it fail.
        takes: VecDeque<Option<usize>>,
        wrote: Vec<u8>,
        writes: usize,
        flushed: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let takes = match self.takes.pop_front() {
                None => buf.len(),
                Some(Some(0)) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Some(takes)) => takes.min(buf.len()),
                Some(None) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
            self.wrote.extend_from_slice(&buf[..takes]);
            self.writes += 1;
            Poll::Ready(Ok(takes))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            self.poll_write(context, &all)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed = self.wrote.len();
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    fn slow(takes: impl IntoIterator<Item = Option<usize>>) -> (Gathered<Slow>, Outbox<Slow>) {
        gather(Slow { takes: takes.into_iter().collect(), ..Slow::default() })
    }

    fn write(to: &mut Gathered<Slow>, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        Pin::new(to).poll_write_vectored(&mut Context::from_waker(Waker::noop()), &pieces)
    }

    fn flush(to: &mut Gathered<Slow>) -> Poll<io::Result<()>> {
        Pin::new(to).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    fn send(outbox: &Outbox<Slow>) {
        outbox.send(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_dozen_requests_leave_in_one_write() {
        let (mut io, outbox) = slow([]);
        for _ in 0..12 {
            assert!(matches!(write(&mut io, &[b"a head", &[1; 1000]]), Poll::Ready(Ok(1006))));
            assert!(matches!(flush(&mut io), Poll::Ready(Ok(()))));
        }
        assert_eq!(outbox.shared.lock().io.writes, 0, "not before they are sent");
        send(&outbox);
        let shared = outbox.shared.lock();
        assert_eq!((shared.io.writes, shared.io.flushed), (1, 12 * 1006));
        assert_eq!(shared.gathered.capacity(), 0, "nothing is held until the next");
    }

    #[test]
    fn what_is_large_is_not_gathered_but_takes_along_what_was() {
        let (mut io, outbox) = slow([]);
        assert!(matches!(write(&mut io, &[b"a head"]), Poll::Ready(Ok(6))));
        assert!(matches!(write(&mut io, &[&[1; MOST]]), Poll::Ready(Ok(MOST))));
        let shared = outbox.shared.lock();
        assert_eq!((shared.io.writes, shared.io.wrote.len()), (1, 6 + MOST));
    }

    #[test]
    fn what_the_wire_does_not_take_yet_is_sent_later_and_bounds_what_is_written() {
        let (mut io, outbox) = slow([Some(0), Some(0), Some(1)]);
        assert!(matches!(write(&mut io, &[&[1; MOST]]), Poll::Ready(Ok(MOST))));
        assert!(write(&mut io, &[b"more"]).is_pending(), "no room");
        send(&outbox);
        assert_eq!(outbox.shared.lock().io.wrote.len(), 0, "it waits");
        send(&outbox);
        assert_eq!(outbox.shared.lock().io.flushed, MOST);
        assert!(matches!(write(&mut io, &[b"more"]), Poll::Ready(Ok(4))));
    }

    #[test]
    fn that_sending_failed_is_told_with_the_next_write() {
        let (mut io, outbox) = slow([None]);
        assert!(matches!(write(&mut io, &[b"lost"]), Poll::Ready(Ok(4))));
        send(&outbox);
        assert!(matches!(write(&mut io, &[b"more"]), Poll::Ready(Err(_))));
    }

    #[test]
    fn a_shutdown_sends_what_was_gathered() {
        let (mut io, outbox) = slow([Some(2)]);
        assert!(matches!(write(&mut io, &[b"farewell"]), Poll::Ready(Ok(8))));
        let polled = Pin::new(&mut io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        assert_eq!(outbox.shared.lock().io.wrote, b"farewell");
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_however_the_wire_takes_them(
            lengths in prop::collection::vec(prop::collection::vec(0_usize..20_000, 1..10), 0..12),
            takes in prop::collection::vec((0_usize..30_000).prop_map(Some), 0..40),
            sends in any::<u64>(),
        ) {
            let (mut io, outbox) = slow(takes);
            let mut wanted: Vec<u8> = Vec::new();
            let mut number = 0_u8;
            for (index, lengths) in lengths.into_iter().enumerate() {
                let mut pieces: VecDeque<Vec<u8>> = lengths
                    .into_iter()
                    .map(|length| {
                        number = number.wrapping_add(1);
                        vec![number; length]
                    })
                    .collect();
                wanted.extend(pieces.iter().flatten());
                while pieces.iter().any(|piece| !piece.is_empty()) {
                    let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                    let Poll::Ready(written) = write(&mut io, &slices) else { continue };
                    let mut written = written.expect("it never fails");
                    while let Some(mut piece) = pieces.pop_front() {
                        let of_this = written.min(piece.len());
                        written -= of_this;
                        if of_this < piece.len() {
                            pieces.push_front(piece.split_off(of_this));
                            break;
                        }
                    }
                    prop_assert_eq!(written, 0, "no more was written than there was");
                }
                if sends & (1 << index) != 0 {
                    send(&outbox);
                }
            }
            while outbox.shared.lock().is_unflushed {
                send(&outbox);
            }
            prop_assert_eq!(&outbox.shared.lock().io.wrote, &wanted);
        }
    }
}
