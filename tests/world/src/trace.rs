//! Looks for anything that a world left on the machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sched::{CloneFlags, setns};

/// The kernel frees namespaces a moment after their last user.
const PATIENCE: Duration = Duration::from_secs(10);

/// What identifies a world from outside, for looking after its end. Made by [`World::trace`](crate::World::trace).
#[derive(Clone, Debug)]
pub struct Trace {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) directory: PathBuf,
}

impl Trace {
    /// The trace of a world in another process, by its name (`tollgate-world-<pid>-<n>`), cgroup and directory.
    pub fn of(name: &str, cgroup: &Path, directory: &Path) -> Self {
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        Self {
            name: name.to_owned(),
            interface: format!("w{number}"),
            cgroup: cgroup.to_owned(),
            directory: directory.to_owned(),
        }
    }

    /// The world's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The world's cgroup.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The world's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Panics, listing what is left of the world: cgroup, processes, directory, mounts or network namespaces.
    ///
    /// Namespaces are looked for in every thread and open file of the machine, so this needs root.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left by {}:\n{}", self.name, left.join("\n"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What there is of the world now, one line each.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for path in [&self.cgroup, &self.directory] {
            if path.exists() {
                left.push(format!("directory {}", path.display()));
            }
        }
        let mut networks: HashMap<PathBuf, PathBuf> = HashMap::new();
        for task in tasks() {
            self.look_at_task(&task, &mut left, &mut networks);
        }
        for (identity, path) in networks {
            if interfaces(&path).is_some_and(|text| text.contains(&format!("{}:", self.interface))) {
                left.push(format!("network namespace {} held by {}", identity.display(), path.display()));
            }
        }
        left
    }

    fn look_at_task(&self, task: &Path, left: &mut Vec<String>, networks: &mut HashMap<PathBuf, PathBuf>) {
        // Everything may vanish while we look, which is what we hope for.
        let text = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
        if names(&text("cgroup"), &self.name) {
            left.push(format!("process {} in the cgroup: {}", task.display(), text("comm").trim()));
        }
        if names(&text("mountinfo"), &self.name) {
            left.push(format!("mount namespace of {}: {}", task.display(), text("comm").trim()));
        }
        let held = fs::read_dir(task.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in held.chain([task.join("ns/net")]) {
            if let Ok(identity) = fs::read_link(&path)
                && identity.to_string_lossy().starts_with("net:[")
            {
                networks.entry(identity).or_insert(path);
            }
        }
    }
}

/// Whether `text` has the world's name, and not just one that starts like it (`…-1` and `…-10`).
fn names(text: &str, name: &str) -> bool {
    text.split(name).skip(1).any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Every thread on the machine.
fn tasks() -> Vec<PathBuf> {
    let numbered = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.file_name().is_some_and(is_number)).collect()
    };
    numbered(Path::new("/proc")).iter().flat_map(|process| numbered(&process.join("task"))).collect()
}

fn is_number(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
}

/// The interfaces of the network namespace behind `path`, seen by a thread that goes in and ends there.
fn interfaces(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let look = move || {
        setns(&file, CloneFlags::CLONE_NEWNET).ok()?;
        fs::read_to_string("/proc/thread-self/net/dev").ok()
    };
    thread::spawn(look).join().ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_name_is_matched_whole() {
        assert!(names("0::/tollgate-world-7-1/client\n", "tollgate-world-7-1"));
        assert!(names("/tollgate-world-7-10 /tollgate-world-7-1", "tollgate-world-7-1"));
        assert!(!names("0::/tollgate-world-7-10/client\n", "tollgate-world-7-1"));
        assert!(!names("", "tollgate-world-7-1"));
    }
}
