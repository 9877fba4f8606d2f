//! Latency: at a fixed rate that all relays bear with ease, and of a client that is alone.

use std::time::Duration;

use anyhow::Result;

use super::{Effort, Figure, Prepare, Round, Sample, Unit, added, requests};
use crate::contender::{Contender, Kind};
use crate::load::paced;

/// How long a request takes.
pub(super) struct Latency;

/// The case at a fixed rate.
const THIRD: &str = "a third of saturation";
const ALONE: &str = "one client alone";
const CONNECTIONS: u32 = 32;

const PARTS: [(&str, &str); 3] = [
    ("latency p50", "added latency p50"),
    ("latency p99", "added latency p99"),
    ("latency p99.9", "added latency p99.9"),
];

impl Figure for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn about(&self) -> &'static str {
        "What is added to a request's time, at a third of the slowest relay's saturation and for a client alone"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        if contender.traits().kind.is_fast() { effort.pick(2, 4) } else { 1 }
    }

    fn prepare(&self, prepare: &Prepare<'_>) -> Result<Vec<Sample>> {
        requests::saturation_of_each(prepare)
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let time = Duration::from_millis(round.effort.pick(1200, 3000));
        let mut samples = Vec::new();
        let alone = paced::run_load(round.stage, &target, 1, 0.0, time / 2)?;
        samples.extend(told(round, ALONE, &alone));
        // Those of few requests a second could not bear it.
        if let Some(rate) = rate(round.samples).filter(|_| round.contender.traits().kind.is_fast()) {
            let outcome = paced::run_load(round.stage, &target, CONNECTIONS, rate, time)?;
            samples.extend(told(round, THIRD, &outcome));
            samples.push(round.sample("rate", THIRD, Unit::Rate, rate));
            samples.push(round.sample("lateness of the generator p99", THIRD, Unit::Seconds, outcome.late_p99));
        }
        Ok(samples)
    }

    fn derive(&self, samples: &[Sample]) -> Vec<Sample> {
        PARTS.iter().flat_map(|(from, to)| added(samples, from, to)).collect()
    }
}

fn told(round: &Round<'_>, case: &'static str, outcome: &paced::Outcome) -> Vec<Sample> {
    let values = [outcome.p50, outcome.p99, outcome.p999];
    let times = PARTS.iter().zip(values).map(|((figure, _), value)| round.sample(figure, case, Unit::Seconds, value));
    // A thousandth of what a client alone does is a handful of requests, which tells nothing.
    let times = times.filter(|sample| case == THIRD || sample.figure != "latency p99.9");
    let failed = round.sample("failed requests", format!("latency, {case}"), Unit::Count, outcome.failed as f64);
    times.chain([failed]).collect()
}

/// A third of what the slowest relay can do, in whole hundreds. The first numbers of the run decide, so that it is the same for all.
fn rate(samples: &[Sample]) -> Option<f64> {
    let relay = |name: &str| {
        crate::contender::ALL
            .iter()
            .any(|one| one.name() == name && matches!(one.traits().kind, Kind::Relay | Kind::Ours))
    };
    let saturation = samples.iter().filter(|sample| {
        (sample.figure, sample.case.as_str(), sample.round) == ("requests a second", requests::SATURATION, 0)
            && relay(sample.contender)
    });
    let slowest = saturation.map(|sample| sample.value).min_by(f64::total_cmp)?;
    Some((slowest / 3.0 / 100.0).floor().max(1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_a_third_of_the_slowest_relay() {
        let sample = |contender, value, round| Sample {
            figure: "requests a second",
            case: requests::SATURATION.into(),
            contender,
            unit: Unit::PerSecond,
            value,
            round,
        };
        let samples = [
            sample("direct", 900.0, 0),
            sample("tollgate", 9_999.0, 0),
            sample("haproxy", 12_000.0, 0),
            sample("haproxy", 600.0, 1),
        ];
        assert_eq!(rate(&samples), Some(3300.0));
        assert_eq!(rate(&samples[..1]), None);
    }
}
