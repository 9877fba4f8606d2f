use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::charges::spent;
use super::error::StoreError;
use super::frame::encode;
use super::journal::Journal;
use super::open::FILE;
use super::queue::Queue;
use super::row::{Row, executable};
use super::writer::Writer;
use crate::record::{Charge, Id, Opened, Record};

/// Exchanges whose end had no room anywhere, and that are settled without it.
const OVERFLOWED: usize = 65_536;

thread_local! {
    /// Where each thread writes its frames.
    static FRAME: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

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

/// What the writer and those who hand it rows have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) journal: Journal,
    pub(super) queue: Queue,
    pub(super) written: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) recovered: AtomicU64,
    failures: AtomicU64,
    pub(super) overflowed: Mutex<Vec<Id>>,
    waiting: Mutex<Option<Instant>>,
    trouble: Mutex<Option<Trouble>>,
    recovery: Mutex<Recovery>,
    recovery_changed: Condvar,
}

/// Whether what dead agents left is in the file.
#[derive(Debug, Default)]
enum Recovery {
    #[default]
    Awaited,
    Done,
    /// Not at the first attempt. It is tried again, but nobody should wait for that.
    Failed(String),
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
            queue: Queue::default(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            overflowed: Mutex::default(),
            waiting: Mutex::default(),
            trouble: Mutex::default(),
            recovery: Mutex::default(),
            recovery_changed: Condvar::new(),
        });
        let writer = Writer::new(Arc::clone(&shared), directory, retention);
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)), file })
    }

    /// The ledger's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A request is about to leave. When this returns, killing the process does not make it be forgotten.
    pub fn opened(&self, opened: &Opened) {
        self.enter(&Row::opened(opened, executable(&opened.caller).as_deref()));
    }

    /// An exchange has ended.
    pub fn settled(&self, record: &Record) {
        if !self.enter(&Row::settled(record, executable(&record.caller).as_deref())) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            let mut overflowed = self.shared.overflowed.lock();
            if overflowed.len() < OVERFLOWED {
                overflowed.push(record.id);
            }
        }
    }

    fn enter(&self, row: &Row<'_>) -> bool {
        let mut frame = FRAME.try_with(Cell::take).unwrap_or_default();
        frame.clear();
        encode(row, &mut frame);
        let entered = self.shared.journal.append(&frame, || self.shared.queue.push(&frame));
        // A thread that is ending has no place for it any more.
        FRAME.try_with(|place| place.set(frame)).ok();
        entered
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
            queued: shared.queue.len() as u64,
            lag: shared.waiting.lock().map(|since| since.elapsed()).unwrap_or_default(),
            journal_bytes: shared.journal.size(),
            trouble: shared.trouble.lock().clone(),
        }
    }

    /// What budgets were charged in windows that began at `since` or later, by all agents, the dead ones' last calls included: of
    /// those that never got an end, what was set aside. It waits for their journals to be read, at most for `patience`; so it
    /// blocks, and is for the start, before there are calls of our own. Where they cannot be read, it is what the file has.
    pub fn spent(&self, since: SystemTime, patience: Duration) -> Result<Vec<Charge>, StoreError> {
        let recovered = self.shared.await_recovery(Instant::now() + patience);
        match (spent(&self.file, since), recovered) {
            (spent, Ok(())) => spent,
            // All but the dead ones' last calls, which is far better than nothing.
            (Ok(spent), Err(error)) => {
                tracing::warn!(%error, "last calls of agents that were killed may be missing from what was spent");
                Ok(spent)
            }
            (Err(_), Err(error)) => Err(error),
        }
    }

    /// Commits everything that was handed in, and ends. What cannot be committed now, the journal keeps for the next start.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        self.shared.queue.stop();
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
    /// Something waits to be committed since then, if nothing did before.
    pub(super) fn waits_since(&self, since: Instant) {
        self.waiting.lock().get_or_insert(since);
    }

    pub(super) fn succeeded(&self) {
        *self.waiting.lock() = None;
        *self.trouble.lock() = None;
    }

    /// What dead agents left is in the file.
    pub(super) fn has_recovered(&self) {
        *self.recovery.lock() = Recovery::Done;
        self.recovery_changed.notify_all();
    }

    fn await_recovery(&self, until: Instant) -> Result<(), StoreError> {
        let mut recovery = self.recovery.lock();
        loop {
            match &*recovery {
                Recovery::Done => return Ok(()),
                Recovery::Failed(why) => return Err(StoreError::Unrecovered(why.clone())),
                Recovery::Awaited if Instant::now() >= until => {
                    return Err(StoreError::Unrecovered("it takes too long".into()));
                }
                Recovery::Awaited => drop(self.recovery_changed.wait_until(&mut recovery, until)),
            }
        }
    }

    pub(super) fn failed(&self, error: &StoreError) {
        {
            let mut recovery = self.recovery.lock();
            if !matches!(*recovery, Recovery::Done) {
                *recovery = Recovery::Failed(error.to_string());
                self.recovery_changed.notify_all();
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.trouble.lock() = Some(Trouble { kind: error.kind(), what: error.to_string() });
    }
}
