//! What a crash must not lose: a line for each exchange that is opened, and one for each that is closed, in files that
//! outlive the process. Each line is one write to memory (tmpfs), which nobody waits for; nothing is ever synced.
//!
//! An agent holds locks on its files while it lives, so whoever gets a lock knows that its owner is dead. A file that has
//! grown is followed by another, and removed once all that it tells is in the ledger. After a power loss they are gone, and with
//! them what was not committed: the last tenth of a second.

mod leftover;
mod read;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::open::make_directory;
use super::row::Row;
use crate::record::Id;

pub(super) use self::leftover::{Leftover, leftovers};
pub(super) use self::read::read;

/// Bytes after which a file is followed by another.
const TURN: u64 = 4 << 20;
/// Bytes that all files of one agent may hold together. It is memory.
const LIMIT: u64 = 64 << 20;
/// How the files' names end.
const SUFFIX: &str = "journal";

/// Says whose journal a file is; its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    /// The directory of the ledger that it belongs to. Others may keep their journals in the same place.
    ledger: PathBuf,
}

impl Header {
    pub(super) fn new(ledger: &Path) -> Self {
        Self { version: 1, ledger: std::fs::canonicalize(ledger).unwrap_or_else(|_missing| ledger.into()) }
    }
}

/// The files that one agent writes.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    header: Header,
    instance: Id,
    number: AtomicU64,
    current: RwLock<Option<Segment>>,
    /// Bytes in all files.
    size: AtomicU64,
    /// Bytes of the current file after which it is followed.
    turn: AtomicU64,
    in_memory: AtomicBool,
}

/// One file. Dropping it lets go of its lock; the file stays.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    size: AtomicU64,
    /// Whether it has lines that the writer was not given, because its queue was full.
    alone: AtomicBool,
}

impl Journal {
    /// The first file, in `directory`, else beside the ledger. Without either there is no journal, and `begin` is to be tried again.
    pub(super) fn new(directory: &Path, ledger: &Path) -> Self {
        let journal = Self {
            directory: directory.into(),
            header: Header::new(ledger),
            instance: Id::new(),
            number: AtomicU64::new(0),
            current: RwLock::new(None),
            size: AtomicU64::new(0),
            turn: AtomicU64::new(TURN),
            in_memory: AtomicBool::new(false),
        };
        if let Err(error) = journal.begin() {
            tracing::warn!(%error, "no journal: a crash would lose the calls that are in flight. Correct ledger.journal");
        }
        journal
    }

    /// Who writes here.
    pub(super) fn instance(&self) -> Id {
        self.instance
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Whether a line is written without a disk being near.
    pub(super) fn is_in_memory(&self) -> bool {
        self.in_memory.load(Ordering::Relaxed)
    }

    /// Whether the current file has lines that the writer was not given.
    pub(super) fn is_alone(&self) -> bool {
        self.current.read().as_ref().is_some_and(Segment::is_alone)
    }

    /// Bytes in all files.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Writes a line for the row, unless that might wait for a disk, then calls `hand_on`, which says whether the writer has the
    /// row too. No file is retired between the two. Gives whether at least one of both has it.
    pub(super) fn append(&self, row: Box<Row>, hand_on: impl FnOnce(Box<Row>) -> bool) -> bool {
        let line = if self.is_in_memory() { line(&row) } else { Vec::new() };
        let current = self.current.read();
        let written = !line.is_empty() && current.as_ref().is_some_and(|segment| self.write(segment, &line));
        let handed = hand_on(row);
        if let Some(segment) = current.as_ref()
            && written
            && !handed
        {
            segment.alone.store(true, Ordering::Relaxed);
        }
        written || handed
    }

    /// Writes a line alone.
    pub(super) fn copy(&self, row: &Row) -> bool {
        let current = self.current.read();
        current.as_ref().is_some_and(|segment| self.write(segment, &line(row)))
    }

    fn write(&self, segment: &Segment, line: &[u8]) -> bool {
        let length = line.len() as u64;
        if self.size.load(Ordering::Relaxed) + length > LIMIT {
            return false;
        }
        // One system call for one line: lines of several threads do not mix, as the file is opened for appending.
        let written = (&segment.file).write(line).unwrap_or_default();
        self.size.fetch_add(written as u64, Ordering::Relaxed);
        segment.size.fetch_add(written as u64, Ordering::Relaxed);
        written == line.len()
    }

    /// Begins another file where the current one has grown, or there is none. Gives the old one.
    pub(super) fn turn(&self, forced: bool) -> Option<Segment> {
        let grown = match self.current.read().as_ref() {
            Some(segment) => segment.size.load(Ordering::Relaxed) > self.turn.load(Ordering::Relaxed),
            None => true,
        };
        if !grown && !forced {
            return None;
        }
        match self.begin() {
            Ok(old) => old,
            Err(error) => {
                tracing::debug!(%error, "the journal stays as it is");
                None
            }
        }
    }

    /// After a turn: what was copied does not count towards the next.
    pub(super) fn turned(&self) {
        let copied = self.current.read().as_ref().map_or(0, |segment| segment.size.load(Ordering::Relaxed));
        self.turn.store(TURN + 2 * copied, Ordering::Relaxed);
    }

    /// Removes a file: all that it tells is in the ledger, or copied.
    pub(super) fn retire(&self, segment: Segment) {
        remove(&segment.path);
        self.size.fetch_sub(segment.size.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Ends the journal. Gives the last file, for it to be kept or removed.
    pub(super) fn end(&self) -> Option<Segment> {
        self.current.write().take()
    }

    fn begin(&self) -> Result<Option<Segment>, StoreError> {
        let beside = self.header.ledger.as_path();
        let segment = match self.make(&self.directory) {
            Ok(segment) => segment,
            Err(_) if self.directory != beside => self.make(beside)?,
            Err(error) => return Err(error),
        };
        let in_memory = fstatfs(&segment.file).is_ok_and(|file_system| is_memory(file_system.filesystem_type()));
        self.in_memory.store(in_memory, Ordering::Relaxed);
        Ok(self.current.write().replace(segment))
    }

    /// A file of ours, locked before it has a name that others look for.
    fn make(&self, directory: &Path) -> Result<Segment, StoreError> {
        make_directory(directory)?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}-{number:06}.{SUFFIX}", self.instance));
        let early = path.with_extension("new");
        let made = || -> io::Result<File> {
            let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&early)?;
            file.try_lock()?;
            file.write_all(&serde_json::to_vec(&self.header)?)?;
            std::fs::rename(&early, &path)?;
            Ok(file)
        };
        match made() {
            Ok(file) => Ok(Segment { file, path, size: AtomicU64::new(0), alone: AtomicBool::new(false) }),
            Err(source) => {
                remove(&early);
                Err(StoreError::File { path, source })
            }
        }
    }
}

impl Segment {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file alone knows something, so that it must be read before it is removed.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }
}

fn is_memory(kind: FsType) -> bool {
    kind == TMPFS_MAGIC
}

/// The line break is first, so that a torn line does not spoil the next.
fn line(row: &Row) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    line.push(b'\n');
    serde_json::to_writer(&mut line, row).expect("a row is text and numbers");
    line
}

/// It may be gone already.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %path.display(), "left behind");
    }
}

#[cfg(test)]
mod tests;
