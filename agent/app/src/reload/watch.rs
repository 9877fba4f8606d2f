use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// How often files are looked at without being told: not every file system tells.
pub(super) const POLL: Duration = Duration::from_secs(10);
/// How long nothing may have changed before files are read.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// How often that is waited for. Files that change all the time are read as they are.
pub(super) const PATIENCE: usize = 20;

/// Links followed from a file to where it is.
const LINKS: usize = 40;

/// How some files are: whatever replaces or changes one of them changes this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let stamp = |file: &PathBuf| {
            let data = std::fs::metadata(file).ok()?;
            Some(Stamp {
                device: data.dev(),
                inode: data.ino(),
                size: data.size(),
                modified: (data.mtime(), data.mtime_nsec()),
                changed: (data.ctime(), data.ctime_nsec()),
            })
        };
        Self(files.iter().map(|file| (file.clone(), stamp(file))).collect())
    }
}

impl Stamps {
    /// These, with what `more` knows of other files.
    pub(crate) fn and(mut self, more: Self) -> Self {
        for (file, stamp) in more.0 {
            if !self.0.iter().any(|(known, _)| *known == file) {
                self.0.push((file, stamp));
            }
        }
        self
    }
}

/// Tells when something in the folders of some files changes. Folders rather than files, because files are replaced by others, and in
/// a Kubernetes ConfigMap a link above them is.
pub(super) struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        let tell = move |event: notify::Result<notify::Event>| {
            // Reading is no change, and we read ourselves.
            let is_change = event.map_or(true, |event| match event.kind {
                EventKind::Access(AccessKind::Close(mode)) => mode == AccessMode::Write,
                EventKind::Access(_) => false,
                _ => true,
            });
            if is_change {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(tell).inspect_err(|error| {
            tracing::warn!(%error, "files are looked at every {POLL:?} only; raise fs.inotify.max_user_instances");
        });
        Self { watcher: watcher.ok(), watched: BTreeSet::new() }
    }

    /// Watches the folders of these files, and no others. To be called again after each change: a folder may have been replaced.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders(file)).collect();
        for gone in self.watched.difference(&wanted) {
            // It ended by itself where the folder is gone.
            watcher.unwatch(gone).ok();
        }
        self.watched = wanted;
        self.watched.retain(|folder| match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, folder = %folder.display(), "not watched; looked at every {POLL:?}");
                false
            }
        });
    }
}

/// The folders in which something can change which file this path leads to: its own, and those of the links on the way.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left: Vec<OsString> = parts(file);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                found.insert(here.clone());
                if target.is_absolute() {
                    here = "/".into();
                }
                left.extend(parts(&target));
            }
            _ if left.is_empty() => {
                found.insert(here.clone());
            }
            _ => here = next,
        }
    }
    found
}

/// The parts of a path, the first last.
fn parts(path: &Path) -> Vec<OsString> {
    use std::path::Component;
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_folders_of_all_links_on_the_way_are_watched() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(root.join("map/..2026")).expect("made");
        std::fs::create_dir_all(root.join("etc")).expect("made");
        std::fs::write(root.join("map/..2026/a.yaml"), "{}").expect("written");
        symlink("..2026", root.join("map/..data")).expect("linked");
        symlink("..data/a.yaml", root.join("map/a.yaml")).expect("linked");
        symlink(root.join("map/a.yaml"), root.join("etc/a.yaml")).expect("linked");
        let expected = ["etc", "map", "map/..2026"].map(|folder| root.join(folder));
        assert_eq!(folders(&root.join("etc/../etc/./a.yaml")), expected.into());
        assert_eq!(folders(&root.join("none.yaml")), [root.clone()].into());
        symlink("loop", root.join("loop")).expect("linked");
        assert_eq!(folders(&root.join("loop")), [root].into());
    }
}
