use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::entry::{Entry, What};
use crate::error::AuditError;
use crate::files::Files;

/// Entries that wait to be written at most.
const QUEUE: usize = 8_192;
/// Entries that are written at once at most.
const BATCH: usize = 256;
/// How long after an entry was written the disk is told to have it.
const SYNC: Duration = Duration::from_secs(1);
/// After a failure, how soon the next attempt comes: doubling, between these.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Where an audit is, and how much of it is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory, made at need, readable by its owner alone.
    pub directory: PathBuf,
    /// Bytes after which a file is followed by another.
    pub max_size: u64,
    /// How many files are kept, the current one among them.
    pub keep: usize,
}

/// The audit, to be written. Nothing here waits for a disk but [`Audit::close`].
#[derive(Debug)]
pub struct Audit {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    directory: PathBuf,
}

/// How the audit is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries written by this process.
    pub written: u64,
    /// Entries that had no room and are lost.
    pub dropped: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Entries that wait.
    pub queued: u64,
    /// The number and hash of the last line written by this process, to be kept elsewhere.
    pub last: Option<(u64, String)>,
    /// Why it cannot be written, if so.
    pub trouble: Option<Trouble>,
}

/// Why the audit cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word: `full`, `read_only`, `unsafe`, `busy`, `file`.
    pub kind: &'static str,
    /// What happened, for people.
    pub what: String,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    written: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    last: Mutex<Option<(u64, String)>>,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Box<Entry>>,
    is_stopping: bool,
}

impl Audit {
    /// Starts to write. What is wrong with the file is told by [`Audit::figures`] and the log, and tried again.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let Settings { directory, max_size, keep } = settings;
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            files: Files::new(directory.clone(), max_size, keep),
            batch: Vec::new(),
            told: 0,
            unsynced: None,
            retry: None,
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)), directory })
    }

    /// Its directory.
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Hands an entry on. It never waits; where there is no room the entry is dropped, and counted.
    pub fn note(&self, entry: Entry) {
        let entry = Box::new(entry);
        let mut queue = self.shared.queue.lock();
        if queue.entries.len() >= QUEUE || queue.is_stopping {
            drop(queue);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.entries.push_back(entry);
        let is_first = queue.entries.len() == 1;
        drop(queue);
        if is_first {
            self.shared.wake.notify_one();
        }
    }

    /// How it is.
    pub fn figures(&self) -> Figures {
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            written: count(&shared.written),
            dropped: count(&shared.dropped),
            failures: count(&shared.failures),
            queued: shared.queue.lock().entries.len() as u64,
            last: shared.last.lock().clone(),
            trouble: shared.trouble.lock().clone(),
        }
    }

    /// Writes what was handed in, and ends. What cannot be written now is lost, and told.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        self.shared.queue.lock().is_stopping = true;
        self.shared.wake.notify_all();
        if writer.join().is_err() {
            tracing::error!("the audit's writer had failed; please report this defect");
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    shared: Arc<Shared>,
    files: Files,
    /// What was taken off the queue and is not written.
    batch: Vec<Entry>,
    /// Of the entries that were dropped, how many an entry tells of.
    told: u64,
    /// Since when something is written that the disk may not have.
    unsynced: Option<Instant>,
    retry: Option<(Instant, Duration)>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let is_stopping = self.take();
            // Without anything to write, an attempt that is due shows whether the trouble is over.
            let is_due = self.retry.map_or(!self.batch.is_empty(), |(at, _)| at <= Instant::now());
            if is_due || (is_stopping && !self.batch.is_empty()) {
                self.write();
            }
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC) {
                self.sync();
            }
            if is_stopping && (self.retry.is_some() || (self.batch.is_empty() && self.is_idle())) {
                break;
            }
        }
        self.end();
    }

    fn is_idle(&self) -> bool {
        self.shared.queue.lock().entries.is_empty()
    }

    /// Waits until there is something to do, and takes some of it. Gives whether to come to an end.
    fn take(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        loop {
            let due = match (self.retry, self.unsynced) {
                (Some((at, _)), _) => Some(at),
                (None, Some(since)) => Some(since + SYNC),
                (None, None) => None,
            };
            let has_work = !queue.entries.is_empty() && self.retry.is_none() || !self.batch.is_empty();
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if queue.is_stopping || is_due || (has_work && self.retry.is_none()) {
                break;
            }
            match due {
                Some(due) => drop(self.shared.wake.wait_until(&mut queue, due)),
                None => self.shared.wake.wait(&mut queue),
            }
        }
        if self.batch.is_empty() {
            let many = queue.entries.len().min(BATCH);
            self.batch.extend(queue.entries.drain(..many).map(|entry| *entry));
        }
        queue.is_stopping
    }

    fn write(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let missing = dropped - self.told;
        let count = self.batch.len();
        if missing > 0 {
            // There is room again, or this would not be written.
            self.batch.push(Entry { count: Some(missing), ..Entry::new(What::Dropped) });
        }
        match self.files.append(&self.batch) {
            Ok(()) => {
                self.shared.written.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
                self.told = dropped;
                if !self.batch.is_empty() {
                    self.unsynced.get_or_insert_with(Instant::now);
                    *self.shared.last.lock() = Some(self.files.end());
                }
                self.batch.clear();
                self.succeeded();
            }
            Err(error) => {
                self.batch.truncate(count);
                self.failed(&error);
            }
        }
    }

    fn sync(&mut self) {
        self.unsynced = None;
        if let Err(error) = self.files.sync() {
            self.failed(&error);
        }
    }

    fn succeeded(&mut self) {
        if self.retry.take().is_some() {
            tracing::info!("the audit is written again");
        }
        *self.shared.trouble.lock() = None;
    }

    fn failed(&mut self, error: &AuditError) {
        let wait = self.retry.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
        if self.retry.is_none() {
            tracing::error!(%error, "the audit cannot be written; calls go on, and what is to be written waits while there is room");
        }
        self.retry = Some((Instant::now() + wait, wait));
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        *self.shared.trouble.lock() = Some(Trouble { kind: error.kind(), what: error.to_string() });
    }

    fn end(mut self) {
        self.sync();
        let lost = self.batch.len() + self.shared.queue.lock().entries.len();
        if lost > 0 {
            self.shared.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            tracing::error!(entries = lost, "the audit could not be written to the end");
        }
        if let Some((line, hash)) = self.shared.last.lock().clone() {
            // In the log, which may be kept elsewhere, it shows whether the end of the files is the end that there was.
            tracing::info!(line, hash, "the audit ends here");
        }
    }
}
