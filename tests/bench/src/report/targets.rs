//! The targets of the project, and whether this run met them.

use serde::Serialize;

use super::row::Row;
use super::unit;
use crate::figure::Unit;

const OURS: &str = "tollgate";

/// Something that Tollgate shall reach.
pub struct Target {
    /// Which numbers.
    pub figure: &'static str,
    /// In which case.
    pub case: &'static str,
    /// What must hold.
    pub rule: Rule,
}

/// What must hold for Tollgate's median.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// At least so many times this one's.
    AtLeast(f64, &'static str),
    /// At most so many times this one's.
    AtMost(f64, &'static str),
    /// At most this much more than this one's.
    AtMostOver(Unit, f64, &'static str),
    /// At most this.
    NoMoreThan(Unit, f64),
    /// Better than this one's.
    Better(&'static str),
    /// Not to be told from this one's: the ranges of the rounds overlap.
    WithinNoise(&'static str),
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// Every target, one line each.
const ALL: &[Target] = &[
    target("requests per core", "h1, 64 clients, 1 KB", Rule::AtLeast(1.0, "haproxy")),
    target("requests per core", "h1, 64 clients, 1 KB", Rule::AtLeast(1.2, "nginx")),
    target("requests per core", "h1, 64 clients, 1 KB", Rule::AtLeast(1.5, "envoy")),
    target("requests per core", "h1, 64 clients, 1 KB", Rule::AtLeast(20.0, "mitmproxy")),
    target("requests per core", "h2, 64 clients, 1 KB", Rule::AtLeast(1.0, "haproxy")),
    target("requests per core", "h2, 64 clients, 1 KB", Rule::AtLeast(1.2, "nginx")),
    target("requests per core", "h2, 64 clients, 1 KB", Rule::AtLeast(1.5, "envoy")),
    target("requests per core", "h2, 64 clients, 1 KB", Rule::AtLeast(20.0, "mitmproxy")),
    target("added latency p50", "a third of saturation", Rule::AtMost(1.0, "haproxy")),
    target("added latency p99", "a third of saturation", Rule::AtMost(1.2, "haproxy")),
    target("processor time per event", "h1, 8 streams of 500 at full speed", Rule::AtMost(1.2, "haproxy")),
    target("processor time per event", "h1, 100 streams of 50/s", Rule::AtMost(1.2, "haproxy")),
    target("added time to first event, p50", "h1, 1 stream", Rule::AtMostOver(Unit::Seconds, 100e-6, "haproxy")),
    target("added time to first event, p50", "h1, 1 stream", Rule::Better("litellm")),
    target("added time to first event, p50", "h1, 1 stream", Rule::Better("tensorzero")),
    target("memory per open stream (RSS)", "h1, 1000 streams", Rule::NoMoreThan(Unit::Bytes, 40.0 * KIB)),
    target("memory per open stream (RSS)", "h1, 5000 streams", Rule::NoMoreThan(Unit::Bytes, 40.0 * KIB)),
    target("memory with streams open (RSS)", "h1, 5000 streams", Rule::NoMoreThan(Unit::Bytes, 250.0 * MIB)),
    target("time of a fresh process's call, p50", "curl, provider 30 ms away", Rule::Better("direct")),
    target("connects a second", "not a provider, one after the other", Rule::WithinNoise("direct")),
    target("tunnel throughput", "1 connections", Rule::AtLeast(0.9, "haproxy-tcp")),
    target("tunnel throughput", "8 connections", Rule::AtLeast(0.9, "haproxy-tcp")),
    target("start to ready", "the first time", Rule::NoMoreThan(Unit::Seconds, 0.3)),
    target("start to ready", "later", Rule::NoMoreThan(Unit::Seconds, 0.3)),
    target("memory at rest", "resident", Rule::NoMoreThan(Unit::Bytes, 30.0 * MIB)),
];

/// Whether a target was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not.
    Missed,
    /// Its numbers were not measured in this run.
    Unknown,
}

/// What came of a target.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// In words.
    pub target: String,
    /// What was found.
    pub found: String,
    /// Whether that is enough.
    pub verdict: Verdict,
}

const fn target(figure: &'static str, case: &'static str, rule: Rule) -> Target {
    Target { figure, case, rule }
}

/// What came of all targets in this run.
pub(super) fn judge(rows: &[Row]) -> Vec<Outcome> {
    ALL.iter().map(|target| target.judge(rows)).collect()
}

impl Target {
    fn judge(&self, rows: &[Row]) -> Outcome {
        let row = rows.iter().find(|row| (row.figure, row.case.as_str()) == (self.figure, self.case));
        let target = format!("{} ({}) {}", self.figure, self.case, self.rule.words());
        match row.and_then(|row| self.rule.hold(row)) {
            Some((Some(true), found)) => Outcome { target, found, verdict: Verdict::Met },
            Some((Some(false), found)) => Outcome { target, found, verdict: Verdict::Missed },
            Some((None, found)) => Outcome { target, found, verdict: Verdict::Unknown },
            None => Outcome { target, found: "not measured".into(), verdict: Verdict::Unknown },
        }
    }
}

impl Rule {
    fn words(self) -> String {
        match self {
            Self::AtLeast(times, whose) => format!("≥ {times} × {whose}'s"),
            Self::AtMost(times, whose) => format!("≤ {times} × {whose}'s"),
            Self::AtMostOver(unit, more, whose) => format!("≤ {} over {whose}'s", unit::show(unit, more)),
            Self::NoMoreThan(unit, most) => format!("≤ {}", unit::show(unit, most)),
            Self::Better(whose) => format!("better than {whose}'s"),
            Self::WithinNoise(whose) => format!("not to be told from {whose}'s"),
        }
    }

    /// Whether it holds, if that can be told, and what was found; none without numbers.
    fn hold(self, row: &Row) -> Option<(Option<bool>, String)> {
        let ours = row.of(OURS)?;
        let own = unit::show(row.unit, ours.median);
        match self {
            Self::AtLeast(times, whose) | Self::AtMost(times, whose) => {
                let theirs = row.of(whose)?.median;
                // What is added to a direct call is negative where noise is more than that.
                if theirs <= 0.0 || ours.median <= 0.0 {
                    return Some((None, format!("lost in noise ({own} and {})", unit::show(row.unit, theirs))));
                }
                let holds = match self {
                    Self::AtLeast(..) => ours.median >= times * theirs,
                    _ => ours.median <= times * theirs,
                };
                let ratio = unit::digits(ours.median / theirs);
                Some((Some(holds), format!("{ratio} × ({own} and {})", unit::show(row.unit, theirs))))
            }
            Self::AtMostOver(_, more, whose) => {
                let over = ours.median - row.of(whose)?.median;
                Some((Some(over <= more), format!("{} over ({own})", unit::show(row.unit, over))))
            }
            Self::NoMoreThan(_, most) => Some((Some(ours.median <= most), own)),
            Self::Better(whose) => {
                let theirs = row.of(whose)?.median;
                let greater = row.unit.greater_is_better()?;
                let holds = if greater { ours.median > theirs } else { ours.median < theirs };
                Some((Some(holds), format!("{own} and {}", unit::show(row.unit, theirs))))
            }
            Self::WithinNoise(whose) => {
                let theirs = row.of(whose)?;
                let overlap = ours.min <= theirs.max && theirs.min <= ours.max;
                let range = |one: &crate::stats::Summary| {
                    format!("{} to {}", unit::show(row.unit, one.min), unit::show(row.unit, one.max))
                };
                Some((Some(overlap), format!("{} and {}", range(ours), range(theirs))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{self, tests::sample};
    use super::*;

    fn verdict(rule: Rule, ours: &[f64], theirs: &[f64]) -> Verdict {
        let of =
            |name, values: &[f64]| values.iter().map(move |value| sample("f", "c", name, *value)).collect::<Vec<_>>();
        let rows = row::of(&[of(OURS, ours), of("haproxy", theirs)].concat(), &[OURS, "haproxy"]);
        target("f", "c", rule).judge(&rows).verdict
    }

    #[test]
    fn targets_are_met_or_missed_by_the_medians() {
        use Verdict::{Met, Missed, Unknown};
        for (rule, ours, theirs, expected) in [
            (Rule::AtLeast(1.2, "haproxy"), 12.0, 10.0, Met),
            (Rule::AtLeast(1.2, "haproxy"), 11.9, 10.0, Missed),
            (Rule::AtMost(1.2, "haproxy"), 12.1, 10.0, Missed),
            (Rule::AtMostOver(Unit::Seconds, 1.0, "haproxy"), 11.0, 10.0, Met),
            (Rule::AtMostOver(Unit::Seconds, 0.5, "haproxy"), 11.0, 10.0, Missed),
            (Rule::NoMoreThan(Unit::Seconds, 11.0), 11.0, 10.0, Met),
            (Rule::Better("haproxy"), 11.0, 10.0, Met),
            (Rule::Better("nginx"), 11.0, 10.0, Unknown),
        ] {
            assert_eq!(verdict(rule, &[ours], &[theirs]), expected, "{rule:?}");
        }
        assert_eq!(verdict(Rule::WithinNoise("haproxy"), &[10.0, 12.0], &[9.0, 11.0]), Met);
        assert_eq!(verdict(Rule::WithinNoise("haproxy"), &[10.0, 12.0], &[13.0, 14.0]), Missed);
        assert_eq!(verdict(Rule::AtMost(1.0, "haproxy"), &[10.0], &[]), Unknown);
        assert_eq!(verdict(Rule::AtMost(1.0, "haproxy"), &[10.0], &[-1.0]), Unknown, "noise is no verdict");
    }

    #[test]
    fn a_target_says_what_it_wants_and_what_was_found() {
        let rows = row::of(&[sample("f", "c", OURS, 3.0), sample("f", "c", "haproxy", 2.0)], &[OURS, "haproxy"]);
        let outcome = target("f", "c", Rule::AtLeast(1.0, "haproxy")).judge(&rows);
        assert_eq!(outcome.target, "f (c) ≥ 1 × haproxy's");
        assert_eq!(outcome.found, "1.50 × (3.00/s and 2.00/s)");
    }
}
