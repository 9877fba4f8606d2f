//! The cgroup v2 tree: where it is, where this process is in it, and scopes for children.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Why a cgroup cannot be found or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup v2 file system is mounted.
    #[error(
        "no cgroup v2 file system is mounted; mount one with `mount -t cgroup2 none /sys/fs/cgroup/unified`, or boot \
         with systemd.unified_cgroup_hierarchy=1"
    )]
    NotMounted,
    /// This process is in no cgroup of it that is visible here.
    #[error("this process's cgroup {0:?} is not below the mounted one; run in the host's cgroup namespace")]
    Outside(PathBuf),
    /// A file or directory cannot be used.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where the cgroup v2 file system is mounted.
pub fn root() -> Result<PathBuf, Error> {
    Ok(mount()?.point)
}

/// The directory of the calling process's cgroup.
pub fn own() -> Result<PathBuf, Error> {
    let mount = mount()?;
    let path = Path::new("/proc/self/cgroup");
    let text = fs::read_to_string(path).map_err(file("read", path))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let below = Path::new(own).strip_prefix(&mount.root).map_err(|_outside| Error::Outside(own.into()))?;
    // Joining nothing would add a slash.
    Ok(if below == Path::new("") { mount.point } else { mount.point.join(below) })
}

/// The id that the kernel calls a cgroup by: the inode number of its directory.
pub fn id(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

/// A cgroup of its own, removed when it is dropped.
#[derive(Debug)]
pub struct Scope {
    path: PathBuf,
    id: u64,
}

impl Scope {
    /// Makes a child of a cgroup. The name must be new there.
    pub fn create(parent: &Path, name: &str) -> Result<Self, Error> {
        let path = parent.join(name);
        fs::create_dir(&path).map_err(file("create the cgroup", &path))?;
        let id = id(&path).map_err(file("read", &path))?;
        Ok(Self { path, id })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id that the kernel calls it by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Moves a process in, with all its threads. Sockets it already has stay with its old cgroup.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        let procs = self.procs();
        fs::write(&procs, pid.to_string()).map_err(file("move a process to", &procs))
    }

    /// The file that a child writes `0` to before it executes a program, to start in the cgroup.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

impl Drop for Scope {
    /// Waits a moment for processes that are just ending, moves those that stay to the parent, and removes it.
    fn drop(&mut self) {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match remove(&self.path) {
                Ok(()) => return,
                Err(error) if Instant::now() > patience => {
                    tracing::warn!(cgroup = %self.path.display(), %error, "the cgroup stays behind; remove it with rmdir");
                    return;
                }
                Err(_busy) => {}
            }
            thread::sleep(Duration::from_millis(10));
            if Instant::now() + Duration::from_secs(1) > patience {
                evacuate(&self.path);
            }
        }
    }
}

/// A mounted cgroup v2 file system.
struct Mount {
    /// Which part of the tree is mounted, as seen from this process's cgroup namespace.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

/// The best of the mounted ones: one that shows the whole tree, if there is any.
fn mount() -> Result<Mount, Error> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read(path).map_err(file("read", path))?;
    let mut mounts: Vec<Mount> = text.split(|&byte| byte == b'\n').filter_map(parse_mount).collect();
    mounts.sort_by_key(|mount| mount.root != Path::new("/"));
    mounts.into_iter().next().ok_or(Error::NotMounted)
}

/// A line of mountinfo (proc(5)): `id parent device root point options [tags…] - type source options`.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    fields.find(|field| field == b"-")?;
    (fields.next()? == b"cgroup2").then_some(Mount { root, point })
}

/// Undoes the octal escapes of white space and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Removes a cgroup and those below it; fails while a process is in one of them.
fn remove(path: &Path) -> io::Result<()> {
    for child in children(path) {
        remove(&child)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves every process in a cgroup and those below it to its parent.
fn evacuate(path: &Path) {
    let Some(parent) = path.parent() else { return };
    for child in children(path) {
        evacuate(&child);
    }
    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        // A process that ends meanwhile cannot be moved and need not be.
        if let Err(error) = fs::write(parent.join("cgroup.procs"), pid) {
            tracing::debug!(pid, %error, "the process was not moved out of its cgroup");
        }
    }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_with_their_escapes_undone() {
        let line = br"36 25 0:30 / /sys/fs/my\040cgroup rw,nosuid shared:9 master:1 - cgroup2 none rw";
        let mount = parse_mount(line).expect("a cgroup2 mount");
        assert_eq!((mount.root, mount.point), ("/".into(), "/sys/fs/my cgroup".into()));
        assert!(parse_mount(b"36 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu").is_none());
        for broken in [&b""[..], b"36 25", b"36 25 0:30 / /x rw", b"36 25 0:30 / /x rw -"] {
            assert!(parse_mount(broken).is_none());
        }
    }

    #[test]
    fn this_process_is_somewhere_below_the_root() {
        let (root, own) = (root().expect("a cgroup v2 root"), own().expect("an own cgroup"));
        assert!(own.starts_with(&root) && own.join("cgroup.procs").is_file(), "{own:?} below {root:?}");
        assert!(id(&own).expect("an id") > 0);
    }
}
