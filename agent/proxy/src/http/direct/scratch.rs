//! One buffer a thread, to read into: what is read is handed on at once, so connections need none of their own.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

/// Several TLS records of the largest size (RFC 8446 § 5.1).
const SIZE: usize = 64 * 1024;

/// There is always room for the whole of one.
const RECORD: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// How a reader stands after all that was there has been read.
pub(super) enum Then {
    /// There is nothing more for now, and the reader will be woken.
    Pending,
    /// There may be more.
    More,
    End,
    Broken(io::Error),
}

/// Reads what is there, as far as there is room, and has it used. `read` must not use this buffer itself.
pub(super) fn gather<T>(
    context: &mut Context<'_>,
    mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    with: impl FnOnce(&mut Context<'_>, &[u8], Then) -> T,
) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let then = loop {
            let before = buffer.filled().len();
            match read(context, &mut buffer) {
                Poll::Pending => break Then::Pending,
                Poll::Ready(Err(error)) => break Then::Broken(error),
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break Then::End,
                Poll::Ready(Ok(())) if buffer.remaining() < RECORD => break Then::More,
                Poll::Ready(Ok(())) => {}
            }
        };
        with(context, buffer.filled(), then)
    })
}
