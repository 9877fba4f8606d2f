//! The numbers behind the screen: what ended within the window, what is in flight, and their groups.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use tollgate_ledger::Line;
use tollgate_ledger::query::{Flight, timestamp, workload};

/// Calls that are kept at most. Beyond this the window becomes shorter, not the memory larger.
const SAMPLES: usize = 200_000;

/// What the rows are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Both,
    Workloads,
    Models,
}

/// What the rows are in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Cost,
    Tokens,
    Calls,
    Errors,
    InFlight,
    FirstToken,
    Name,
}

/// One call that has ended.
struct Sample {
    ended: i64,
    workload: Arc<str>,
    model: Arc<str>,
    input: u64,
    output: u64,
    cost: Option<Decimal>,
    /// Whether something was used that is not in the cost.
    incomplete: bool,
    estimated: bool,
    first_token: Option<f64>,
    error: bool,
}

/// One line of the screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    pub(super) workload: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) in_flight: u64,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cost: Decimal,
    pub(super) incomplete: bool,
    pub(super) estimated: bool,
    first_tokens: Vec<f64>,
    /// Median and 95th percentile of the time to the first token, in milliseconds.
    pub(super) first_token: Option<(f64, f64)>,
}

/// All that is known at one moment.
pub(super) struct Board {
    window: Duration,
    samples: VecDeque<Sample>,
    flights: Vec<(Arc<str>, Arc<str>)>,
    /// When the oldest call ended that had to be dropped though it was within the window.
    short: Option<i64>,
}

impl Board {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, samples: VecDeque::new(), flights: Vec::new(), short: None }
    }

    /// Takes in calls that have ended.
    pub(super) fn settle(&mut self, lines: &[Line<'_>]) {
        for line in lines {
            self.samples.push_back(sample(line));
            if self.samples.len() > SAMPLES {
                self.short = self.samples.pop_front().map(|dropped| dropped.ended);
            }
        }
    }

    /// What is in flight now, in place of what was.
    pub(super) fn fly(&mut self, flights: &[Flight]) {
        self.flights = flights
            .iter()
            .map(|flight| {
                let model = flight.model.as_deref().unwrap_or(&flight.operation);
                let (unit, container) = (flight.unit.as_deref(), flight.container.as_deref());
                let workload = workload(&flight.program, unit, container);
                (of_team(flight.team.as_deref(), workload).into(), model.into())
            })
            .collect();
    }

    /// Forgets what ended before the window.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let from = self.from(now);
        // They come in about the order of their ends; a late one stays a moment longer and is left out by `rows`.
        while self.samples.front().is_some_and(|sample| sample.ended < from) {
            self.samples.pop_front();
        }
        self.short = self.short.filter(|short| *short >= from);
    }

    fn from(&self, now: Timestamp) -> i64 {
        now.as_millisecond().saturating_sub(self.window.as_millis() as i64)
    }

    /// What rates are taken over, in seconds.
    pub(super) fn seconds(&self, now: Timestamp) -> f64 {
        let from = self.short.unwrap_or(i64::MIN).max(self.from(now));
        ((now.as_millisecond() - from) as f64 / 1_000.0).max(0.001)
    }

    /// The groups, and all of them together.
    pub(super) fn rows(&self, view: View, order: Order, now: Timestamp) -> (Vec<Row>, Row) {
        let mut groups: HashMap<(&str, &str), Row> = HashMap::new();
        let mut total = Row::default();
        let key = |workload, model| match view {
            View::Both => (workload, model),
            View::Workloads => (workload, ""),
            View::Models => ("", model),
        };
        let from = self.from(now);
        for sample in self.samples.iter().filter(|sample| sample.ended >= from) {
            groups.entry(key(&sample.workload, &sample.model)).or_default().add(sample);
            total.add(sample);
        }
        for (workload, model) in &self.flights {
            groups.entry(key(workload, model)).or_default().in_flight += 1;
            total.in_flight += 1;
        }
        total.measure();
        let mut rows: Vec<Row> = groups
            .into_iter()
            .map(|((workload, model), mut row)| {
                row.measure();
                Row { workload: workload.into(), model: model.into(), ..row }
            })
            .collect();
        rows.sort_by(|a, b| b.compare(a, order).then_with(|| (&a.workload, &a.model).cmp(&(&b.workload, &b.model))));
        (rows, total)
    }
}

impl Row {
    fn add(&mut self, sample: &Sample) {
        self.calls += 1;
        self.errors += u64::from(sample.error);
        self.input = self.input.saturating_add(sample.input);
        self.output = self.output.saturating_add(sample.output);
        self.cost = self.cost.saturating_add(sample.cost.unwrap_or_default());
        self.incomplete |= sample.incomplete;
        self.estimated |= sample.estimated;
        self.first_tokens.extend(sample.first_token);
    }

    fn measure(&mut self) {
        let mut times = std::mem::take(&mut self.first_tokens);
        times.sort_by(f64::total_cmp);
        self.first_token = (!times.is_empty()).then(|| (percentile(&times, 50), percentile(&times, 95)));
    }

    fn compare(&self, other: &Self, order: Order) -> std::cmp::Ordering {
        let tokens = |row: &Self| row.input.saturating_add(row.output);
        match order {
            Order::Cost => self.cost.cmp(&other.cost).then(tokens(self).cmp(&tokens(other))),
            Order::Tokens => tokens(self).cmp(&tokens(other)),
            Order::Calls => self.calls.cmp(&other.calls),
            Order::Errors => self.errors.cmp(&other.errors),
            Order::InFlight => self.in_flight.cmp(&other.in_flight),
            Order::FirstToken => {
                let slow = |row: &Self| row.first_token.map_or(-1.0, |(_, p95)| p95);
                slow(self).total_cmp(&slow(other))
            }
            // Names go up where numbers go down.
            Order::Name => other.model.cmp(&self.model),
        }
    }
}

/// The nearest rank, as it is usual: the smallest value that `percent` of all do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank.min(sorted.len()) - 1]
}

/// A workload with the team that the policy says it is of, if there is one.
fn of_team(team: Option<&str>, workload: String) -> String {
    match team {
        Some(team) => format!("[{team}] {workload}"),
        None => workload,
    }
}

fn sample(line: &Line<'_>) -> Sample {
    let counted = line.input_tokens.is_some();
    let cost = line.cost_usd.as_deref().and_then(|cost| cost.parse().ok());
    let model = line.request_model.as_deref().or(line.response_model.as_deref()).unwrap_or(&line.operation);
    let workload = workload(&line.program, line.unit.as_deref(), line.container.as_deref());
    let ended = timestamp(line.started).as_millisecond().saturating_add(line.duration_ms as i64);
    Sample {
        ended,
        workload: of_team(line.team.as_deref(), workload).into(),
        model: model.into(),
        input: line.input_tokens.unwrap_or(0),
        output: line.output_tokens.unwrap_or(0),
        cost,
        incomplete: counted && (cost.is_none() || line.usage_source == "partial"),
        estimated: counted && line.usage_source == "estimated",
        first_token: line.time_to_first_token_ms,
        error: line.error_type.is_some() && line.outcome != "client_gone",
    }
}
