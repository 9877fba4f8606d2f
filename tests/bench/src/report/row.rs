//! Samples by what they tell: one row for each figure and case, one cell for each contender.

use serde::Serialize;

use crate::figure::{Sample, Unit};
use crate::stats::Summary;

/// One figure in one case.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) figure: &'static str,
    pub(super) case: String,
    pub(super) unit: Unit,
    pub(super) cells: Vec<Cell>,
}

/// One contender's rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) contender: &'static str,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

impl Row {
    /// A contender's numbers.
    pub(super) fn of(&self, contender: &str) -> Option<&Summary> {
        self.cells.iter().find(|cell| cell.contender == contender).map(|cell| &cell.summary)
    }

    /// One contender's median as a multiple of another's.
    pub(super) fn ratio(&self, contender: &str, to: &str) -> Option<f64> {
        let ratio = self.of(contender)?.median / self.of(to)?.median;
        ratio.is_finite().then_some(ratio)
    }
}

/// The rows, figures in the order in which they were measured, cells in the given order of contenders.
pub(super) fn of(samples: &[Sample], contenders: &[&str]) -> Vec<Row> {
    let mut figures: Vec<&str> = Vec::new();
    let mut keys: Vec<(&'static str, &str, Unit)> = Vec::new();
    for sample in samples {
        if !figures.contains(&sample.figure) {
            figures.push(sample.figure);
        }
        let key = (sample.figure, sample.case.as_str(), sample.unit);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    // Cases of one figure stand together, also where they were measured with others in between.
    keys.sort_by_key(|(figure, ..)| figures.iter().position(|known| known == figure));
    keys.into_iter()
        .map(|(figure, case, unit)| {
            let of_row = |sample: &&Sample| (sample.figure, sample.case.as_str(), sample.unit) == (figure, case, unit);
            let cell = |contender: &&str| {
                let own = samples.iter().filter(of_row).filter(|sample| sample.contender == *contender);
                let name = own.clone().next()?.contender;
                let summary = Summary::of(&own.map(|sample| sample.value).collect::<Vec<_>>())?;
                Some(Cell { contender: name, summary })
            };
            Row { figure, case: case.to_owned(), unit, cells: contenders.iter().filter_map(cell).collect() }
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::report) fn sample(figure: &'static str, case: &str, contender: &'static str, value: f64) -> Sample {
        Sample { figure, case: case.into(), contender, unit: Unit::PerCoreSecond, value, round: 0 }
    }

    #[test]
    fn rounds_become_one_cell_and_cases_of_a_figure_stand_together() {
        let samples = [
            sample("a", "x", "one", 1.0),
            sample("b", "x", "one", 5.0),
            sample("a", "y", "two", 7.0),
            sample("a", "x", "one", 3.0),
            sample("a", "x", "two", 4.0),
        ];
        let rows = of(&samples, &["two", "one"]);
        let names: Vec<_> = rows.iter().map(|row| (row.figure, row.case.as_str())).collect();
        assert_eq!(names, [("a", "x"), ("a", "y"), ("b", "x")]);
        assert_eq!(rows[0].cells[0].contender, "two");
        assert_eq!(rows[0].of("one").map(|summary| (summary.median, summary.count)), Some((2.0, 2)));
        assert_eq!(rows[0].ratio("two", "one"), Some(2.0));
        assert_eq!(rows[1].ratio("two", "one"), None);
    }
}
