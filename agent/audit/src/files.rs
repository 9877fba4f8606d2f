//! The files: the current one, those before it, and the lock that lets several agents write one chain.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

use crate::chain::{End, Hash, LONGEST, Link};
use crate::entry::{Entry, What};
use crate::error::AuditError;

/// The file that is written. Those before it are `audit-` and the number of their first line.
pub const CURRENT: &str = "audit.jsonl";
/// Who holds a lock on it writes.
const LOCK: &str = ".audit.lock";
/// How long another agent's lock is waited for. They hold it for one write.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far back from the end of a file a whole line is looked for.
const TAIL: u64 = 4 * LONGEST as u64;

/// The file in use, and where its chain ends.
pub(crate) struct Files {
    directory: PathBuf,
    max_size: u64,
    keep: usize,
    current: Option<Current>,
    /// What we know to have been written, whatever the files say.
    end: End,
    /// Whether something was written since the last sync.
    dirty: bool,
}

struct Current {
    file: File,
    identity: (u64, u64),
    /// Its size when we left it.
    size: u64,
    end: End,
}

impl Files {
    pub(crate) fn new(directory: PathBuf, max_size: u64, keep: usize) -> Self {
        Self { directory, max_size, keep: keep.max(1), current: None, end: End::default(), dirty: false }
    }

    /// The number and hash of the last line that we wrote.
    pub(crate) fn end(&self) -> (u64, String) {
        (self.end.seq, self.end.hash.to_string())
    }

    /// Appends entries, all or none.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), AuditError> {
        make_directory(&self.directory)?;
        let _lock = self.lock()?;
        let result = self.append_locked(entries);
        if result.is_err() {
            // Whatever is there now is looked at again.
            self.current = None;
        }
        result
    }

    fn append_locked(&mut self, entries: &[Entry]) -> Result<(), AuditError> {
        let mut current = self.current()?;
        let (mut bytes, mut end) = (Vec::new(), current.end);
        for entry in entries {
            end.append(entry, &mut bytes);
        }
        // What is written at once stays together, so a file may be larger than that if it is the first of it.
        if current.size > 0 && current.size + bytes.len() as u64 > self.max_size {
            match self.follow(&current) {
                Ok(()) => current = self.open(current.end)?,
                Err(error) => tracing::warn!(%error, "the audit's file cannot be followed by another; it grows"),
            }
        }
        let path = self.directory.join(CURRENT);
        if let Err(source) = (&current.file).write_all(&bytes) {
            // Where that cannot be undone, the next line says that this one is torn.
            if let Err(error) = current.file.set_len(current.size) {
                tracing::debug!(%error, "a torn line stays in the audit");
            }
            return Err(AuditError::File { path, source });
        }
        self.dirty = true;
        self.end = end;
        self.current = Some(Current { size: current.size + bytes.len() as u64, end, ..current });
        Ok(())
    }

    /// Has what was written reach the disk.
    pub(crate) fn sync(&mut self) -> Result<(), AuditError> {
        if let Some(current) = self.current.as_ref().filter(|_| self.dirty) {
            let failed = |source| AuditError::File { path: self.directory.join(CURRENT), source };
            current.file.sync_data().map_err(failed)?;
        }
        self.dirty = false;
        Ok(())
    }

    fn lock(&self) -> Result<File, AuditError> {
        let path = self.directory.join(LOCK);
        let file = open(&path, OpenOptions::new().write(true).create(true))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(fs::TryLockError::WouldBlock) => return Err(AuditError::Locked { path }),
                Err(fs::TryLockError::Error(source)) => return Err(AuditError::File { path, source }),
            }
        }
    }

    /// The current file as we left it, or as it is now.
    fn current(&mut self) -> Result<Current, AuditError> {
        let path = self.directory.join(CURRENT);
        if let Some(current) = self.current.take() {
            let data = fs::symlink_metadata(&path).ok();
            if data.is_some_and(|data| (data.dev(), data.ino()) == current.identity && data.len() == current.size) {
                return Ok(current);
            }
        }
        let before = self.newest().map(|path| tail(&path)).transpose()?.unwrap_or_default();
        let current = self.open(before.end)?;
        let tail = if current.size == 0 { before } else { tail(&path)? };
        let mut current = Current { end: tail.end, ..current };
        if tail.is_torn || (!tail.has_end && current.size > 0) {
            current = self.mend(current, &tail)?;
        }
        // What we wrote and is no longer there is missed by what comes: it has the number and hash that follow ours.
        if self.end.seq > current.end.seq {
            current.end = self.end;
        }
        Ok(current)
    }

    /// Opens the current file, which is made at need, where a chain ends like this.
    fn open(&self, end: End) -> Result<Current, AuditError> {
        let path = self.directory.join(CURRENT);
        let file = open(&path, OpenOptions::new().append(true).read(true).create(true))?;
        let data = file.metadata().map_err(|source| AuditError::File { path, source })?;
        Ok(Current { identity: (data.dev(), data.ino()), size: data.len(), end, file })
    }

    /// Goes on behind a line that a crash tore, with one that says so and holds the hash of what is left of it. Where its end alone is
    /// missing, nothing is lost.
    fn mend(&self, current: Current, tail: &Tail) -> Result<Current, AuditError> {
        let mut bytes = Vec::new();
        if !tail.has_end && current.size > 0 {
            bytes.push(b'\n');
        }
        let mut end = End { seq: tail.end.seq, hash: tail.hash };
        if tail.is_torn {
            end.append(&Entry::new(What::Torn), &mut bytes);
            tracing::warn!("the audit's last line was torn, as by a crash or a full disk; it goes on behind it");
        }
        let failed = |source| AuditError::File { path: self.directory.join(CURRENT), source };
        (&current.file).write_all(&bytes).map_err(failed)?;
        Ok(Current { size: current.size + bytes.len() as u64, end, ..current })
    }

    /// Gives the current file its last name, and removes those that are too many.
    fn follow(&self, current: &Current) -> Result<(), AuditError> {
        let path = self.directory.join(CURRENT);
        let failed = |source| AuditError::File { path: path.clone(), source };
        current.file.sync_data().map_err(failed)?;
        let first = first(&path).map_err(failed)?.unwrap_or(current.end.seq);
        let mut name = format!("audit-{first:016}.jsonl");
        while self.directory.join(&name).exists() {
            name.insert(name.len() - ".jsonl".len(), '+');
        }
        fs::rename(&path, self.directory.join(name)).map_err(failed)?;
        // So that the name outlives a power loss.
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let mut names = older(&self.directory)?;
        let many = (names.len() + 1).saturating_sub(self.keep);
        for path in names.drain(..many) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old file of the audit cannot be removed");
            }
        }
        Ok(())
    }

    fn newest(&self) -> Option<PathBuf> {
        older(&self.directory).ok()?.pop()
    }
}

/// The files before the current one, the oldest first.
pub(crate) fn older(directory: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let failed = |source| AuditError::File { path: directory.into(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        let Some(number) = number else { continue };
        let digits = number.trim_end_matches('+');
        if let Ok(first) = digits.parse::<u64>() {
            found.push((first, number.len(), directory.join(name)));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(.., path)| path).collect())
}

/// Opens a file that must be a plain one of ours, and no link to somewhere else.
fn open(path: &Path, options: &mut OpenOptions) -> Result<File, AuditError> {
    let failed = |source| AuditError::File { path: path.into(), source };
    let refused = |why| Err(AuditError::Unsafe { path: path.into(), why });
    let file = match options.mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => return refused("it is a symbolic link"),
        opened => opened.map_err(failed)?,
    };
    let data = file.metadata().map_err(failed)?;
    if !data.is_file() {
        return refused("it is no plain file");
    }
    if data.nlink() > 1 {
        return refused("it has another name too");
    }
    if data.uid() != geteuid().as_raw() || data.mode() & 0o022 != 0 {
        return refused("others may write it");
    }
    Ok(file)
}

/// For its owner alone. What it is in may hold other things, for others to read.
fn make_directory(directory: &Path) -> Result<(), AuditError> {
    let failed = |source| AuditError::File { path: directory.into(), source };
    match fs::metadata(directory) {
        Ok(data) if data.is_dir() => {
            if data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0 {
                return Ok(());
            }
            Err(AuditError::Unsafe { path: directory.into(), why: "others may write there" })
        }
        Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = directory.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
            }
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
                _ => Ok(()),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// How a file ends.
#[derive(Default)]
struct Tail {
    /// Of its last line that is one.
    end: End,
    /// Of what stands last, whatever it is.
    hash: Hash,
    is_torn: bool,
    has_end: bool,
}

fn tail(path: &Path) -> Result<Tail, AuditError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| AuditError::File { path: path.into(), source })?;
    let has_end = bytes.last() == Some(&b'\n');
    let mut lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).rsplit(|byte| *byte == b'\n');
    let last = lines.next().unwrap_or_default();
    let hash = Hash::of(last);
    if let Some(link) = Link::parse(last) {
        return Ok(Tail { end: End { seq: link.seq, hash }, hash, is_torn: false, has_end });
    }
    let whole = lines.find_map(|line| Link::parse(line).map(|link| (line, link)));
    let end = whole.map_or_else(End::default, |(line, link)| End { seq: link.seq, hash: Hash::of(line) });
    Ok(Tail { end, hash, is_torn: !bytes.is_empty(), has_end })
}

/// The number of a file's first line.
fn first(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let mut line = Vec::new();
    io::BufRead::read_until(&mut io::BufReader::new(file.take(LONGEST as u64)), b'\n', &mut line)?;
    Ok(Link::parse(line.strip_suffix(b"\n").unwrap_or(&line)).map(|link| link.seq))
}
