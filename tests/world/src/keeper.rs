//! Cleans up after a world, also when its process is killed.
//!
//! A small shell holds one end of a pipe. When the other end closes, because the world was dropped or because its
//! process died, it kills what is left in the world's cgroup and removes the cgroup and the directory. So both ways
//! of ending are one code path.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result, bail};

const PREFIX: &str = "tollgate-world-";

/// $1 is the cgroup, $2 the directory. `cat` ends when the pipe closes.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
cat >/dev/null
tries=0
while [ -d "$1" ] && [ "$tries" -lt 500 ]; do
    [ "$tries" -gt 0 ] && sleep 0.02
    echo 1 >"$1/cgroup.kill"
    find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null
    tries=$((tries + 1))
done
rm -rf --one-file-system -- "$2"
[ ! -d "$1" ] && [ ! -d "$2" ]
"#;

/// The name of a world, unique on the machine, and the two places that it takes outside its namespaces.
pub(crate) struct Site {
    /// `tollgate-world-<pid>-<n>`.
    pub(crate) name: String,
    /// The interface name, unique too, within the 15 bytes that the kernel allows.
    pub(crate) interface: String,
    /// The cgroup v2 directory, parent of the client's and the agent's.
    pub(crate) cgroup: PathBuf,
    /// Files: resolv.conf, roots, homes, the agent's state.
    pub(crate) directory: PathBuf,
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl Site {
    /// Removes what dead processes left, starts the keeper, then makes the two directories.
    pub(crate) fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (groups, files) = (cgroup_root()?, env::temp_dir());
        remove_stale(&groups, &files);

        let (pid, count) = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("{PREFIX}{pid}-{count}");
        let (cgroup, directory) = (groups.join(&name), files.join(&name));
        let (keeper, pipe) = keeper(&cgroup, &directory)?;
        let site = Self { interface: format!("w{pid}-{count}"), name, cgroup, directory, keeper, pipe: Some(pipe) };
        for group in [site.cgroup.clone(), site.client_cgroup(), site.agent_cgroup()] {
            fs::create_dir(&group).with_context(|| format!("cannot make the cgroup {}", group.display()))?;
        }
        fs::create_dir(&site.directory).with_context(|| format!("cannot make {}", site.directory.display()))?;
        Ok(site)
    }

    /// Where clients run; the agent's programs are attached here.
    pub(crate) fn client_cgroup(&self) -> PathBuf {
        self.cgroup.join("client")
    }

    /// Where the agent runs, outside its own reach.
    pub(crate) fn agent_cgroup(&self) -> PathBuf {
        self.cgroup.join("agent")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.pipe.take());
        match self.keeper.wait() {
            Ok(status) if status.success() => {}
            other => eprintln!("{} was not cleaned up: {other:?}", self.name),
        }
    }
}

fn keeper(cgroup: &Path, directory: &Path) -> Result<(Child, ChildStdin)> {
    let mut keeper = Command::new("sh")
        .args(["-c", SCRIPT, "tollgate-world-keeper"])
        .args([cgroup, directory])
        // Ctrl-C at the terminal goes to the whole process group; the keeper must outlive it.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start the shell that cleans up after a world")?;
    let pipe = keeper.stdin.take().expect("stdin was piped");
    Ok((keeper, pipe))
}

/// The mount point of cgroup v2: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside cgroup v1 (proc(5), mountinfo).
fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let found = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        mount.split(' ').nth(4)
    });
    match found {
        Some(path) => Ok(PathBuf::from(path)),
        None => bail!("no cgroup v2 is mounted; mount it: `mount -t cgroup2 none /sys/fs/cgroup/unified`"),
    }
}

/// Removes the worlds of processes that no longer exist, whose keeper was killed with them.
fn remove_stale(groups: &Path, files: &Path) {
    let mut stale: Vec<String> = [groups, files].into_iter().flat_map(names).filter(|name| is_stale(name)).collect();
    stale.sort();
    stale.dedup();
    for name in stale {
        // Another test process may be at the same one: what it removed first is no error here.
        if let Ok((mut keeper, pipe)) = keeper(&groups.join(&name), &files.join(&name)) {
            drop(pipe);
            if let Err(error) = keeper.wait() {
                eprintln!("cannot remove the stale world {name}: {error}");
            }
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn is_stale(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_stale() {
        assert!(!is_stale(&format!("{PREFIX}{}-0", process::id())));
        // Beyond the largest process id that Linux gives (2^22).
        assert!(is_stale(&format!("{PREFIX}4294967-0")));
        assert!(!is_stale("tollgate-world-"));
        assert!(!is_stale("system.slice"));
        assert!(!is_stale("tollgate-world-keep-0"));
    }
}
