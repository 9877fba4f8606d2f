//! Streamed answers: events a second and processor time of each, what is added to the first event and to every other.

use anyhow::{Result, ensure};

use super::{Effort, Figure, Round, Sample, Unit, added};
use crate::contender::Contender;
use crate::load::streams::{self, Load, Outcome};

/// Server-sent events.
pub(super) struct Streams;

/// One load.
struct Case {
    name: &'static str,
    h2: bool,
    /// Streams at a time.
    streams: usize,
    events: u32,
    /// Microseconds between two events; 0 is full speed.
    pace: u64,
    /// Whether it is measured in the quick run, and for contenders that carry little load.
    core: bool,
}

const fn case(name: &'static str, h2: bool, streams: usize, events: u32, pace: u64, core: bool) -> Case {
    Case { name, h2, streams, events, pace, core }
}

/// As fast as people read, or faster: 50 events a second.
const PACE: u64 = 20_000;

const CASES: &[Case] = &[
    // One after another: the time to the first event is that of the path, and not of a queue.
    case("h1, 1 stream", false, 1, 10, 0, true),
    case("h2, 1 stream", true, 1, 10, 0, false),
    case("h1, 8 streams of 500 at full speed", false, 8, 500, 0, true),
    case("h2, 8 streams of 500 at full speed", true, 8, 500, 0, false),
    case("h1, 10 streams of 50/s", false, 10, 100, PACE, false),
    case("h1, 100 streams of 50/s", false, 100, 100, PACE, true),
    case("h2, 100 streams of 50/s", true, 100, 100, PACE, false),
];

const FIRST: &str = "time to first event, p50";
const FIRST_P99: &str = "time to first event, p99";
const DELAY: &str = "delay of an event, p50";
const DELAY_P99: &str = "delay of an event, p99";

impl Figure for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn about(&self) -> &'static str {
        "Streamed answers: events a second, processor time of each, and what is added to the first and to every other"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        match (contender.traits().streams, contender.traits().kind.is_fast()) {
            (false, _) => 0,
            (_, true) => effort.pick(1, 3),
            (_, false) => 1,
        }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let traits = round.contender.traits();
        let all = round.effort == Effort::Full && traits.kind.is_fast();
        let mut samples = Vec::new();
        for case in
            CASES.iter().filter(|case| ((all && round.number == 0) || case.core) && (traits.client_h2 || !case.h2))
        {
            let load = Load {
                h2: case.h2,
                streams: case.streams,
                events: case.events,
                pace: case.pace,
                seconds: round.effort.pick(1.5, 2.0),
                ..Load::default()
            };
            let outcome = streams::run_load(round.stage, &target, &load)?;
            let report = &outcome.report;
            ensure!(report.steady_events > 0, "no event came: {}", report.error.as_deref().unwrap_or("and no error"));
            samples.extend(numbers(round, case, &outcome));
        }
        Ok(samples)
    }

    fn derive(&self, samples: &[Sample]) -> Vec<Sample> {
        let pairs = [
            (FIRST, "added time to first event, p50"),
            (FIRST_P99, "added time to first event, p99"),
            (DELAY, "added delay of an event, p50"),
            (DELAY_P99, "added delay of an event, p99"),
        ];
        pairs.into_iter().flat_map(|(from, to)| added(samples, from, to)).collect()
    }
}

fn numbers(round: &Round<'_>, case: &Case, outcome: &Outcome) -> Vec<Sample> {
    let report = &outcome.report;
    let mut samples = Vec::new();
    let mut add = |figure, unit, value: f64| samples.push(round.sample(figure, case.name, unit, value));
    add("failed streams", Unit::Count, report.failed as f64);
    add("events lost or repeated", Unit::Count, (report.lost + report.repeated) as f64);
    add(FIRST, Unit::Seconds, report.first.p50 / 1e6);
    add(FIRST_P99, Unit::Seconds, report.first.p99 / 1e6);
    if case.streams > 1 {
        add("events a second", Unit::PerSecond, report.events_per_second);
        if let Some(used) = outcome.used {
            add("processor time per event", Unit::Seconds, used.as_secs_f64() / report.steady_events as f64);
        }
    }
    if case.pace > 0 {
        // At full speed an event waits for those before it, and the delay says nothing of the contender.
        add(DELAY, Unit::Seconds, report.delay.p50 / 1e6);
        add(DELAY_P99, Unit::Seconds, report.delay.p99 / 1e6);
    }
    samples
}
