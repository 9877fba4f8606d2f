use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use comfy_table::{Cell, CellAlignment, Table, presets};
use parking_lot::Mutex;

use crate::record::Record;
use crate::totals::{Totals, name, thousands};

/// Rows kept apart. A caller may name any model, so beyond this the rest is added up as `other`.
const ROWS: usize = 500;
/// Characters of a name that are shown.
const NAME: usize = 60;

/// Totals of many exchanges by provider and model, and the table of them. Safe to share between threads.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Mutex<BTreeMap<Group, Totals>>,
}

/// What exchanges are added up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// As in [`Record::provider`].
    pub provider: Arc<str>,
    /// As in [`Record::model`]; `-` where none was named.
    pub model: Arc<str>,
}

impl Summary {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one settled exchange.
    pub fn add(&self, record: &Record) {
        let model = record.model().map_or_else(|| Arc::from("-"), Arc::clone);
        let mut group = Group { provider: Arc::clone(&record.provider), model };
        let mut rows = self.rows.lock();
        if rows.len() >= ROWS && !rows.contains_key(&group) {
            group = Group { provider: "other".into(), model: "other".into() };
        }
        rows.entry(group).or_default().merge(&Totals::of(record));
    }

    /// The totals of everything.
    pub fn total(&self) -> Totals {
        let mut total = Totals::default();
        for row in self.rows.lock().values() {
            total.merge(row);
        }
        total
    }

    /// The totals of each group, in the order of the names.
    pub fn rows(&self) -> Vec<(Group, Totals)> {
        self.rows.lock().iter().map(|(group, totals)| (group.clone(), totals.clone())).collect()
    }
}

fn cells(totals: &Totals, provider: &str, model: &str) -> Vec<Cell> {
    let numbers = [totals.calls, totals.errors, totals.input, totals.output, totals.cached, totals.reasoning];
    let names = [name(provider, NAME), name(model, NAME)].map(Cell::new);
    let numbers = numbers.map(thousands).into_iter().chain([totals.cost_text()]);
    names.into_iter().chain(numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right))).collect()
}

/// The table that a person reads at the end, one row a model and a line of totals; plain text, no
/// colour, no line break at the end.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        if rows.is_empty() {
            return f.write_str("no calls to LLM providers were seen");
        }
        let total = self.total();
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let titles = ["Provider", "Model", "Calls", "Errors", "Input", "Output", "Cached", "Reasoning", "Cost"];
        table.set_header(titles.into_iter().enumerate().map(|(column, title)| {
            let side = if column < 2 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(title).set_alignment(side)
        }));
        for (group, row) in &rows {
            table.add_row(cells(row, &group.provider, &group.model));
        }
        table.add_row(cells(&total, "Total", ""));
        f.write_str(&table.trim_fmt())?;
        for note in total.footnotes() {
            write!(f, "\n{note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
