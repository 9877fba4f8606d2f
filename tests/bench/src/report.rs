//! What a run found, and its forms: table, JSON, Markdown, charts.

use std::io::Write as _;

use anyhow::Result;

use crate::figure::Sample;
use crate::measure::Noise;
use crate::stats::Summary;

/// A run's results.
#[derive(Default)]
pub struct Report {
    /// All numbers.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure>,
    /// The machine around each round.
    pub noise: Vec<Noise>,
}

/// Something that could not be measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// Who.
    pub contender: &'static str,
    /// What.
    pub figure: &'static str,
    /// Why.
    pub reason: String,
}

impl Report {
    /// Shows it on the terminal.
    pub fn show(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let mut keys: Vec<(&str, &str, &str)> = Vec::new();
        for sample in &self.samples {
            let key = (sample.figure, sample.case.as_str(), sample.contender);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for (figure, case, contender) in keys {
            let same =
                |sample: &&Sample| (sample.figure, sample.case.as_str(), sample.contender) == (figure, case, contender);
            let numbers: Vec<f64> = self.samples.iter().filter(same).map(|sample| sample.value).collect();
            if let Some(summary) = Summary::of(&numbers) {
                writeln!(out, "{figure}\t{case}\t{contender}\t{} ±{:.0}%", summary.median, summary.spread() * 100.0)?;
            }
        }
        for failure in &self.failures {
            writeln!(out, "FAILED {} {}: {}", failure.contender, failure.figure, failure.reason)?;
        }
        Ok(())
    }
}
