//! What is measured. A figure measures one contender in one round and gives numbers; it knows nothing of tables.

mod bulk;
mod connect;
mod connections;
mod fresh;
mod latency;
mod memory;
mod requests;
mod start;
mod streams;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::contender::{Contender, Running};
use crate::stage::Stage;

/// Every figure, in the order of the report. One line each.
pub const ALL: &[&dyn Figure] = &[
    &requests::Requests,
    &connections::Connections,
    &latency::Latency,
    &streams::Streams,
    &memory::OpenStreams,
    &memory::ManyRequests,
    &bulk::Bulk,
    &fresh::Fresh,
    &connect::Connect,
    &start::Start,
];

/// Something that is measured, perhaps in several cases and numbers.
pub trait Figure: Sync {
    /// As `--only` calls it.
    fn name(&self) -> &'static str;

    /// What it is, in a sentence for `--help` and the report.
    fn about(&self) -> &'static str;

    /// How many rounds this contender gets; none where the figure does not apply to it.
    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32;

    /// What must be known before the first round, such as what each can bear. Its numbers are shown, too.
    fn prepare(&self, prepare: &Prepare<'_>) -> Result<Vec<Sample>> {
        let _ = prepare;
        Ok(Vec::new())
    }

    /// Starts the contender, measures it once, and stops it.
    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>>;

    /// Numbers that follow from those of several contenders, such as what is added to a direct call. Called once, after all rounds.
    fn derive(&self, samples: &[Sample]) -> Vec<Sample> {
        let _ = samples;
        Vec::new()
    }
}

/// What there is before a figure's first round.
pub struct Prepare<'a> {
    /// Where.
    pub stage: &'a Stage,
    /// Who will be measured.
    pub contenders: &'a [&'static dyn Contender],
    /// How thoroughly.
    pub effort: Effort,
    /// What was measured before in this run, by any figure.
    pub samples: &'a [Sample],
}

/// One contender's turn in one round.
pub struct Round<'a> {
    /// Where.
    pub stage: &'a Stage,
    /// Who.
    pub contender: &'a dyn Contender,
    /// How thoroughly.
    pub effort: Effort,
    /// Which round, from 0.
    pub number: u32,
    /// What was measured before in this run, by any figure.
    pub samples: &'a [Sample],
}

impl Round<'_> {
    /// Starts the contender.
    pub fn start(&self) -> Result<Running> {
        self.contender.start(self.stage)
    }

    /// A number of this round.
    pub fn sample(&self, figure: &'static str, case: impl Into<String>, unit: Unit, value: f64) -> Sample {
        Sample { figure, case: case.into(), contender: self.contender.name(), unit, value, round: self.number }
    }
}

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Less than three minutes in all.
    Quick,
    /// Less than twenty-five.
    Full,
}

impl Effort {
    /// One of two, by the effort.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// What it tells: `requests per core`.
    pub figure: &'static str,
    /// Under which load: `h1, 64 clients, 1 KB`.
    pub case: String,
    /// Of whom.
    pub contender: &'static str,
    /// In which unit.
    pub unit: Unit,
    /// The number.
    pub value: f64,
    /// In which round, from 0.
    pub round: u32,
}

/// The unit of a number, and with it which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests, connections or events a second: more is better.
    PerSecond,
    /// The same, for each second of processor time that the contender used: more is better.
    PerCoreSecond,
    /// Bytes a second: more is better.
    BytesPerSecond,
    /// Bytes for each second of processor time that the contender used: more is better.
    BytesPerCoreSecond,
    /// Time in seconds, shown in fitting units: less is better.
    Seconds,
    /// Memory in bytes, shown in fitting units: less is better.
    Bytes,
    /// A count of what should not be: less is better.
    Count,
    /// A rate that was chosen: tells, and is no merit.
    Rate,
    /// Processors in use, 1 being one of them: tells, and is no merit.
    Cores,
}

impl Unit {
    /// Whether a greater number is the better one; none where neither is.
    pub fn greater_is_better(self) -> Option<bool> {
        match self {
            Self::PerSecond | Self::PerCoreSecond | Self::BytesPerSecond | Self::BytesPerCoreSecond => Some(true),
            Self::Seconds | Self::Bytes | Self::Count => Some(false),
            Self::Rate | Self::Cores => None,
        }
    }
}

/// Those with these names, in the order of the report; all where none is named.
pub fn chosen(names: &[String]) -> Result<Vec<&'static dyn Figure>> {
    for name in names {
        if !ALL.iter().any(|figure| figure.name() == name) {
            let known: Vec<_> = ALL.iter().map(|figure| figure.name()).collect();
            bail!("there is no figure `{name}`; there are {}", known.join(", "));
        }
    }
    Ok(ALL.iter().copied().filter(|one| names.is_empty() || names.iter().any(|name| name == one.name())).collect())
}

/// What each contender's `from` is above that of direct calls in the same round and case, as `to`.
pub fn added(samples: &[Sample], from: &str, to: &'static str) -> Vec<Sample> {
    let of_direct = |sample: &Sample| {
        let same = |one: &&Sample| {
            one.contender == "direct" && one.figure == from && one.case == sample.case && one.round == sample.round
        };
        samples.iter().find(same).map(|one| one.value)
    };
    let others = samples.iter().filter(|sample| sample.figure == from && sample.contender != "direct");
    others
        .filter_map(|sample| {
            let value = sample.value - of_direct(sample)?;
            Some(Sample { figure: to, value, ..sample.clone() })
        })
        .collect()
}
