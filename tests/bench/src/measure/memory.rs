//! Memory of a contender: the sum over its processes, each of them by the kernel's own sums.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident, with what is shared counted in every process.
    pub rss: u64,
    /// Resident, with what is shared divided among those who share it.
    pub pss: u64,
    /// Resident and its own alone: what would be free without it.
    pub private: u64,
}

/// The memory of all processes in this cgroup and in those below it.
pub fn of_cgroup(cgroup: &Path) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in processes(cgroup)? {
        // It may have ended meanwhile, and then it has none.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let one = parse(&text);
        sum.rss += one.rss;
        sum.pss += one.pss;
        sum.private += one.private;
    }
    Ok(sum)
}

/// The processes in this cgroup and in those below it.
pub fn processes(cgroup: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![cgroup.to_owned()];
    while let Some(folder) = folders.pop() {
        let file = folder.join("cgroup.procs");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let below = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        folders.extend(below.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    Ok(found)
}

fn parse(text: &str) -> Memory {
    let bytes = |name: &str| -> u64 {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.filter_map(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).sum::<u64>() * 1024
    };
    Memory { rss: bytes("Rss"), pss: bytes("Pss"), private: bytes("Private_Clean") + bytes("Private_Dirty") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_rollup() {
        let text = "00400000-7fff [rollup]\nRss:  2048 kB\nPss:   1024 kB\nPss_Dirty: 7 kB\nPrivate_Clean: 100 kB\nPrivate_Dirty: 412 kB\n";
        assert_eq!(parse(text), Memory { rss: 2 << 20, pss: 1 << 20, private: 512 << 10 });
    }

    #[test]
    fn this_process_has_memory() {
        let text = fs::read_to_string("/proc/self/smaps_rollup").expect("a process may read its own");
        assert!(parse(&text).rss > 100_000);
    }
}
