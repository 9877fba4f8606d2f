use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::caller::printable;

/// The kernel appends this to the path of an executable whose file was removed or replaced, as an
/// upgrade does. A file that truly ends so loses the suffix too; nobody is served by telling them apart.
const DELETED: &str = " (deleted)";

/// One process's folder in `/proc`.
pub(crate) struct Process {
    folder: PathBuf,
}

impl Process {
    pub(crate) fn new(proc: &Path, pid: u32) -> Self {
        Self { folder: proc.join(pid.to_string()) }
    }

    /// Clock ticks between boot and the start of the process. With the process id it names a process
    /// for good, since ids are used again.
    pub(crate) fn start_time(&self) -> io::Result<u64> {
        let stat = fs::read(self.folder.join("stat"))?;
        start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Path of the executable. Fails for kernel threads and for processes that have ended.
    pub(crate) fn executable(&self) -> io::Result<PathBuf> {
        let path = fs::read_link(self.folder.join("exe"))?;
        Ok(match path.to_str().and_then(|path| path.strip_suffix(DELETED)) {
            Some(kept) => kept.into(),
            None => path,
        })
    }

    /// The real user id, which is what the kernel programs record.
    pub(crate) fn uid(&self) -> io::Result<u32> {
        let status = fs::read(self.folder.join("status"))?;
        real_uid(&status).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Path in the cgroup v2 hierarchy: the line of hierarchy 0, cgroups(7).
    pub(crate) fn cgroup(&self) -> io::Result<String> {
        let text = fs::read(self.folder.join("cgroup"))?;
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
        line.map(|path| String::from_utf8_lossy(path).into_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Names of the namespaces that decide what a user id means: `user:[4026531837]` and the PID
    /// namespace, which tells containers that share the host's user namespace.
    pub(crate) fn namespaces(&self) -> io::Result<(PathBuf, PathBuf)> {
        Ok((fs::read_link(self.folder.join("ns/user"))?, fs::read_link(self.folder.join("ns/pid"))?))
    }
}

/// The name to show for an executable: its file name.
pub(crate) fn program(executable: &Path) -> Option<std::sync::Arc<str>> {
    executable.file_name().map(|name| printable(&name.to_string_lossy()))
}

/// Field 22 of proc_pid_stat(5). The command in field 2 may hold spaces and parentheses, so counting
/// starts after the last closing one.
fn start_time(stat: &[u8]) -> Option<u64> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(&stat[after + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// First number of the `Uid:` line of proc_pid_status(5).
fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn start_time_is_read_past_a_command_that_imitates_fields() {
        let stat = b"42 (a) S 1 (b) 7) R 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        assert_eq!(start_time(stat), Some(987_654));
    }

    #[test]
    fn real_uid_is_the_first_of_the_four() {
        assert_eq!(real_uid(b"Name:\tUid: 7\nUid:\t1000\t0\t0\t0\nGid:\t1\n"), Some(1000));
    }

    #[test]
    fn a_program_name_with_control_characters_stays_on_one_line() {
        assert_eq!(program(Path::new("/tmp/evil\n\u{1b}[31m")).as_deref(), Some("evil\u{fffd}\u{fffd}[31m"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (start_time(&bytes), real_uid(&bytes));
        }
    }
}
