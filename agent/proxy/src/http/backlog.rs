//! Frames that were handed on and are yet to be looked at.
//!
//! The promise is that no frame waits for the meter. A body hands each frame on at once and keeps a reference here. When it has
//! nothing more to hand on, it first lets the connection flush (wake, return `Pending`), and looks on the next poll.

use std::collections::VecDeque;
use std::task::Context;

use bytes::Bytes;

/// References kept at most, in bytes and frames. A reference can pin the whole read buffer that it is part of.
const BYTES: usize = 128 * 1024;
const FRAMES: usize = 32;

#[derive(Default)]
pub(crate) struct Backlog {
    frames: VecDeque<Bytes>,
    bytes: usize,
    flushing: bool,
}

impl Backlog {
    /// Remembers a frame that is being handed on. Past the bound, those handed on before it are looked at now.
    pub(crate) fn passed(&mut self, frame: &Bytes, look: impl FnMut(&[u8])) {
        if self.bytes + frame.len() > BYTES || self.frames.len() >= FRAMES {
            self.drain(look);
        }
        self.bytes += frame.len();
        self.frames.push_back(frame.clone());
    }

    /// The body has nothing to hand on. Asks to be polled again once what was handed on is flushed.
    pub(crate) fn idle(&mut self, context: &Context<'_>) {
        if !self.frames.is_empty() && !self.flushing {
            self.flushing = true;
            context.waker().wake_by_ref();
        }
    }

    /// To be called first in every poll: looks, if the frames have been flushed since they were handed on.
    pub(crate) fn resume(&mut self, look: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.flushing) {
            self.drain(look);
        }
    }

    /// Looks at all there is.
    pub(crate) fn drain(&mut self, mut look: impl FnMut(&[u8])) {
        for frame in self.frames.drain(..) {
            look(&frame);
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_frame_is_looked_at_only_after_a_pending_poll_was_followed_by_another() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let context = Context::from_waker(&waker);
        let mut seen = Vec::new();
        let mut backlog = Backlog::default();
        backlog.passed(&Bytes::from_static(b"one"), |_| panic!("not yet"));
        backlog.resume(|_| panic!("it was not flushed yet"));
        backlog.idle(&context);
        backlog.idle(&context);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "asked for one poll");
        backlog.resume(|bytes| seen.extend_from_slice(bytes));
        assert_eq!(seen, b"one");
        backlog.idle(&context);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "nothing is left to look at");
    }

    #[test]
    fn it_is_bounded_and_never_looks_at_the_frame_being_handed_on() {
        let mut backlog = Backlog::default();
        let (mut handed_on, mut looked_at) = (0, 0);
        for index in 0..10_000_usize {
            let frame = Bytes::from(vec![0; index % 5_000]);
            backlog.passed(&frame, |bytes| looked_at += bytes.len());
            assert!(looked_at <= handed_on, "only earlier frames");
            handed_on += frame.len();
            assert!(backlog.bytes <= BYTES + 5_000 && backlog.frames.len() <= FRAMES);
        }
        backlog.drain(|bytes| looked_at += bytes.len());
        assert_eq!(looked_at, handed_on);
    }
}
