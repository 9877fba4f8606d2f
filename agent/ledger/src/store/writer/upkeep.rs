//! What is done now and then: being seen, settling the dead, counting the old together.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::super::book::Book;
use super::super::error::StoreError;
use super::super::ledger::Shared;
use super::super::recover::recover;
use super::super::retention::{forget, roll, shrink, tidy};
use super::super::row::micros_of;

/// How often the dead are looked for.
const DEAD: Duration = Duration::from_secs(10);
/// How often it is written that we live.
const SEEN: Duration = Duration::from_mins(1);
/// How often old rows are looked for.
const OLD: Duration = Duration::from_mins(10);
/// How often texts and callers are tidied up at most: that reads the whole file, and others cannot write meanwhile.
const TIDY: Duration = Duration::from_hours(24);

pub(super) struct Upkeep {
    retention: Option<Duration>,
    dead: Option<Instant>,
    seen: Option<Instant>,
    old: Option<Instant>,
    /// More old rows are waiting, or free pages.
    behind: bool,
    /// Old rows were removed since it was last tidied up.
    rolled: bool,
    tidied: Option<Instant>,
    /// When sums of old windows were last looked for.
    forgotten: Option<Instant>,
}

impl Upkeep {
    pub(super) fn new(retention: Option<Duration>) -> Self {
        Self {
            retention,
            dead: None,
            seen: Some(Instant::now()),
            old: None,
            behind: false,
            rolled: false,
            tidied: None,
            forgotten: None,
        }
    }

    /// Whether there is more to do at once.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn run(&mut self, book: &mut Book, shared: &Shared) -> Result<(), StoreError> {
        if is_due(&mut self.dead, DEAD) {
            let rows = recover(book, &shared.journal)?;
            if rows > 0 {
                shared.recovered.fetch_add(rows, Ordering::Relaxed);
                tracing::info!(rows, "an agent had been killed; what it had not written is in the ledger now");
            }
            shared.has_recovered();
        }
        if is_due(&mut self.seen, SEEN) {
            book.seen(shared.journal.instance())?;
        }
        if self.behind || is_due(&mut self.old, OLD) {
            self.step(book)?;
        }
        Ok(())
    }

    /// Counts some old rows together.
    fn step(&mut self, book: &mut Book) -> Result<(), StoreError> {
        let Some(limit) = self.retention.and_then(|retention| SystemTime::now().checked_sub(retention)) else {
            return Ok(());
        };
        let (limit, now) = (micros_of(limit), micros_of(SystemTime::now()));
        let rolled = book.write(|_, connection| roll(connection, limit))?;
        if rolled == 0 && is_due(&mut self.forgotten, OLD) {
            book.write(|_, connection| forget(connection, limit, now))?;
        }
        self.rolled |= rolled > 0;
        if self.rolled && rolled == 0 && is_due(&mut self.tidied, TIDY) {
            self.rolled = false;
            book.write(|_, connection| tidy(connection))?;
        }
        self.behind = shrink(book.connection())? || rolled > 0;
        Ok(())
    }
}

/// Whether it is time again; the first time it always is.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}
