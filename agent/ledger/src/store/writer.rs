//! The one thread that writes: it gathers rows for a tenth of a second, commits them together, and does what else is due.
//!
//! While the file cannot be written, it holds one batch and leaves the rest in the queue, which is bounded; the journal has
//! what does not fit there. Then it reads that back.

mod upkeep;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::book::{Book, identity, move_aside};
use super::error::StoreError;
use super::insert::close;
use super::journal::{Segment, read};
use super::ledger::{Message, Shared};
use super::open::FILE;
use super::row::Row;
use crate::record::Id;

use self::upkeep::Upkeep;

/// How long rows are gathered before they are committed.
const GATHER: Duration = Duration::from_millis(100);
/// Rows that are committed at once.
const BATCH: usize = 2_000;
/// How long an exchange is open before that is written: most end sooner than it is worth writing.
const SETTLED_SOON: Duration = Duration::from_secs(1);
/// How long an idle writer sleeps.
const IDLE: Duration = Duration::from_secs(1);
/// After a failure, how soon the next attempt comes: doubling, between these.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    directory: PathBuf,
    book: Option<Book>,
    /// Which file there was when it was last tried to be opened.
    identity: Option<(u64, u64)>,
    upkeep: Upkeep,
    /// Exchanges that have not ended.
    open: HashMap<Id, Open>,
    /// The same in the order in which they began, but for those that are written.
    unwritten: VecDeque<(Instant, Id)>,
    /// Exchanges that have ended and are not committed.
    closing: Vec<Row>,
    /// Rows taken off the queue.
    taken: u64,
    /// Journal files that were followed by others, each with how many rows had been queued then.
    retiring: VecDeque<(Segment, u64)>,
    retry: Option<(Instant, Duration)>,
    stopping: bool,
}

struct Open {
    row: Box<Row>,
    written: bool,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Receiver<Message>,
        directory: PathBuf,
        retention: Option<Duration>,
    ) -> Self {
        Self {
            shared,
            queue,
            directory,
            book: None,
            identity: None,
            upkeep: Upkeep::new(retention),
            open: HashMap::new(),
            unwritten: VecDeque::new(),
            closing: Vec::new(),
            taken: 0,
            retiring: VecDeque::new(),
            retry: None,
            stopping: false,
        }
    }

    /// Until told to stop, and everything that was queued by then is committed or known not to be.
    pub(super) fn run(mut self) {
        loop {
            // The word to stop finds no room in a full queue.
            self.stopping |= self.shared.is_stopping();
            self.attempt();
            if self.stopping && self.closing.is_empty() {
                // What came after the word to stop.
                while self.closing.len() < BATCH && self.take_waiting() {}
                if self.closing.is_empty() {
                    break;
                }
                continue;
            }
            if self.stopping && self.retry.is_some() {
                tracing::warn!(
                    rows = self.closing.len(),
                    "the ledger could not be written to the end; the journal keeps the rest for the next start"
                );
                break;
            }
            self.gather();
        }
        self.end();
    }

    /// Waits for rows, and then for some more to go with them.
    fn gather(&mut self) {
        if let Some((at, _)) = self.retry {
            self.pause(at);
            return;
        }
        let patience = if self.upkeep.is_behind() { GATHER / 2 } else { self.until_due() };
        match self.queue.recv_timeout(patience) {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
        let enough = Instant::now() + GATHER;
        while self.closing.len() < BATCH && !self.stopping {
            match self.queue.recv_timeout(enough.saturating_duration_since(Instant::now())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => self.stopping = true,
            }
        }
    }

    /// Until it is time to try again, or to stop. The queue fills meanwhile.
    fn pause(&mut self, at: Instant) {
        while Instant::now() < at && !self.stopping {
            self.stopping = self.shared.is_stopping();
            std::thread::sleep(GATHER.min(at.saturating_duration_since(Instant::now())));
        }
    }

    fn until_due(&self) -> Duration {
        let due =
            self.unwritten.front().map(|(since, _)| (*since + SETTLED_SOON).saturating_duration_since(Instant::now()));
        due.unwrap_or(IDLE).clamp(GATHER, IDLE)
    }

    fn take_waiting(&mut self) -> bool {
        self.queue.try_recv().map(|message| self.take(message)).is_ok()
    }

    fn take(&mut self, message: Message) {
        let row = match message {
            Message::Row(row) => row,
            Message::Stop => {
                self.stopping = true;
                return;
            }
        };
        self.taken += 1;
        self.shared.taken.store(self.taken, Ordering::Relaxed);
        // Beside a disk it is this thread that writes the journal, so that no request waits.
        if !self.shared.journal.is_in_memory() {
            self.shared.journal.copy(&row);
        }
        self.enter(row);
    }

    fn enter(&mut self, row: Box<Row>) {
        if row.end.is_some() {
            self.shared.waits_since(Instant::now());
            self.closing.push(*row);
        } else {
            self.unwritten.push_back((Instant::now(), row.id));
            self.open.insert(row.id, Open { row, written: false });
        }
    }

    /// Commits what there is, and does what is due. A failure is told, and tried again later.
    fn attempt(&mut self) {
        if self.retry.is_some_and(|(at, _)| Instant::now() < at) && !self.stopping {
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
        let ended: HashSet<Id> = self.closing.iter().map(|row| row.id).collect();
        let opened: Vec<&Open> = due
            .iter()
            .filter(|id| !ended.contains(id))
            .filter_map(|id| self.open.get(id))
            .filter(|open| !open.written)
            .collect();
        if !self.closing.is_empty() || !opened.is_empty() {
            let (book, closing, open) = (self.book.as_mut().expect("open"), &self.closing, &self.open);
            let instance = book.instance();
            let written = book.write(|names, connection| {
                for row in closing {
                    let Some(end) = &row.end else { continue };
                    names.insert(connection, row, end)?;
                    if open.get(&row.id).is_some_and(|open| open.written) {
                        close(connection, &row.id)?;
                    }
                }
                opened.iter().try_for_each(|open| names.open(connection, instance, &open.row))
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
        for row in self.closing.drain(..) {
            self.open.remove(&row.id);
        }
        self.shared.written.fetch_add(ended.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// A row that cannot be written, which would be a defect, must not take others with it.
    fn commit_singly(&mut self) -> Result<(), StoreError> {
        let book = self.book.as_mut().expect("open");
        for row in &self.closing {
            let Some(end) = &row.end else { continue };
            let written = book.write(|names, connection| {
                names.insert(connection, row, end)?;
                close(connection, &row.id)
            });
            match written {
                Err(error) if is_of_a_row(&error) => {
                    tracing::error!(%error, id = %row.id, "an exchange cannot be written; please report this defect");
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
            if let Some(open) = self.open.get(&id) {
                self.closing.push(open.row.as_ref().clone().lost(SystemTime::now()));
            }
        }
    }

    /// Turns to another journal file where it is time, and removes those of which everything is in the ledger.
    fn retire(&mut self) -> Result<(), StoreError> {
        let journal = &self.shared.journal;
        let alone = journal.is_alone();
        if let Some(old) = journal.turn(alone) {
            self.retiring.push_back((old, self.shared.queued.load(Ordering::SeqCst)));
        }
        while let Some((segment, queued)) = self.retiring.front() {
            if self.taken < *queued || !self.closing.is_empty() {
                break;
            }
            if segment.is_alone() {
                self.read_back()?;
            }
            let (segment, _) = self.retiring.pop_front().expect("it is there");
            let journal = &self.shared.journal;
            if self.open.values().all(|open| journal.copy(&open.row)) {
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
        let file = BufReader::new(File::open(segment.path()).map_err(failed)?);
        let book = self.book.as_mut().expect("open");
        let (mut opened, mut count) = (HashMap::new(), 0);
        let mut ended = Vec::new();
        book.write(|names, connection| {
            let mut result = Ok(());
            let readable = read(file, &mut opened, |row| {
                if result.is_ok()
                    && let Some(end) = &row.end
                {
                    result = names.insert(connection, &row, end).and_then(|()| close(connection, &row.id));
                    ended.push(row.id);
                    count += 1;
                }
            });
            result?;
            if let Err(error) = readable {
                tracing::warn!(%error, "the journal could not be read back");
            }
            // Of those that are open, only the ones that the queue did not take are new, and have no row yet.
            let mut is_known = connection.prepare_cached("SELECT 1 FROM exchange WHERE started = ? AND id = ?")?;
            let mut known = HashSet::new();
            for row in opened.values() {
                if is_known.exists(rusqlite::params![row.started, &row.id.as_bytes()[..]])? {
                    known.insert(row.id);
                }
            }
            opened.retain(|id, _| !known.contains(id));
            Ok(())
        })?;
        for id in ended {
            self.open.remove(&id);
            opened.remove(&id);
        }
        for (id, row) in opened {
            if !self.open.contains_key(&id) {
                self.enter(Box::new(row));
            }
        }
        tracing::info!(rows = count, "what was kept while the ledger could not be written is in it now");
        Ok(())
    }

    /// Leaves nothing behind but what the next start must know.
    fn end(mut self) {
        let mut waiting = 0;
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Row(row) = message {
                waiting += 1;
                if !self.shared.journal.is_in_memory() {
                    self.shared.journal.copy(&row);
                }
            }
        }
        let all_in = waiting == 0 && self.closing.is_empty() && self.open.is_empty() && self.retry.is_none();
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
