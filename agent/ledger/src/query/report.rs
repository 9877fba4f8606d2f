use std::cmp::Reverse;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::dimension::Dimension;
use super::filter::Filter;
use crate::totals::Totals;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// What to group by; nothing gives one row.
    pub by: Vec<Dimension>,
    /// Which calls.
    pub filter: Filter,
    /// Where days and hours begin.
    pub zone: TimeZone,
}

/// Totals of settled calls, in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the rows are grouped by.
    pub by: Vec<Dimension>,
    /// In the order of time where that is grouped by, else the dearest first.
    pub rows: Vec<Row>,
    /// Over all rows.
    pub total: Totals,
    /// Calls of these that have not ended, and are in none of the rows.
    pub in_flight: u64,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// A value for each of [`Report::by`]; `None` where it is not known of the call.
    pub key: Vec<Option<Arc<str>>>,
    /// What it adds up to.
    pub totals: Totals,
}

impl Report {
    pub(super) fn new(by: Vec<Dimension>, mut rows: Vec<Row>, in_flight: u64) -> Self {
        let mut total = Totals::default();
        for row in &rows {
            total.merge(&row.totals);
        }
        if by.iter().any(|dimension| dimension.is_time()) {
            rows.sort_by(|a, b| a.key.cmp(&b.key));
        } else {
            let worth = |row: &Row| {
                Reverse((row.totals.cost, row.totals.input.saturating_add(row.totals.output), row.totals.calls))
            };
            rows.sort_by(|a, b| worth(a).cmp(&worth(b)).then_with(|| a.key.cmp(&b.key)));
        }
        Self { by, rows, total, in_flight }
    }
}
