//! What a crash must not lose: a frame for each exchange that is opened, and one for each that is closed, in files that
//! outlive the process. Each frame is one write to memory (tmpfs), which nobody waits for; nothing is ever synced.
//!
//! An agent holds locks on its files while it lives, so whoever gets a lock knows that its owner is dead. A file that has
//! grown is followed by another, and removed once all that it tells is in the ledger. After a power loss they are gone, and with
//! them what was not committed: the last tenth of a second.

mod leftover;
mod read;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::open::make_directory;
use crate::record::Id;

pub(super) use self::leftover::{Leftover, leftovers};
#[doc(hidden)]
pub use self::read::journal_counts;
pub(super) use self::read::read;

/// Bytes after which a file is followed by another.
const TURN: u64 = 4 << 20;
/// How long after its first frame a file is followed by another, however small: it must not tell again, years later, of exchanges
/// that retention has counted together and removed. The shortest retention is a day.
const AGE: Duration = Duration::from_hours(1);
/// Bytes that all files of one agent may hold together. It is memory.
const LIMIT: u64 = 64 << 20;
/// The version of the files' format.
const VERSION: u32 = 3;
/// The versions that can be read. Frames say themselves of which they are.
const READABLE: RangeInclusive<u32> = 2..=VERSION;
/// How the files' names end.
const SUFFIX: &str = "journal";

/// Says whose journal a file is; its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    /// The directory of the ledger that it belongs to. Others may keep their journals in the same place.
    ledger: PathBuf,
    /// The same by device, inode and time of birth: containers have their own idea of paths, and inodes are used again.
    identity: Option<(u64, u64, u64)>,
}

impl Header {
    pub(super) fn new(ledger: &Path) -> Self {
        let path = std::fs::canonicalize(ledger).unwrap_or_else(|_missing| ledger.into());
        let identity = std::fs::metadata(&path).ok().map(|data| {
            let born = data.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
            (data.dev(), data.ino(), born.unwrap_or_default().as_nanos() as u64)
        });
        Self { version: VERSION, identity, ledger: path }
    }

    /// As the first line.
    fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    fn is_readable(&self) -> bool {
        READABLE.contains(&self.version)
    }

    /// Whether a journal with this header is of that ledger, and can be read.
    fn is_of(&self, ledger: &Self) -> bool {
        self.is_readable()
            && match (self.identity, ledger.identity) {
                (Some(one), Some(other)) => one == other,
                _ => self.ledger == ledger.ledger,
            }
    }
}

/// The files that one agent writes.
#[derive(Debug)]
pub(super) struct Journal {
    /// Where it may be: the first that is in memory, else the first that there is.
    directories: Vec<PathBuf>,
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
    begun: Instant,
    size: AtomicU64,
    /// Whether it has frames that the writer was not given, because its queue was full.
    alone: AtomicBool,
}

impl Journal {
    /// The first file, in one of `directories`, else beside the ledger. Without any it is tried again with each turn.
    pub(super) fn new(directories: &[PathBuf], ledger: &Path) -> Self {
        let journal = Self {
            directories: directories.iter().cloned().chain([ledger.into()]).collect(),
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

    /// Where the files of this ledger's agents may be.
    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Whether a frame is written without a disk being near.
    pub(super) fn is_in_memory(&self) -> bool {
        self.in_memory.load(Ordering::Relaxed)
    }

    /// Whether the current file has frames that the writer was not given.
    pub(super) fn is_alone(&self) -> bool {
        self.current.read().as_ref().is_some_and(Segment::is_alone)
    }

    /// Bytes in all files.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Writes a row's frame, unless that might wait for a disk, then calls `hand_on`, which says whether the writer has the
    /// row too. No file is retired between the two. Gives whether at least one of both has it.
    pub(super) fn append(&self, frame: &[u8], hand_on: impl FnOnce() -> bool) -> bool {
        let current = self.current.read();
        let written = self.is_in_memory() && current.as_ref().is_some_and(|segment| self.write(segment, frame));
        let handed = hand_on();
        if let Some(segment) = current.as_ref()
            && written
            && !handed
        {
            segment.alone.store(true, Ordering::Relaxed);
        }
        written || handed
    }

    /// Writes frames alone.
    pub(super) fn copy(&self, frames: &[u8]) -> bool {
        let current = self.current.read();
        current.as_ref().is_some_and(|segment| self.write(segment, frames))
    }

    fn write(&self, segment: &Segment, frames: &[u8]) -> bool {
        let length = frames.len() as u64;
        if self.size.load(Ordering::Relaxed) + length > LIMIT {
            return false;
        }
        // One system call: frames of several threads do not mix, as the file is opened for appending.
        let written = (&segment.file).write(frames).unwrap_or_default();
        self.size.fetch_add(written as u64, Ordering::Relaxed);
        segment.size.fetch_add(written as u64, Ordering::Relaxed);
        written == frames.len()
    }

    /// Begins another file where the current one has grown large or old, or there is none. Gives the old one.
    pub(super) fn turn(&self, forced: bool) -> Option<Segment> {
        let grown = match self.current.read().as_ref() {
            Some(segment) => {
                let size = segment.size.load(Ordering::Relaxed);
                size > self.turn.load(Ordering::Relaxed) || (size > 0 && segment.begun.elapsed() > AGE)
            }
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
    pub(super) fn retire(&self, segment: &Segment) {
        remove(&segment.path);
        self.size.fetch_sub(segment.size.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Ends the journal. Gives the last file, for it to be kept or removed.
    pub(super) fn end(&self) -> Option<Segment> {
        self.current.write().take()
    }

    fn begin(&self) -> Result<Option<Segment>, StoreError> {
        let (mut others, mut failure) = (Vec::new(), None);
        // No folder is made beyond the first that will do.
        for directory in &self.directories {
            match make_own(directory) {
                Ok(true) => match self.make(directory) {
                    Ok(segment) => return Ok(self.follow(segment, true)),
                    Err(error) => failure = Some(error),
                },
                Ok(false) => others.push(directory),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for directory in others {
            match self.make(directory) {
                Ok(segment) => {
                    if self.current.read().is_none() {
                        tracing::warn!(
                            directory = %directory.display(),
                            "the journal is not in memory; a crash may lose calls of its last moments. Let ledger.journal name a tmpfs"
                        );
                    }
                    return Ok(self.follow(segment, false));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("there is at least the ledger's directory, which failed"))
    }

    /// Has lines written to this file from now on. Gives the one before it.
    fn follow(&self, segment: Segment, in_memory: bool) -> Option<Segment> {
        self.in_memory.store(in_memory, Ordering::Relaxed);
        self.current.write().replace(segment)
    }

    /// A file of ours, locked before it has a name that others look for.
    fn make(&self, directory: &Path) -> Result<Segment, StoreError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}-{number:06}.{SUFFIX}", self.instance));
        let early = path.with_extension("new");
        let made = || -> io::Result<File> {
            let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&early)?;
            file.try_lock()?;
            file.write_all(&self.header.line()?)?;
            std::fs::rename(&early, &path)?;
            Ok(file)
        };
        match made() {
            Ok(file) => Ok(Segment {
                file,
                path,
                begun: Instant::now(),
                size: AtomicU64::new(0),
                alone: AtomicBool::new(false),
            }),
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

/// Makes the directory, and tells whether it is in memory. It must be ours alone: others could lead us astray in it.
fn make_own(directory: &Path) -> Result<bool, StoreError> {
    make_directory(directory)?;
    let failed = |source| StoreError::File { path: directory.into(), source };
    if !is_own(directory).map_err(failed)? {
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "others may write there")));
    }
    let file_system = statfs(directory).map_err(|error| failed(error.into()))?;
    Ok(file_system.filesystem_type() == TMPFS_MAGIC)
}

/// Whether nobody else can put a file there.
fn is_own(directory: &Path) -> io::Result<bool> {
    let data = std::fs::metadata(directory)?;
    Ok(data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0)
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
