//! The one thread that writes: it gathers rows for a tenth of a second, commits them together, and does what else is due.
//!
//! While the file cannot be written, it holds one batch and leaves the rest in the queue, which is bounded; the journal has
//! what does not fit there. Then it reads that back.

mod batch;
mod upkeep;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::book::{Book, identity, move_aside};
use super::error::StoreError;
use super::frame::Frame;
use super::journal::{Segment, read};
use super::ledger::Shared;
use super::open::FILE;
use crate::record::Id;

use self::batch::{Batch, parts};
use self::upkeep::Upkeep;

/// How long rows are gathered before they are committed.
const GATHER: Duration = Duration::from_millis(100);
/// After how many rows of a batch other threads go first. A batch of a busy agent takes milliseconds of a processor, which a kernel
/// gives in one piece (its time slice), and requests on that processor would wait for so long.
const GIVE_WAY: usize = 16;
/// Rows, taken and queued, from which on the writer gives way no more: on processors that are all busy it would fall behind.
const MANY: usize = 4096;
/// How long an exchange is open before that is written: most end sooner than it is worth writing.
const SETTLED_SOON: Duration = Duration::from_secs(1);
/// How long an idle writer sleeps.
const IDLE: Duration = Duration::from_secs(1);
/// After a failure, how soon the next attempt comes: doubling, between these.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

pub(super) struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    book: Option<Book>,
    /// Which file there was when it was last tried to be opened.
    identity: Option<(u64, u64)>,
    upkeep: Upkeep,
    /// Exchanges that have not ended.
    open: HashMap<Id, Open>,
    /// The same in the order in which they began, but for those that are written.
    unwritten: VecDeque<(Instant, Id)>,
    /// What is taken and not committed.
    batch: Batch,
    /// Rows taken off the queue.
    taken: u64,
    /// Journal files that were followed by others, each with how many rows had been queued then.
    retiring: VecDeque<(Segment, u64)>,
    retry: Option<(Instant, Duration)>,
}

struct Open {
    frame: Box<[u8]>,
    written: bool,
}

impl Open {
    fn frame(&self) -> Option<Frame<'_>> {
        Frame::next(&mut &self.frame[..])
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, directory: PathBuf, retention: Option<Duration>) -> Self {
        Self {
            shared,
            directory,
            book: None,
            identity: None,
            upkeep: Upkeep::new(retention),
            open: HashMap::new(),
            unwritten: VecDeque::new(),
            batch: Batch::default(),
            taken: 0,
            retiring: VecDeque::new(),
            retry: None,
        }
    }

    /// Until told to stop, and everything that was queued by then is committed or known not to be.
    pub(super) fn run(mut self) {
        loop {
            let stopping = self.shared.queue.is_stopping();
            self.take();
            self.attempt(stopping);
            // After a damaged file was moved aside, the next attempt is due at once.
            if stopping && self.retry.is_some_and(|(at, _)| at > Instant::now()) {
                tracing::warn!(
                    "the ledger could not be written to the end; the journal keeps the rest for the next start"
                );
                break;
            }
            // What came after the word to stop is taken as well.
            if stopping && self.batch.is_empty() && self.shared.queue.len() == 0 {
                break;
            }
            self.wait();
        }
        self.end();
    }

    /// Until there are rows, or something else is due.
    fn wait(&mut self) {
        let queue = &self.shared.queue;
        if let Some((at, _)) = self.retry {
            queue.pause(at);
            return;
        }
        let patience = if self.upkeep.is_behind() { GATHER / 2 } else { self.until_due() };
        queue.gather(patience, GATHER);
        if queue.len() == 0 {
            queue.shrink();
            self.batch.shrink();
        }
    }

    fn until_due(&self) -> Duration {
        let due =
            self.unwritten.front().map(|(since, _)| (*since + SETTLED_SOON).saturating_duration_since(Instant::now()));
        due.unwrap_or(IDLE).clamp(GATHER, IDLE)
    }

    /// Takes what is queued, unless there is something that could not be committed yet.
    fn take(&mut self) {
        if !self.batch.is_empty() {
            return;
        }
        self.taken = self.shared.queue.take(self.batch.frames_mut());
        self.keep(self.batch.frames());
        let now = Instant::now();
        self.batch.sort_out(|id, frame| {
            self.unwritten.push_back((now, id));
            self.open.insert(id, Open { frame: frame.into(), written: false });
        });
        if !self.batch.is_empty() {
            self.shared.waits_since(now);
        }
    }

    /// Beside a disk it is this thread that writes the journal, so that no request waits.
    fn keep(&self, frames: &[u8]) {
        if !self.shared.journal.is_in_memory() {
            parts(frames).for_each(|frames| {
                self.shared.journal.copy(frames);
            });
        }
    }

    /// Commits what there is, and does what is due. A failure is told, and tried again later.
    fn attempt(&mut self, stopping: bool) {
        if self.retry.is_some_and(|(at, _)| Instant::now() < at) && !stopping {
            return;
        }
        match self.work() {
            Ok(()) => {
                if self.retry.take().is_some() {
                    tracing::info!("the ledger is written again");
                }
                self.shared.succeeded();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
        if self.book.as_ref().is_some_and(Book::is_replaced) {
            tracing::warn!(directory = %self.directory.display(), "the ledger's file was removed or replaced; it is opened anew");
            self.reopen_later();
        }
        if self.book.is_none() {
            self.identity = identity(&self.directory.join(FILE));
            self.book = Some(Book::open(&self.directory, self.shared.journal.instance())?);
        }
        self.commit()?;
        self.settle_overflowed();
        self.retire()?;
        let book = self.book.as_mut().expect("it was opened above");
        self.upkeep.run(book, &self.shared)
    }

    /// Whatever the file had of exchanges in flight is not in the next one.
    fn reopen_later(&mut self) {
        self.book = None;
        self.unwritten.clear();
        for (id, open) in &mut self.open {
            open.written = false;
            self.unwritten.push_back((Instant::now(), *id));
        }
    }

    fn failed(&mut self, error: &StoreError) {
        let wait = self.retry.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
        if self.retry.is_none() {
            tracing::error!(%error, directory = %self.directory.display(), "the ledger cannot be written; calls go on and are kept for later");
        }
        self.retry = Some((Instant::now() + wait, wait));
        if error.is_damage() {
            let damaged = self.book.as_ref().map_or(self.identity, Book::identity);
            self.reopen_later();
            match move_aside(&self.directory, damaged) {
                Ok(Some(aside)) => {
                    tracing::error!(aside = %aside.display(), "the ledger was damaged; a new one is begun, and the old one kept");
                    // At once.
                    self.retry = Some((Instant::now(), RETRY.0));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the damaged ledger cannot be moved aside"),
            }
        } else {
            // A file system that comes back may come back as another.
            self.book = None;
        }
        self.shared.failed(error);
    }

    /// One transaction: what has ended, and what has been open for a while.
    fn commit(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let due: Vec<Id> = self
            .unwritten
            .iter()
            .take_while(|(since, _)| now.duration_since(*since) >= SETTLED_SOON)
            .map(|(_, id)| *id)
            .collect();
        let Self { shared, batch, open, book, .. } = self;
        let (queue, taken) = (&shared.queue, batch.ids().count());
        let opened: Vec<Frame<'_>> = due
            .iter()
            .filter(|id| !batch.has_ended(id))
            .filter_map(|id| open.get(id))
            .filter(|open| !open.written)
            .filter_map(Open::frame)
            .collect();
        if !batch.is_empty() || !opened.is_empty() {
            let book = book.as_mut().expect("open");
            let instance = book.instance();
            let written = book.write(|names, connection| {
                let mut rows = names.rows(connection)?;
                for (at, frame) in batch.ended().enumerate() {
                    if at % GIVE_WAY == GIVE_WAY - 1 && taken + queue.len() < MANY {
                        std::thread::yield_now();
                    }
                    rows.insert(&frame)?;
                    if open.get(&frame.id).is_some_and(|open| open.written) {
                        rows.close(&frame.id)?;
                    }
                }
                opened.iter().try_for_each(|frame| rows.open(instance, frame))
            });
            match written {
                Err(error) if is_of_a_row(&error) => self.commit_singly()?,
                written => written?,
            }
        }
        self.unwritten.drain(..due.len());
        for id in due {
            if let Some(open) = self.open.get_mut(&id) {
                open.written = true;
            }
        }
        if !self.open.is_empty() {
            for id in self.batch.ids() {
                self.open.remove(id);
            }
        }
        self.shared.written.fetch_add(self.batch.ids().count() as u64, Ordering::Relaxed);
        self.batch.clear();
        Ok(())
    }

    /// A row that cannot be written, which would be a defect, must not take others with it.
    fn commit_singly(&mut self) -> Result<(), StoreError> {
        let book = self.book.as_mut().expect("open");
        for frame in self.batch.ended() {
            let written = book.write(|names, connection| {
                let mut rows = names.rows(connection)?;
                rows.insert(&frame)?;
                rows.close(&frame.id)
            });
            match written {
                Err(error) if is_of_a_row(&error) => {
                    tracing::error!(%error, id = %frame.id, "an exchange cannot be written; please report this defect");
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                }
                written => written?,
            }
        }
        Ok(())
    }

    /// Exchanges whose end neither queue nor journal had room for: that they were is still known.
    fn settle_overflowed(&mut self) {
        for id in std::mem::take(&mut *self.shared.overflowed.lock()) {
            if let Some(row) = self.open.get(&id).and_then(|open| open.frame()?.row()) {
                self.batch.add(&row.lost(SystemTime::now()));
            }
        }
    }

    /// Turns to another journal file where it is time, and removes those of which everything is in the ledger.
    fn retire(&mut self) -> Result<(), StoreError> {
        let journal = &self.shared.journal;
        let alone = journal.is_alone();
        if let Some(old) = journal.turn(alone) {
            self.retiring.push_back((old, self.shared.queue.total()));
        }
        while let Some((segment, queued)) = self.retiring.front() {
            if self.taken < *queued || !self.batch.is_empty() {
                break;
            }
            if segment.is_alone() {
                self.read_back()?;
            }
            let (segment, _) = self.retiring.pop_front().expect("it is there");
            let journal = &self.shared.journal;
            if self.open.values().all(|open| journal.copy(&open.frame)) {
                journal.retire(&segment);
                journal.turned();
            } else {
                // No room: it stays, and is tried again after the next turn.
                self.retiring.push_front((segment, 0));
                break;
            }
        }
        Ok(())
    }

    /// Brings in what the oldest retired file alone has.
    fn read_back(&mut self) -> Result<(), StoreError> {
        let (segment, _) = self.retiring.front().expect("it is there");
        let failed = |source| StoreError::File { path: segment.path().into(), source };
        let file = File::open(segment.path()).map_err(failed)?;
        let book = self.book.as_mut().expect("open");
        let (mut opened, mut count) = (HashMap::new(), 0);
        let mut ended = Vec::new();
        book.write(|names, connection| {
            let mut result = Ok(());
            let mut rows = names.rows(connection)?;
            let readable = read(file, &mut opened, |frame| {
                if result.is_ok() {
                    result = rows.insert(frame).and_then(|()| rows.close(&frame.id));
                    ended.push(frame.id);
                    count += 1;
                }
            });
            drop(rows);
            result?;
            if let Err(error) = readable {
                tracing::warn!(%error, "the journal could not be read back");
            }
            // Of those that are open, only the ones that the queue did not take are new, and have no row yet.
            let mut is_known = connection.prepare_cached("SELECT 1 FROM exchange WHERE started = ? AND id = ?")?;
            let mut known = HashSet::new();
            for frame in opened.values().filter_map(|frame| Frame::next(&mut &frame[..])) {
                if is_known.exists(rusqlite::params![frame.started, &frame.id.as_bytes()[..]])? {
                    known.insert(frame.id);
                }
            }
            opened.retain(|id, _| !known.contains(id));
            Ok(())
        })?;
        for id in ended {
            self.open.remove(&id);
            opened.remove(&id);
        }
        for (id, frame) in opened {
            self.open.entry(id).or_insert_with(|| {
                self.unwritten.push_back((Instant::now(), id));
                Open { frame, written: false }
            });
        }
        tracing::info!(rows = count, "what was kept while the ledger could not be written is in it now");
        Ok(())
    }

    /// Leaves nothing behind but what the next start must know.
    fn end(mut self) {
        let mut left = Vec::new();
        self.shared.queue.take(&mut left);
        self.keep(&left);
        let all_in = left.is_empty() && self.batch.is_empty() && self.open.is_empty() && self.retry.is_none();
        let last = self.shared.journal.end();
        let alone =
            last.as_ref().is_some_and(Segment::is_alone) || self.retiring.iter().any(|(segment, _)| segment.is_alone());
        if !all_in || alone {
            // The journal files stay, and their locks go with them.
            return;
        }
        if let Some(book) = &mut self.book
            && let Err(error) = book.leave()
        {
            tracing::debug!(%error, "the ledger does not know that this agent has ended");
        }
        for segment in last.into_iter().chain(self.retiring.into_iter().map(|(segment, _)| segment)) {
            self.shared.journal.retire(&segment);
        }
    }
}

/// Whether the error is about what was written, rather than about the file.
fn is_of_a_row(error: &StoreError) -> bool {
    let StoreError::Sqlite(error) = error else { return false };
    match error.sqlite_error_code() {
        Some(code) => matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig),
        None => matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
    }
}
