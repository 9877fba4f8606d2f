use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::StoreError;
use super::journal::Journal;
use super::open::FILE;
use super::row::Row;
use super::writer::Writer;
use crate::record::{Id, Opened, Record};

/// Rows that wait for the writer. While it is well, there are few; while it is not, each is about a kilobyte.
const QUEUE: usize = 16_384;
/// Exchanges whose end had no room anywhere, and that are settled without it.
const OVERFLOWED: usize = 65_536;

/// Where a ledger is, and how long it remembers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory, made at need.
    pub directory: PathBuf,
    /// Directories for the journals, in memory and outliving the process; the first that is so is used.
    pub journals: Vec<PathBuf>,
    /// How long exchanges are kept by themselves; `None` for ever.
    pub retention: Option<Duration>,
}

/// The ledger, to be written. Nothing here waits for a disk but [`Ledger::close`].
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
    file: PathBuf,
}

/// How the ledger is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Exchanges committed by this process.
    pub written: u64,
    /// Exchanges of which not all is in the ledger, because neither queue nor journal had room.
    pub lost: u64,
    /// Exchanges of killed agents that this process brought in.
    pub recovered: u64,
    /// Attempts to commit that failed.
    pub failures: u64,
    /// Rows that wait for the writer.
    pub queued: u64,
    /// How long the oldest row has been waiting to be committed.
    pub lag: Duration,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Why it cannot be written, if so.
    pub trouble: Option<Trouble>,
}

/// Why the ledger cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word: `full`, `read_only`, `corrupt`, `file`, `newer`, `foreign`, `busy`, `io`, `other`.
    pub kind: &'static str,
    /// What happened, for people.
    pub what: String,
}

#[derive(Debug)]
pub(super) enum Message {
    Row(Box<Row>),
    Stop,
}

/// What the writer and those who hand it rows have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) journal: Journal,
    /// Rows ever queued.
    pub(super) queued: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) recovered: AtomicU64,
    failures: AtomicU64,
    pub(super) overflowed: Mutex<Vec<Id>>,
    waiting: Mutex<Option<Instant>>,
    trouble: Mutex<Option<Trouble>>,
    stopping: AtomicBool,
}

impl Ledger {
    /// Starts to write. It never fails: what is wrong with the file is told by [`Ledger::figures`] and the log, and tried again.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let Settings { directory, journals, retention } = settings;
        let file = directory.join(FILE);
        // Its directory first: the journal belongs to it.
        if let Err(error) = super::open::make_directory(&directory) {
            tracing::debug!(%error, "the ledger's directory cannot be made yet");
        }
        let shared = Arc::new(Shared {
            journal: Journal::new(&journals, &directory),
            queued: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            overflowed: Mutex::default(),
            waiting: Mutex::default(),
            trouble: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let (queue, rows) = sync_channel(QUEUE);
        let writer = Writer::new(Arc::clone(&shared), rows, directory, retention);
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run())?;
        Ok(Self { shared, queue, writer: Mutex::new(Some(thread)), file })
    }

    /// The ledger's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A request is about to leave. When this returns, killing the process does not make it be forgotten.
    pub fn opened(&self, opened: &Opened) {
        self.enter(Row::from(opened));
    }

    /// An exchange has ended.
    pub fn settled(&self, record: &Record) {
        if !self.enter(Row::from(record)) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            let mut overflowed = self.shared.overflowed.lock();
            if overflowed.len() < OVERFLOWED {
                overflowed.push(record.id);
            }
        }
    }

    fn enter(&self, row: Row) -> bool {
        let row = Box::new(row);
        self.shared.journal.append(row, |row| {
            let queued = self.queue.try_send(Message::Row(row)).is_ok();
            if queued {
                self.shared.queued.fetch_add(1, Ordering::SeqCst);
            }
            queued
        })
    }

    /// How it is.
    pub fn figures(&self) -> Figures {
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            written: count(&shared.written),
            lost: count(&shared.lost),
            recovered: count(&shared.recovered),
            failures: count(&shared.failures),
            queued: shared.queued.load(Ordering::SeqCst).saturating_sub(count(&shared.taken)),
            lag: shared.waiting.lock().map(|since| since.elapsed()).unwrap_or_default(),
            journal_bytes: shared.journal.size(),
            trouble: shared.trouble.lock().clone(),
        }
    }

    /// Commits everything that was handed in, and ends. What cannot be committed now, the journal keeps for the next start.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // A full queue wakes it as well.
        self.queue.try_send(Message::Stop).ok();
        if writer.join().is_err() {
            tracing::error!("the ledger's writer had failed; please report this defect");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Something waits to be committed since then, if nothing did before.
    pub(super) fn waits_since(&self, since: Instant) {
        self.waiting.lock().get_or_insert(since);
    }

    pub(super) fn succeeded(&self) {
        *self.waiting.lock() = None;
        *self.trouble.lock() = None;
    }

    pub(super) fn failed(&self, error: &StoreError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.trouble.lock() = Some(Trouble { kind: error.kind(), what: error.to_string() });
    }
}
