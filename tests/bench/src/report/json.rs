//! The report for programs: every sample, and what follows from them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::machine::Machine;
use super::row::Row;
use super::targets::{self, Outcome};
use super::{Entrant, Failure, Report};
use crate::figure::{Effort, Sample};
use crate::measure::Noise;

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Machine,
    quick: bool,
    seconds: u64,
    contenders: &'a [Entrant],
    rows: Vec<Compared<'a>>,
    targets: Vec<Outcome>,
    failures: &'a [Failure],
    noise: &'a [Noise],
    samples: &'a [Sample],
}

/// A row, with Tollgate's median as a multiple of each contender's.
#[derive(Serialize)]
struct Compared<'a> {
    #[serde(flatten)]
    row: &'a Row,
    tollgate_by: BTreeMap<&'static str, f64>,
}

impl<'a> Compared<'a> {
    fn of(row: &'a Row) -> Self {
        let names = row.cells.iter().map(|cell| cell.contender);
        Self { row, tollgate_by: names.filter_map(|name| Some((name, row.ratio("tollgate", name)?))).collect() }
    }
}

pub(super) fn of(report: &Report, rows: &[Row]) -> Result<String> {
    let document = Document {
        machine: &report.machine,
        quick: report.effort == Effort::Quick,
        seconds: report.seconds,
        contenders: &report.contenders,
        rows: rows.iter().map(Compared::of).collect(),
        targets: targets::judge(rows),
        failures: &report.failures,
        noise: &report.noise,
        samples: &report.samples,
    };
    serde_json::to_string_pretty(&document).context("cannot write the results as JSON")
}
