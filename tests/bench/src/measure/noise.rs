//! How noisy the machine is: work of a known length, timed on each processor, and what the hypervisor took away.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

const TURNS: u64 = 12_000_000;

/// The machine's state around one round.
#[derive(Clone, Debug, Serialize)]
pub struct Noise {
    /// When, in seconds since the run began.
    pub at: f64,
    /// Milliseconds that the same work took, on the load's and the contender's processor.
    pub spin_ms: [f64; 2],
    /// The load average of the last minute.
    pub load: f64,
    /// Part of the processors' time since the last look that the hypervisor gave to others.
    pub stolen: f64,
}

/// Times fixed work on this processor, by a thread of its own.
pub fn spin(cpu: usize) -> Duration {
    let work = move || {
        let mut set = CpuSet::new();
        // Where that processor is not ours to choose, the work is timed where it runs.
        let _chosen = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
        let started = Instant::now();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..TURNS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
        started.elapsed()
    };
    std::thread::spawn(work).join().unwrap_or_default()
}

/// Counts what the hypervisor took, from one look to the next.
#[derive(Default)]
pub struct Steal {
    last: Option<(u64, u64)>,
}

impl Steal {
    /// The part taken since the last look, 0 to 1; 0 at the first one.
    pub fn look(&mut self) -> f64 {
        let Some(now) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse) else { return 0.0 };
        let before = self.last.replace(now).unwrap_or(now);
        let (stolen, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        if all == 0 { 0.0 } else { stolen as f64 / all as f64 }
    }
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Stolen and all ticks (proc(5), `/proc/stat`).
fn parse(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Guest time, after the eighth, is part of user time already.
    Some((*ticks.get(7)?, ticks.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        assert_eq!(parse("cpu  10 0 20 60 0 0 0 10 5 0\ncpu0 1 2\n"), Some((10, 100)));
        assert_eq!(parse("intr 5\n"), None);
    }

    #[test]
    fn the_spin_takes_time() {
        assert!(spin(0) > Duration::ZERO);
    }
}
