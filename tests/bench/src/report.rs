//! What a run found, and its forms: table on the terminal, JSON, Markdown, charts.

mod chart;
mod json;
mod machine;
mod markdown;
mod row;
mod table;
mod targets;
mod unit;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::contender::Contender;
use crate::figure::{Effort, Sample};
use crate::measure::Noise;
use machine::Machine;

pub use targets::{Outcome, Rule, Target, Verdict};

/// A run's results.
pub struct Report {
    /// Where it ran.
    machine: Machine,
    /// Who took part.
    contenders: Vec<Entrant>,
    /// How thoroughly.
    effort: Effort,
    /// All numbers.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure>,
    /// The machine around each round.
    pub noise: Vec<Noise>,
    /// How long the run took, in seconds.
    pub seconds: u64,
}

/// One who took part.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// What must be known when its numbers are compared.
    pub(crate) marks: Vec<String>,
}

/// Something that could not be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Who.
    pub contender: &'static str,
    /// What.
    pub figure: &'static str,
    /// Why.
    pub reason: String,
}

impl Report {
    /// An empty one, of this machine and these.
    pub fn new(contenders: &[&'static dyn Contender], effort: Effort) -> Self {
        let entrants = contenders.iter().map(|one| Entrant::of(*one)).collect();
        let machine = Machine::here();
        Self { machine, contenders: entrants, effort, samples: vec![], failures: vec![], noise: vec![], seconds: 0 }
    }

    /// Shows it on the terminal.
    pub fn show(&self) -> Result<()> {
        table::show(self)
    }

    /// Writes `report.json`, `report.md` and a chart for each figure into this folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let charts = folder.join("charts");
        if charts.exists() {
            fs::remove_dir_all(&charts).with_context(|| format!("cannot replace {}", charts.display()))?;
        }
        fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
        let rows = self.rows();
        let drawn = chart::all(&rows);
        for (name, svg) in &drawn {
            write(&charts.join(name), svg)?;
        }
        let names: Vec<&str> = drawn.iter().map(|(name, _)| name.as_str()).collect();
        write(&folder.join("report.json"), &json::of(self, &rows)?)?;
        write(&folder.join("report.md"), &markdown::of(self, &rows, &names))
    }

    fn rows(&self) -> Vec<row::Row> {
        row::of(&self.samples, &self.columns())
    }

    /// The names of all that have numbers, or were to have them: those who took part, and then what figures measured beside them.
    fn columns(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.contenders.iter().map(|one| one.name).collect();
        for sample in &self.samples {
            if !names.contains(&sample.contender) {
                names.push(sample.contender);
            }
        }
        names
    }
}

impl Entrant {
    fn of(contender: &dyn Contender) -> Self {
        let traits = contender.traits();
        let mut marks = Vec::new();
        if !traits.client_tls {
            marks.push("no TLS with clients".to_owned());
        }
        if !traits.upstream_tls {
            marks.push("no TLS with the provider".to_owned());
        }
        if !traits.client_h2 {
            marks.push("no HTTP/2 with clients".to_owned());
        }
        if !traits.streams {
            marks.push("no streams".to_owned());
        }
        if !traits.note.is_empty() {
            marks.push(traits.note.to_owned());
        }
        // One that is not installed has no version; why is told where it could not be started.
        let version = contender.version().unwrap_or_else(|error| format!("version unknown: {error:#}"));
        Self { name: contender.name(), version, marks }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
