use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use comfy_table::{Cell, CellAlignment, Table, presets};
use parking_lot::Mutex;
use rust_decimal::Decimal;
use tollgate_llm::UsageSource;

use crate::record::Record;

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

/// What a group of exchanges adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges.
    pub calls: u64,
    /// Those that failed, were refused or answered with an error; a caller that hung up is none.
    pub errors: u64,
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from the provider's cache.
    pub cached: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// US dollars, over the calls whose price is known.
    pub cost: Decimal,
    /// Calls with a token count and no known price.
    pub unpriced: u64,
    /// Calls that were answered and told no token count.
    pub uncounted: u64,
    /// Calls that broke off, counted up to there.
    pub partial: u64,
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
        rows.entry(group).or_default().add(record);
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

impl Totals {
    fn add(&mut self, record: &Record) {
        self.merge(&Self::of(record));
    }

    fn of(record: &Record) -> Self {
        let usage = record.usage.unwrap_or_default();
        let counted = record.usage.is_some();
        Self {
            calls: 1,
            errors: record.is_error().into(),
            input: usage.input,
            output: usage.output,
            cached: usage.cache_read,
            reasoning: usage.reasoning,
            cost: record.cost.unwrap_or_default(),
            unpriced: (counted && record.cost.is_none()).into(),
            uncounted: (!counted && record.is_billable()).into(),
            partial: (counted && record.usage_source == UsageSource::Partial).into(),
        }
    }

    /// A provider may report any number, so sums stop at the largest instead of wrapping.
    fn merge(&mut self, other: &Self) {
        for (sum, value) in [
            (&mut self.calls, other.calls),
            (&mut self.errors, other.errors),
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.cached, other.cached),
            (&mut self.reasoning, other.reasoning),
            (&mut self.unpriced, other.unpriced),
            (&mut self.uncounted, other.uncounted),
            (&mut self.partial, other.partial),
        ] {
            *sum = sum.saturating_add(value);
        }
        self.cost = self.cost.saturating_add(other.cost);
    }

    /// Whether something was used that `cost` does not hold.
    fn is_lower_bound(&self) -> bool {
        self.unpriced + self.uncounted + self.partial > 0
    }

    fn cost_text(&self) -> String {
        match (self.is_lower_bound(), self.cost.is_zero()) {
            (true, true) => "unknown".into(),
            (true, false) => format!("≥ {}", dollars(self.cost)),
            (false, _) => dollars(self.cost),
        }
    }

    fn cells(&self, provider: &str, model: &str) -> Vec<Cell> {
        let numbers = [self.calls, self.errors, self.input, self.output, self.cached, self.reasoning];
        let names = [name(provider), name(model)].map(Cell::new);
        let numbers = numbers.map(thousands).into_iter().chain([self.cost_text()]);
        names.into_iter().chain(numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right))).collect()
    }

    /// Why `cost` is not the whole of it; empty if it is.
    fn caveats(&self) -> Vec<String> {
        [
            (self.unpriced, "at a price that is not known"),
            (self.uncounted, "answered without a token count"),
            (self.partial, "cut short, and counted up to there"),
        ]
        .into_iter()
        .filter(|(calls, _)| *calls > 0)
        .map(|(calls, what)| format!("{} {} {what}", thousands(calls), if calls == 1 { "call" } else { "calls" }))
        .collect()
    }
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
            table.add_row(row.cells(&group.provider, &group.model));
        }
        table.add_row(total.cells("Total", ""));
        f.write_str(&table.trim_fmt())?;
        for (mark, caveat) in std::iter::once("≥").chain(std::iter::repeat(" ")).zip(total.caveats()) {
            write!(f, "\n{mark} {caveat}")?;
        }
        Ok(())
    }
}

/// A name that came from outside, on one line and of bounded width.
fn name(text: &str) -> String {
    let mut short: String = text.chars().take(NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(NAME).is_some() {
        short.push('…');
    }
    short
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    group(&number.to_string())
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four decimals, or six below a cent, where single calls live. Rounded for the eye only.
fn dollars(amount: Decimal) -> String {
    let decimals = if amount < Decimal::new(1, 2) { 6 } else { 4 };
    if amount > Decimal::ZERO && amount < Decimal::new(1, 6) {
        return "< $0.000001".into();
    }
    let text = format!("{:.decimals$}", amount.round_dp(decimals as u32));
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("${}.{fraction}", group(whole))
}

#[cfg(test)]
mod tests;
