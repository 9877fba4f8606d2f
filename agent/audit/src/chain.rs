//! Lines, each of which holds the hash of the one before.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::entry::Entry;

/// The longest line. Texts are cut, so that all of them together do not come near.
pub(crate) const LONGEST: usize = 64 * 1024;

/// SHA-256 of a line without its end.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn of(line: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, line).as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a chain ends: nowhere yet by default, with nought as the hash of what is before its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct End {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    #[serde(flatten)]
    entry: &'a Entry,
    prev: String,
}

/// What a line says of the chain.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) what: String,
    pub(crate) prev: String,
    #[serde(default)]
    pub(crate) count: Option<u64>,
}

impl End {
    /// Appends an entry as the next line, with its end.
    pub(crate) fn append(&mut self, entry: &Entry, into: &mut Vec<u8>) {
        let line = Line { seq: self.seq.saturating_add(1), entry, prev: self.hash.to_string() };
        let start = into.len();
        if serde_json::to_writer(&mut *into, &line).is_err() {
            // A clock beyond the year 9999: nothing else can fail.
            into.truncate(start);
            return;
        }
        *self = Self { seq: line.seq, hash: Hash::of(&into[start..]) };
        into.push(b'\n');
    }
}

impl Link {
    /// `None` for what is no line of ours.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        if line.len() > LONGEST { None } else { serde_json::from_slice(line).ok() }
    }

    /// Whether it says that the line before is torn.
    pub(crate) fn is_torn(&self) -> bool {
        self.what == "torn"
    }
}
