//! Memory: for each stream that is open, and after many requests, where it should be as after few.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::{Contender, Kind, Running};
use crate::load::h2load;
use crate::load::streams::{self, ALL_OPEN, Load};
use crate::load::{self};
use crate::measure::{Memory, of_cgroup};

/// Memory with streams open.
pub(super) struct OpenStreams;

/// Memory after requests.
pub(super) struct ManyRequests;

/// An event a second: a stream that is open and mostly waits.
const PACE: u64 = 1_000_000;
/// More than any run lasts.
const EVENTS: u32 = 100_000;
/// Streams begun a second. Each costs four handshakes in TLS on two processors.
const RAMP: u32 = 300;
/// What is given back after a burst is given back by then.
const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_mins(3);

impl Figure for OpenStreams {
    fn name(&self) -> &'static str {
        "open-streams"
    }

    fn about(&self) -> &'static str {
        "Memory for each open stream that gets an event a second, and in all"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        let traits = contender.traits();
        match traits.kind {
            Kind::Direct => 0,
            _ if !traits.streams => 0,
            Kind::Ours | Kind::Relay => 1,
            Kind::Interceptor | Kind::Gateway => effort.pick(0, 1),
        }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let fast = round.contender.traits().kind.is_fast();
        let counts: &[usize] = match (round.effort, fast) {
            (_, false) => &[100],
            (Effort::Quick, true) => &[1000],
            (Effort::Full, true) => &[100, 1000, 5000],
        };
        let mut samples = Vec::new();
        for &count in counts {
            samples.extend(open(round, count)?);
        }
        Ok(samples)
    }
}

/// A contender that is started for it: memory that others left behind would hide what these streams need.
fn open(round: &Round<'_>, count: usize) -> Result<Vec<Sample>> {
    let target = round.start()?;
    let one = Load { events: 5, seconds: 0.1, ..Load::default() };
    let first = streams::run_load(round.stage, &target, &one)?.report;
    ensure!(first.streams > 0, "no stream came: {}", first.error.as_deref().unwrap_or("and no error"));
    sleep(SETTLE);
    let rest = memory(&target)?;

    let all = Load { streams: count, events: EVENTS, pace: PACE, seconds: 600.0, ramp: RAMP, cut: true, h2: false };
    let process = streams::start(round.stage, &target, &all)?;
    process.wait_for(ALL_OPEN, PATIENCE)?;
    sleep(SETTLE);
    let busy = memory(&target)?;
    process.kill();

    let case = format!("h1, {count} streams");
    let each = |busy: u64, rest: u64| busy.saturating_sub(rest) as f64 / count as f64;
    Ok(vec![
        round.sample("memory per open stream (RSS)", case.as_str(), Unit::Bytes, each(busy.rss, rest.rss)),
        round.sample("memory per open stream (PSS)", case.as_str(), Unit::Bytes, each(busy.pss, rest.pss)),
        round.sample("memory with streams open (RSS)", case.as_str(), Unit::Bytes, busy.rss as f64),
        round.sample("memory with streams open (PSS)", case.as_str(), Unit::Bytes, busy.pss as f64),
        round.sample("memory before streams (RSS)", case.as_str(), Unit::Bytes, rest.rss as f64),
    ])
}

impl Figure for ManyRequests {
    fn name(&self) -> &'static str {
        "many-requests"
    }

    fn about(&self) -> &'static str {
        "Memory after a million requests, compared with after ten thousand: flat or not"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        // Minutes long, so it is for the full run, and for the one whose promise it is.
        u32::from(effort == Effort::Full && contender.traits().kind == Kind::Ours)
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let mut samples = Vec::new();
        let mut sent = 0;
        for total in [10_000_u32, 100_000, 1_000_000] {
            requests(round, &target, total - sent)?;
            sent = total;
            sleep(SETTLE);
            let memory = memory(&target)?;
            let case = format!("after {total} requests");
            samples.push(round.sample("memory after requests (RSS)", case.as_str(), Unit::Bytes, memory.rss as f64));
            samples.push(round.sample("memory after requests (PSS)", case.as_str(), Unit::Bytes, memory.pss as f64));
        }
        Ok(samples)
    }
}

fn requests(round: &Round<'_>, target: &Running, count: u32) -> Result<()> {
    let body = round.stage.file("body.json", &load::chat_body(&target.model, 1000))?;
    let load = h2load::Load { h2: false, clients: 32, streams: 1, body, time: Duration::ZERO, warm_up: Duration::ZERO };
    let program = h2load::command(round.stage, target, &load).arg(format!("--requests={count}"));
    let output = program.timeout(Duration::from_mins(10)).run()?.success()?;
    let text = output.text();
    let all = format!("{count} succeeded");
    ensure!(text.contains(&all), "not every request succeeded: {}", text.lines().nth_back(6).unwrap_or_default());
    Ok(())
}

fn memory(target: &Running) -> Result<Memory> {
    of_cgroup(target.cgroup.as_deref().context("a direct call has no memory")?)
}
