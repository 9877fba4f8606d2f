//! Looks whether the lines are those that were written, in a stream and in bounded memory.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::chain::{End, Hash, LONGEST, Link};
use crate::entry::{Entry, What};
use crate::error::AuditError;
use crate::files::{CURRENT, older};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Lines of them.
    pub lines: u64,
    /// The number of the first line. What was before it is gone with old files, if it is not 1.
    pub first: Option<u64>,
    /// The number and hash of the last line. Compared with what was noted elsewhere, they show whether lines at the end are missing.
    pub last: Option<(u64, String)>,
    /// Lines that a crash or a full disk tore; the lines behind them say so.
    pub torn: u64,
    /// Entries that the agent had no room for, as it says itself.
    pub dropped: u64,
    /// Whether the last file ends within a line: it is being written, or was torn and nothing came after.
    pub is_unfinished: bool,
    /// Whether the line that was noted elsewhere stands there as it was noted; none where none was asked for.
    pub is_as_noted: Option<bool>,
    /// Where the lines are not what was written.
    pub broken: Option<Break>,
}

/// A line's number and hash, noted elsewhere at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The number.
    pub line: u64,
    /// The hash, in hexadecimal.
    pub hash: String,
}

impl std::str::FromStr for Noted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it should be a line's number, a colon and 64 hexadecimal digits, as the end of the audit is told in the log";
        let (line, hash) = text.split_once(':').ok_or(wrong)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let line = line.parse().ok().filter(|_| is_hash).ok_or(wrong)?;
        Ok(Self { line, hash: hash.to_ascii_lowercase() })
    }
}

/// The first line that does not go with the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// In which file.
    pub file: PathBuf,
    /// Its number within the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is none that the agent writes.
    Unreadable,
    /// Lines are missing before it.
    Missing {
        /// How many.
        lines: u64,
    },
    /// Its number is not higher than that of the line before.
    Order,
    /// It does not hold the hash of the line before: one of the two was changed.
    Changed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("this is no line that the agent wrote"),
            Self::Missing { lines: 1 } => f.write_str("a line is missing before this one"),
            Self::Missing { lines } => write!(f, "{lines} lines are missing before this one"),
            Self::Order => f.write_str("this line belongs before the one above it, or stands here twice"),
            Self::Changed => f.write_str("this line or the one above it was changed after it was written"),
        }
    }
}

/// Reads all of an audit: of a directory, its files in their order; of a file, that one alone. A line that was noted elsewhere
/// is looked for: that shows what the chain alone cannot, that lines at the end were removed or all was written anew.
pub fn verify(path: &Path, noted: Option<Noted>) -> Result<Report, AuditError> {
    let failed = |source| AuditError::File { path: path.into(), source };
    let mut check = Check::new(noted);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        check.read(path, open(path)?).map_err(failed)?;
        return Ok(check.end());
    }
    // Opened first: an agent may give it another name while the others are listed.
    let current_path = path.join(CURRENT);
    let current = match open(&current_path) {
        Err(error) if error.is_missing() => None,
        opened => Some(opened?),
    };
    let identity = |file: &File| file.metadata().map(|data| (data.dev(), data.ino()));
    let current_identity = current.as_ref().map(identity).transpose().map_err(failed)?;
    let mut older: VecDeque<PathBuf> = older(path)?.into();
    while let Some(path) = older.pop_front() {
        let failed = |source| AuditError::File { path: path.clone(), source };
        let file = match open(&path) {
            // The agent has just removed the oldest.
            Err(error) if error.is_missing() && check.report.files == 0 => continue,
            opened => opened?,
        };
        if Some(identity(&file).map_err(failed)?) == current_identity {
            continue;
        }
        check.read(&path, file).map_err(failed)?;
        if check.report.broken.is_some() {
            return Ok(check.end());
        }
    }
    if let Some(file) = current {
        check.read(&current_path, file).map_err(failed)?;
    }
    if check.report.files == 0 {
        return Err(AuditError::Missing { path: path.into() });
    }
    Ok(check.end())
}

fn open(path: &Path) -> Result<File, AuditError> {
    let failed = |source| AuditError::File { path: path.into(), source };
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(AuditError::Unsafe { path: path.into(), why: "it is no plain file" });
    }
    Ok(file)
}

/// A chain as far as it is read.
#[derive(Default)]
struct Check {
    report: Report,
    end: Option<End>,
    /// A line that is none, which the next one should say is torn.
    torn: Option<(Hash, Break)>,
    noted: Option<Noted>,
}

impl Check {
    fn new(noted: Option<Noted>) -> Self {
        let report = Report { is_as_noted: noted.as_ref().map(|_| false), ..Report::default() };
        Self { report, noted, ..Self::default() }
    }

    fn read(&mut self, path: &Path, from: impl Read) -> io::Result<()> {
        self.report.files += 1;
        let mut from = BufReader::with_capacity(LONGEST, from);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            // One byte more than a line may have, and its end.
            let read = from.by_ref().take(LONGEST as u64 + 2).read_until(b'\n', &mut line)?;
            if read == 0 || self.report.broken.is_some() {
                return Ok(());
            }
            number += 1;
            self.report.lines += 1;
            let place = |why| Break { file: path.into(), line: number, why };
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line, place),
                None if line.len() > LONGEST => self.report.broken = Some(place(Why::Unreadable)),
                None => {
                    self.report.is_unfinished = true;
                    self.torn = Some((Hash::of(&line), place(Why::Unreadable)));
                    // What an agent adds by now would be taken for another line.
                    return Ok(());
                }
            }
        }
    }

    fn line(&mut self, line: &[u8], place: impl Fn(Why) -> Break) {
        let hash = Hash::of(line);
        let Some(link) = Link::parse(line) else {
            if let Some((_, before)) = self.torn.take() {
                self.report.broken = Some(before);
            } else {
                self.torn = Some((hash, place(Why::Unreadable)));
            }
            return;
        };
        if let Some((torn, at)) = self.torn.take() {
            self.report.is_unfinished = false;
            if !link.is_torn() || link.prev != torn.to_string() {
                self.report.broken = Some(at);
                return;
            }
            self.report.torn += 1;
            self.end = self.end.map(|end| End { hash: torn, ..end });
        }
        if let Some(why) = self.wrong(&link) {
            self.report.broken = Some(place(why));
            return;
        }
        self.report.first.get_or_insert(link.seq);
        if link.what == What::Dropped.as_str() {
            self.report.dropped = self.report.dropped.saturating_add(link.count.unwrap_or(0));
        }
        if let Some(noted) = self.noted.as_ref().filter(|noted| noted.line == link.seq) {
            self.report.is_as_noted = Some(noted.hash == hash.to_string());
        }
        self.end = Some(End { seq: link.seq, hash });
    }

    fn wrong(&self, link: &Link) -> Option<Why> {
        let Some(end) = self.end else {
            // What the first of all holds is known. That of another is of a line that is gone.
            let is_first = link.seq == 1 && !link.is_torn();
            return (is_first && link.prev != Hash::default().to_string()).then_some(Why::Changed);
        };
        match link.seq.checked_sub(end.seq) {
            None | Some(0) => Some(Why::Order),
            Some(1) => (link.prev != end.hash.to_string()).then_some(Why::Changed),
            Some(more) => Some(Why::Missing { lines: more - 1 }),
        }
    }

    fn end(mut self) -> Report {
        if let Some((_, at)) = self.torn.take()
            && self.report.broken.is_none()
            && !self.report.is_unfinished
        {
            self.report.broken = Some(at);
        }
        self.report.last = self.end.map(|end| (end.seq, end.hash.to_string()));
        self.report
    }
}

/// [`verify()`] of bytes, for fuzzing.
#[doc(hidden)]
pub fn check_bytes(bytes: &[u8]) -> Report {
    let mut check = Check::default();
    check.read(Path::new("bytes"), bytes).expect("memory does not fail");
    check.end()
}

/// Some lines as they are written, for fuzzing.
#[doc(hidden)]
pub fn example(details: &[&str]) -> Vec<u8> {
    let (mut end, mut bytes) = (End::default(), Vec::new());
    for detail in details {
        end.append(&Entry { detail: Some((*detail).into()), ..Entry::new(What::Refused) }, &mut bytes);
    }
    bytes
}
