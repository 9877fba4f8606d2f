//! Journals whose agents are dead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Header, SUFFIX, is_own, read, remove};
use crate::record::Id;
use crate::store::frame::{Frame, encode};

/// How old a file is that never got its name when it is removed.
const NAMELESS: Duration = Duration::from_mins(10);
/// How old the journal of a ledger that no agent comes for is when it is removed. It takes up memory.
const ORPHANED: Duration = Duration::from_hours(30 * 24);

/// All files of one dead agent, locked by us.
pub(in super::super) struct Leftover {
    /// Who wrote them.
    pub(in super::super) instance: Id,
    files: Vec<(PathBuf, File)>,
}

/// The journals of this ledger's dead agents, and the agents that live.
pub(in super::super) fn leftovers(directories: &[PathBuf], header: &Header) -> (Vec<Leftover>, HashSet<Id>) {
    let mut found: BTreeMap<Id, Vec<PathBuf>> = BTreeMap::new();
    // A directory that is not there has none. One that others may write to (they may have been first in /dev/shm) is not
    // believed: its files could tell of calls that never were.
    for directory in directories.iter().filter(|directory| is_own(directory).unwrap_or(false)) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(SUFFIX) => {
                    if let Some(instance) = instance(&path) {
                        found.entry(instance).or_default().push(path);
                    }
                }
                Some("new") if is_old(&path, NAMELESS) && instance(&path).is_some() => remove(&path),
                _ => {}
            }
        }
    }
    let mut alive = HashSet::new();
    let mut dead = Vec::new();
    for (instance, paths) in found {
        match lock(paths) {
            // A living agent was just turning to another file, or somebody else has settled this one.
            Locked::All(files) if files.is_empty() => {
                alive.insert(instance);
            }
            Locked::All(files) if files.iter().all(|(_, file)| belongs(file, header)) => {
                dead.push(Leftover { instance, files });
            }
            Locked::All(others) => {
                others.iter().filter(|(path, _)| is_old(path, ORPHANED)).for_each(|(path, _)| remove(path));
            }
            Locked::Held => {
                alive.insert(instance);
            }
        }
    }
    (dead, alive)
}

enum Locked {
    All(Vec<(PathBuf, File)>),
    /// At least one is in use.
    Held,
}

fn lock(paths: Vec<PathBuf>) -> Locked {
    let mut files = Vec::new();
    for path in paths {
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            // Another may have read and removed it, since we opened it.
            Ok(()) if file.metadata().is_ok_and(|data| data.nlink() > 0) => files.push((path, file)),
            Ok(()) => {}
            Err(_held) => return Locked::Held,
        }
    }
    Locked::All(files)
}

fn belongs(file: &File, header: &Header) -> bool {
    let mut first = Vec::new();
    let limited = io::Read::take(file, 8192);
    let read = io::BufRead::read_until(&mut BufReader::new(limited), b'\n', &mut first);
    let rewound = io::Seek::rewind(&mut &*file);
    read.is_ok() && rewound.is_ok() && serde_json::from_slice::<Header>(&first).is_ok_and(|found| found.is_of(header))
}

fn instance(path: &Path) -> Option<Id> {
    let (id, _number) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    Id::parse(id)
}

fn is_old(path: &Path, age: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|data| data.modified());
    changed.ok().and_then(|at| at.elapsed().ok()).is_some_and(|elapsed| elapsed > age)
}

impl Leftover {
    /// All rows that it tells of: those that ended as they did, the others as lost.
    pub(in super::super) fn rows(&self, mut row: impl FnMut(&Frame<'_>)) -> io::Result<()> {
        let mut open = HashMap::new();
        let mut ended = HashSet::new();
        let mut last = SystemTime::UNIX_EPOCH;
        for (_, file) in &self.files {
            last = last.max(file.metadata()?.modified()?);
            io::Seek::rewind(&mut &*file)?;
            read(file, &mut open, |closed| {
                ended.insert(closed.id);
                row(closed);
            })?;
        }
        let mut bytes = Vec::new();
        for (_, opened) in open.into_iter().filter(|(id, _)| !ended.contains(id)) {
            let Some(lost) = Frame::next(&mut &opened[..]).and_then(|frame| frame.row()).map(|row| row.lost(last))
            else {
                continue;
            };
            bytes.clear();
            encode(&lost, &mut bytes);
            if let Some(frame) = Frame::next(&mut &bytes[..]) {
                row(&frame);
            }
        }
        Ok(())
    }

    /// Removes the files: all that they tell is in the ledger.
    pub(in super::super) fn remove(self) {
        for (path, _locked) in &self.files {
            remove(path);
        }
    }
}
