use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How many groups are looked at in search of one. Nodes have hundreds, some a few thousand.
const MOST: usize = 16_384;

/// Where the cgroup v2 hierarchy is mounted, and which part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    mount_point: PathBuf,
    /// What stands at the mount point, relative to our cgroup namespace: `/` unless only a part is mounted.
    root: String,
}

/// Whether a path that a process tells is the control group that the kernel recorded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Its inode number is the recorded id.
    Same,
    /// It is another group: the process has moved, or the process id was used again.
    Other,
    /// It cannot be seen from here, for example from inside a cgroup namespace.
    Unseen,
}

impl Hierarchy {
    /// From the text of `/proc/self/mountinfo`; `None` where cgroup v2 is not mounted.
    pub(crate) fn find(mountinfo: &str) -> Option<Self> {
        mountinfo.lines().find_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            if source.split(' ').next() != Some("cgroup2") {
                return None;
            }
            let mut fields = mount.split(' ').skip(3);
            let root = unescape(fields.next()?);
            Some(Self { mount_point: unescape(fields.next()?).into(), root })
        })
    }

    /// Compares the path with the id (the kernel's `bpf_get_current_cgroup_id`, which on 64-bit
    /// kernels is the inode number of the group's folder).
    pub(crate) fn check(&self, path: &str, id: u64) -> Check {
        if id == 0 {
            return Check::Unseen;
        }
        match self.folder(path).and_then(|folder| fs::metadata(folder).ok()) {
            Some(folder) if folder.ino() == id => Check::Same,
            Some(_) => Check::Other,
            None => Check::Unseen,
        }
    }

    /// Looks through the tree for the group with this id, breadth first: groups that systemd and engines make are near the root.
    /// The tree is in memory, and small; how much of it is looked at is bounded.
    pub(crate) fn search(&self, id: u64) -> Option<String> {
        let mut folders = VecDeque::from([(self.mount_point.clone(), self.root.trim_end_matches('/').to_owned())]);
        let mut looked_at = 0;
        while let Some((folder, path)) = folders.pop_front() {
            // One that was removed meanwhile has nothing in it.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                looked_at += 1;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let below = format!("{path}/{name}");
                // From the folder itself: the directory's own entry may not tell the number (readdir(3)).
                if entry.metadata().is_ok_and(|folder| folder.ino() == id) {
                    return Some(below);
                }
                if looked_at < MOST {
                    folders.push_back((entry.path(), below));
                }
            }
        }
        None
    }

    /// The folder of a control group; `None` for one outside the mounted part or outside our cgroup
    /// namespace, which the kernel writes with `..`.
    pub(crate) fn folder(&self, path: &str) -> Option<PathBuf> {
        let inside = path.strip_prefix(self.root.trim_end_matches('/'))?;
        let climbs = Path::new(inside).components().any(|part| part.as_os_str() == "..");
        (!climbs).then(|| self.mount_point.join(inside.trim_start_matches('/')))
    }
}

/// Undoes the octal escapes of proc_pid_mountinfo(5): space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_among_other_mounts() {
        let found = Hierarchy::find(
            "30 1 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
             31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             41 30 0:38 / /sys/fs/my\\040cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found, Some(Hierarchy { mount_point: "/sys/fs/my cgroup".into(), root: "/".into() }));
        assert_eq!(Hierarchy::find("garbage\n\n - \n"), None);
    }

    #[test]
    fn a_path_is_the_recorded_group_only_if_the_inode_agrees() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app.slice")).unwrap();
        let id = fs::metadata(folder.path().join("app.slice")).unwrap().ino();
        let hierarchy = Hierarchy { mount_point: folder.path().into(), root: "/".into() };
        assert_eq!(hierarchy.check("/app.slice", id), Check::Same);
        assert_eq!(hierarchy.check("/app.slice", id + 1), Check::Other);
        assert_eq!(hierarchy.check("/gone.slice", id), Check::Unseen);
        assert_eq!(hierarchy.check("/../app.slice", id), Check::Unseen);
        assert_eq!(hierarchy.check("/app.slice", 0), Check::Unseen);

        let part = Hierarchy { mount_point: folder.path().into(), root: "/node".into() };
        assert_eq!(part.check("/node/app.slice", id), Check::Same);
        assert_eq!(part.check("/elsewhere/app.slice", id), Check::Unseen);
    }
}
