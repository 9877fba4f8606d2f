//! How noisy the machine is: work of a known length, timed on each processor, and what the hypervisor took away.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use serde::Serialize;

use super::cpu_time;

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
    /// Part of the processors' time since the last round that the hypervisor gave to other machines.
    pub stolen: f64,
    /// Processors that other processes of this machine kept busy since the last round.
    pub others: f64,
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

/// Tells what was taken from a run since the last look: by the hypervisor, and by other processes of this machine.
pub struct Watch {
    cgroup: PathBuf,
    last: Option<Look>,
}

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    ticks: Ticks,
    ours: Duration,
}

/// Ticks of all processors (proc(5), `/proc/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    stolen: u64,
    all: u64,
}

/// Ticks of a second, in all of Linux's interfaces.
const HERTZ: f64 = 100.0;

impl Watch {
    /// Of a run whose processes, but for this one, are in this cgroup and below it.
    pub fn new(cgroup: &Path) -> Self {
        Self { cgroup: cgroup.to_owned(), last: None }
    }

    /// The part of the processors' time that was stolen, 0 to 1, and how many processors others kept busy, since the last look; both 0
    /// at the first one.
    pub fn look(&mut self) -> (f64, f64) {
        let Some(ticks) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse) else { return (0.0, 0.0) };
        let world = cpu_time(&self.cgroup).map(|usage| usage.used).unwrap_or_default();
        let now = Look { at: Instant::now(), ticks, ours: world + own_time() };
        self.last.replace(now).map_or((0.0, 0.0), |before| now.since(&before))
    }
}

impl Look {
    fn since(&self, before: &Self) -> (f64, f64) {
        let ticks = |pick: fn(&Ticks) -> u64| pick(&self.ticks).saturating_sub(pick(&before.ticks)) as f64;
        let wall = self.at.duration_since(before.at).as_secs_f64();
        let ours = self.ours.saturating_sub(before.ours).as_secs_f64();
        let others = (ticks(|ticks| ticks.busy) / HERTZ - ours) / wall.max(f64::EPSILON);
        (ticks(|ticks| ticks.stolen) / ticks(|ticks| ticks.all).max(1.0), others.max(0.0))
    }
}

fn own_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let of = |time: TimeVal| Duration::from_secs_f64(time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    of(usage.user_time()) + of(usage.system_time())
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// User, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen; guests, after those, are part of user already.
fn parse(text: &str) -> Option<Ticks> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let all = ticks.get(..8)?.iter().sum();
    let stolen = ticks[7];
    Some(Ticks { busy: all - ticks[3] - ticks[4] - stolen, stolen, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_by_their_places() {
        let text = "cpu  10 1 20 60 5 2 3 10 5 0\ncpu0 1 2\n";
        assert_eq!(parse(text), Some(Ticks { busy: 36, stolen: 10, all: 111 }));
        assert_eq!(parse("intr 5\n"), None);
    }

    #[test]
    fn what_is_busy_and_not_ours_is_others() {
        let at = Instant::now();
        let look = |seconds, ticks, ours| Look {
            at: at + Duration::from_secs(seconds),
            ticks,
            ours: Duration::from_millis(ours),
        };
        let before = look(0, Ticks { busy: 0, stolen: 0, all: 0 }, 500);
        let after = look(2, Ticks { busy: 300, stolen: 40, all: 400 }, 2500);
        assert_eq!(after.since(&before), (0.1, 0.5));
    }

    #[test]
    fn the_spin_takes_time() {
        assert!(spin(0) > Duration::ZERO);
    }
}
