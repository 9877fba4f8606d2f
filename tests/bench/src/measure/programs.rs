//! What the kernel programs of a process cost, by the kernel's own count (`kernel.bpf_stats_enabled`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Counting, as long as this lives. It costs each run of each program some ten nanoseconds.
pub struct Counting {
    before: String,
}

impl Counting {
    /// Has the kernel count.
    pub fn start() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Left on, it would cost what is measured next; who started with it on has it on again.
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            eprintln!("{SWITCH} stays on: {error}");
        }
    }
}

/// How often a program ran, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs.
    pub count: u64,
    /// Nanoseconds.
    pub time: u64,
}

impl Runs {
    /// Seconds of each run since `before`; none where there was no run.
    pub fn mean_since(self, before: Self) -> Option<f64> {
        let count = self.count.checked_sub(before.count).filter(|count| *count > 0)?;
        Some(self.time.saturating_sub(before.time) as f64 / 1e9 / count as f64)
    }
}

/// The programs that this process has attached to cgroups, by the number of their hook (`enum bpf_attach_type` of linux/bpf.h).
pub fn programs(pid: u32) -> Result<BTreeMap<u32, Runs>> {
    let (mut hooks, mut runs) = (BTreeMap::new(), BTreeMap::new());
    let folder = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries.flatten() {
        // It may have been closed meanwhile.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let Some(program) = number(&text, "prog_id") else { continue };
        if let Some(hook) = number(&text, "attach_type") {
            hooks.insert(program, hook as u32);
        } else if let (Some(count), Some(time)) = (number(&text, "run_cnt"), number(&text, "run_time_ns")) {
            runs.insert(program, Runs { count, time });
        }
    }
    Ok(hooks.into_iter().filter_map(|(program, hook)| Some((hook, *runs.get(&program)?))).collect())
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_program_is_read() {
        let text = "pos:\t0\nprog_type:\t18\nprog_id:\t123\nrun_time_ns:\t4500\nrun_cnt:\t3\n";
        assert_eq!((number(text, "prog_id"), number(text, "run_cnt")), (Some(123), Some(3)));
        assert_eq!(number(text, "run"), None, "a name is a whole one");
    }

    #[test]
    fn the_mean_is_over_what_is_new() {
        let (before, after) = (Runs { count: 10, time: 9_000 }, Runs { count: 12, time: 10_000 });
        assert_eq!(after.mean_since(before), Some(500e-9));
        assert_eq!(after.mean_since(after), None);
    }
}
