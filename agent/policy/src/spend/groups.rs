//! The cells of one budget or limit, by group.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::cell::Cell;
use super::meter::Meter;
use crate::group::OTHERS;
use crate::sync::Arc;

/// So many groups a budget or limit has at most. Whoever comes then is of one that they share.
///
/// Names of end users are what a request says, so without a bound a caller could fill the memory; and with others pushed out
/// instead, it could make its own spending be forgotten.
pub(crate) const MOST: usize = 100_000;

/// So that two groups rarely wait for each other.
const SHARDS: usize = 16;

/// So many come before it is looked for the first time which of them nobody needs.
const FIRST_SWEEP: usize = 4096;

type Shard = HashMap<Arc<str>, Arc<Cell>>;

/// Cells by group.
#[derive(Debug)]
pub(crate) struct Groups {
    // Values may be made up by whoever wants many in one place: the standard library's hash has a secret.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    length: AtomicUsize,
    /// How many may come until idle ones are swept.
    patience: AtomicUsize,
    most: usize,
}

impl Default for Groups {
    fn default() -> Self {
        Self::with_most(MOST)
    }
}

impl Groups {
    pub(crate) fn with_most(most: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            length: AtomicUsize::new(0),
            patience: AtomicUsize::new(FIRST_SWEEP.min(most)),
            most,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    fn shard(&self, group: &str) -> &Mutex<Shard> {
        let hash = usize::try_from(self.hasher.hash_one(group) >> 48).unwrap_or(0);
        &self.shards[hash % SHARDS]
    }

    /// The cell of a group, or of those that share one, and what that is called.
    pub(crate) fn cell(&self, group: &str, new: impl Fn() -> Meter, now: u64) -> (Arc<str>, Arc<Cell>) {
        if let Some((name, cell)) = self.shard(group).lock().get_key_value(group) {
            return (Arc::clone(name), Arc::clone(cell));
        }
        if group == OTHERS {
            return self.insert(group, &new);
        }
        let patience = self.patience.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        // One of those that come at the same time does it.
        if patience == Ok(1) {
            self.sweep(now);
        }
        let room = self
            .length
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |length| (length < self.most).then_some(length + 1));
        if room.is_err() {
            return self.cell(OTHERS, new, now);
        }
        self.insert(group, &new)
    }

    fn insert(&self, group: &str, new: &impl Fn() -> Meter) -> (Arc<str>, Arc<Cell>) {
        let mut shard = self.shard(group).lock();
        if let Some((name, cell)) = shard.get_key_value(group) {
            // Somebody else was faster, and has been counted.
            if group != OTHERS {
                self.length.fetch_sub(1, Ordering::Relaxed);
            }
            return (Arc::clone(name), Arc::clone(cell));
        }
        let name: Arc<str> = group.into();
        let cell = Arc::new(Cell::new(new()));
        shard.insert(Arc::clone(&name), Arc::clone(&cell));
        (name, cell)
    }

    /// Drops cells that are as if they were new and that nobody holds. Each that came pays for looking at one or two.
    fn sweep(&self, now: u64) {
        for shard in &self.shards {
            shard.lock().retain(|name, cell| {
                let keep = &**name == OTHERS || Arc::strong_count(cell) > 1 || !cell.is_idle(now);
                if !keep {
                    self.length.fetch_sub(1, Ordering::Relaxed);
                }
                keep
            });
        }
        self.patience.store(self.len().max(FIRST_SWEEP.min(self.most)), Ordering::Relaxed);
    }

    /// Looks at all of them, a part at a time.
    pub(crate) fn each(&self, mut look: impl FnMut(&Arc<str>, &Cell)) {
        for shard in &self.shards {
            for (name, cell) in &*shard.lock() {
                look(name, cell);
            }
        }
    }
}
