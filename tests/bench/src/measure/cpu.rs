//! Processor time of a cgroup, which counts every process and thread that ever was in it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Processor time used so far, and when that was read.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Used since the cgroup was made.
    pub used: Duration,
    /// Read at.
    pub at: Instant,
}

/// What all in this cgroup, and in those below it, used so far: `usage_usec` of its `cpu.stat`.
pub fn cpu_time(cgroup: &Path) -> Result<Usage> {
    let file = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let used = usage(&text).with_context(|| format!("{} has no usage_usec", file.display()))?;
    Ok(Usage { used, at: Instant::now() })
}

/// How many processors were busy on average between the two.
pub fn cores_between(before: Usage, after: Usage) -> f64 {
    let wall = after.at.duration_since(before.at).as_secs_f64();
    (after.used.saturating_sub(before.used)).as_secs_f64() / wall.max(f64::EPSILON)
}

fn usage(text: &str) -> Option<Duration> {
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    line.trim().parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_from_the_cgroup() {
        let text = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n";
        assert_eq!(usage(text), Some(Duration::from_millis(1500)));
        assert_eq!(usage("user_usec 5\n"), None);
    }

    #[test]
    fn cores_are_processor_time_by_wall_time() {
        let at = Instant::now();
        let before = Usage { used: Duration::from_secs(3), at };
        let after = Usage { used: Duration::from_secs(4), at: at + Duration::from_secs(2) };
        assert!((cores_between(before, after) - 0.5).abs() < 1e-9);
    }
}
