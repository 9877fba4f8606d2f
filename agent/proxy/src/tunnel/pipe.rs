//! Pipes through which the kernel moves bytes from one socket to another without a copy (splice(2)).

use std::cell::RefCell;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};

/// How much one pipe may hold. The kernel's 64 KiB are 16 places, and a place may hold a single packet's bytes.
const CAPACITY: u32 = 256 * 1024;

/// How many empty pipes each thread keeps: making one takes four system calls.
const KEPT: usize = 8;

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe that is empty when taken, and must be when it is given back.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Pipe {
    /// An empty pipe. Fails where file descriptors have run out.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(pipe) = EMPTY.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (reader, writer) = io::pipe()?;
        // Refused where a user's pipes hold too much already (pipe-user-pages-soft in pipe(7)); a small one works as well.
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY.cast_signed())).ok();
        Ok(Self { reader, writer })
    }

    /// Gives back a pipe that is empty again. One that is not is to be dropped.
    pub(super) fn give_back(self) {
        EMPTY.with_borrow_mut(|empty| {
            if empty.len() < KEPT {
                empty.push(self);
            }
        });
    }

    /// Moves what is there to read into the pipe, which must be empty: full, it would look like a socket with nothing to read.
    pub(super) fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        move_bytes(from, &self.writer, CAPACITY as usize)
    }

    /// Moves up to `length` bytes out of the pipe.
    pub(super) fn empty(&self, to: impl AsFd, length: usize) -> io::Result<usize> {
        move_bytes(&self.reader, to, length)
    }
}

/// Never blocks: on the sockets because they do not, on the pipe because of the flag.
fn move_bytes(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, length, SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE) {
            Err(Errno::EINTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}
