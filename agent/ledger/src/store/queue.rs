use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Rows that wait for the writer at most. While it is well, there are few.
pub(super) const ROWS: usize = 32_768;
/// Bytes of them at most.
const BYTES: usize = 16 << 20;
/// Bytes that are kept at hand for rows to come while there are none.
const KEPT: usize = 64 * 1024;

/// Frames on their way to the writer, who takes all of them at once. The lock is held for as long as copying one frame, or
/// swapping two buffers, takes; and the writer wakes by its own clock, unless it had nothing to do or the queue grows long.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<u8>,
    rows: usize,
    /// Rows ever queued.
    total: u64,
    /// Whether the writer waits for the next row.
    is_idle: bool,
    is_stopping: bool,
}

impl Waiting {
    fn is_long(&self) -> bool {
        self.rows >= ROWS / 2 || self.frames.len() >= BYTES / 2
    }
}

impl Queue {
    /// Adds a frame, if there is room.
    pub(super) fn push(&self, frame: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.rows >= ROWS || waiting.frames.len() + frame.len() > BYTES {
            return false;
        }
        let was_long = waiting.is_long();
        waiting.frames.extend_from_slice(frame);
        waiting.rows += 1;
        waiting.total += 1;
        let is_due = std::mem::take(&mut waiting.is_idle) || (!was_long && waiting.is_long());
        drop(waiting);
        if is_due {
            self.wake.notify_one();
        }
        true
    }

    /// Takes all frames, into what must be empty. Gives how many rows were ever queued.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> u64 {
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut waiting.frames, into);
        waiting.rows = 0;
        waiting.total
    }

    /// Rows that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().rows
    }

    /// Rows ever queued.
    pub(super) fn total(&self) -> u64 {
        self.waiting.lock().total
    }

    /// Waits for rows, and then some time for more to go with them.
    pub(super) fn gather(&self, patience: Duration, more: Duration) {
        let mut waiting = self.waiting.lock();
        if waiting.rows == 0 {
            waiting.is_idle = true;
            let until = Instant::now() + patience;
            self.wait(&mut waiting, until, |waiting| !waiting.is_idle);
            waiting.is_idle = false;
        }
        if waiting.rows > 0 {
            let until = Instant::now() + more;
            self.wait(&mut waiting, until, Waiting::is_long);
        }
    }

    /// Waits until then, whatever is queued.
    pub(super) fn pause(&self, until: Instant) {
        self.wait(&mut self.waiting.lock(), until, |_| false);
    }

    fn wait(&self, waiting: &mut MutexGuard<'_, Waiting>, until: Instant, is_due: impl Fn(&Waiting) -> bool) {
        while !waiting.is_stopping && !is_due(waiting) && !self.wake.wait_until(waiting, until).timed_out() {}
    }

    /// Gives memory back that a burst took.
    pub(super) fn shrink(&self) {
        let mut spare = Vec::new();
        let mut waiting = self.waiting.lock();
        if waiting.rows == 0 && waiting.frames.capacity() > KEPT {
            std::mem::swap(&mut waiting.frames, &mut spare);
        }
    }

    /// Has the writer come to an end.
    pub(super) fn stop(&self) {
        self.waiting.lock().is_stopping = true;
        self.wake.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.waiting.lock().is_stopping
    }
}
