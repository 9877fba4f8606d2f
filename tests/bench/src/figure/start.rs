//! From the start of a process to serving, and the memory it has when nobody calls.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::{Contender, Kind};
use crate::measure::of_cgroup;
use crate::stage::CONTENDER_CPU;

/// Start and rest.
pub(super) struct Start;

const READY: &str = "start to ready";

impl Figure for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn about(&self) -> &'static str {
        "From the start to serving, the very first and later ones, and memory at rest some seconds later"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        match contender.traits().kind {
            Kind::Direct => 0,
            Kind::Ours | Kind::Relay => effort.pick(2, 3),
            Kind::Interceptor | Kind::Gateway => effort.pick(0, 1),
        }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        if round.contender.traits().kind == Kind::Ours {
            // An authority is made and a ledger, and then found.
            let folder = round.stage.world.directory().join(format!("start-{}", round.number));
            for case in ["the first time", "later"] {
                samples.push(round.sample(READY, case, Unit::Seconds, start_agent(round, &folder)?.as_secs_f64()));
            }
        }
        let started = Instant::now();
        let target = round.start()?;
        let took = started.elapsed();
        if round.contender.traits().kind != Kind::Ours {
            samples.push(round.sample(READY, "later", Unit::Seconds, took.as_secs_f64()));
        }
        thread::sleep(Duration::from_secs(round.effort.pick(2, 3)));
        let cgroup = target.cgroup.as_deref().context("what is started is in a cgroup")?;
        let memory = of_cgroup(cgroup)?;
        for (case, bytes) in [("resident", memory.rss), ("its share of what is resident (PSS)", memory.pss)] {
            samples.push(round.sample("memory at rest", case, Unit::Bytes, bytes as f64));
        }
        Ok(samples)
    }
}

/// How long it takes by the agent's own log, which has the time of each line: asking it again and again would be coarser.
fn start_agent(round: &Round<'_>, folder: &std::path::Path) -> Result<Duration> {
    let (ca, ledger) = (folder.join("ca"), folder.join("ledger"));
    let config = format!("ca:\n  directory: {}\nledger:\n  directory: {}\n", ca.display(), ledger.display());
    let started = SystemTime::now();
    let agent = round.stage.world.agent_by(&["taskset", "-c", &CONTENDER_CPU.to_string()], &config)?;
    let log = agent.log();
    let ready = ready_at(&log).with_context(|| format!("its log does not tell when it was ready: {log}"))?;
    ready.duration_since(started).context("the clock was set back")
}

fn ready_at(log: &str) -> Option<SystemTime> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line.get("message").and_then(Value::as_str) == Some("ready"))?;
    let time: jiff::Timestamp = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_line() {
        let log = "not JSON\n{\"timestamp\":\"2026-11-23T04:50:00.5Z\",\"level\":\"INFO\",\"message\":\"ready\"}\n";
        let ready = ready_at(log).expect("it is there");
        assert_eq!(ready.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_millis(), 500);
        assert_eq!(ready_at("{\"message\":\"draining\"}"), None);
    }
}
