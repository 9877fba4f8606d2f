//! One direction of a tunnel.
//!
//! What comes in small pieces is copied by way of one buffer a thread: a read and a write. What comes in bulk is moved by the
//! kernel through a pipe and copied by nobody. Neither is held while nothing flows, so that an idle tunnel costs its sockets.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::pipe::Pipe;

/// Copied at once. A read that fills it tells of more: of a bulk transfer. Two TLS records of the largest size (RFC 8446 § 5.1).
const BUFFER: usize = 32 * 1024;

/// Moved before others have their turn: some tenths of a millisecond's work.
const TURN: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Bytes on their way from one side to the other.
pub(super) struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    count: &'a mut Count,
}

/// What went through one direction, in bytes. They differ where the tunnel broke.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// How it goes on after some bytes.
enum Next {
    /// The stream has ended.
    End,
    /// What comes is little: it is copied.
    Copy,
    /// Much is coming: it is moved.
    Move,
}

impl<'a> Pump<'a> {
    pub(super) fn new(from: ReadHalf<'a>, to: WriteHalf<'a>, count: &'a mut Count) -> Self {
        Self { from, to, count }
    }

    /// Carries until `from` ends, and passes the end on.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut next = Next::Copy;
        loop {
            next = match next {
                Next::End => return self.to.shutdown().await,
                Next::Copy => self.copy().await?,
                Next::Move => match Pipe::take() {
                    Ok(pipe) => self.splice(pipe).await?,
                    Err(_no_more_descriptors) => self.copy().await?,
                },
            };
        }
    }

    /// Sends bytes that were read before.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let written = self.to.write(left).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.count.written += written as u64;
            left = &left[written..];
        }
        Ok(())
    }

    /// Waits for bytes, and copies them.
    async fn copy(&mut self) -> io::Result<Next> {
        let (read, rest) = poll_fn(|cx| self.poll_copy(cx)).await?;
        self.send(&rest).await?;
        Ok(match read {
            0 => Next::End,
            BUFFER => Next::Move,
            _ => Next::Copy,
        })
    }

    /// Reads once and writes once. Gives how much was read, and what of it could not be written yet.
    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, Vec<u8>)>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            self.count.read += bytes.len() as u64;
            let written = match self.to.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                written => written?,
            };
            self.count.written += written as u64;
            Poll::Ready(Ok((bytes.len(), bytes[written..].to_vec())))
        })
    }

    /// Moves all that is there.
    async fn splice(&mut self, pipe: Pipe) -> io::Result<Next> {
        let (mut moved, mut turn) = (0, 0);
        loop {
            match pipe.fill(AsRef::<TcpStream>::as_ref(&self.from)) {
                // The end, or a byte of urgent data, before which splice(2) stops for ever: reading tells.
                Ok(0) => {
                    pipe.give_back();
                    return Ok(Next::Copy);
                }
                Ok(filled) => {
                    self.count.read += filled as u64;
                    self.empty(&pipe, filled).await?;
                    moved += filled;
                    turn += filled;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        pipe.give_back();
        if moved < BUFFER {
            // Also where nothing was moved though there was something to read.
            return Ok(Next::Copy);
        }
        self.from.peek(&mut [0]).await?;
        Ok(Next::Move)
    }

    /// Sends all that the pipe holds.
    async fn empty(&mut self, pipe: &Pipe, mut left: usize) -> io::Result<()> {
        let to: &TcpStream = self.to.as_ref();
        while left > 0 {
            match to.try_io(Interest::WRITABLE, || pipe.empty(to, left)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    let written = written?;
                    self.count.written += written as u64;
                    left -= written;
                }
            }
        }
        Ok(())
    }
}
