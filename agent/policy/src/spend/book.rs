//! The state of one budget and of one limit, which outlives the policy that names them.

use std::mem::{self, discriminant};
use std::thread;

use parking_lot::Mutex;

use super::groups::{Groups, MOST};
use super::meter::{Bucket, Gauge, Meter, Rate, Sum};
use crate::sync::Arc;
use crate::window::Bounds;
use crate::{Amount, Budget, Limit, Measure, Window};

/// A budget's state.
#[derive(Debug)]
pub(crate) struct BudgetBook {
    amount: Amount,
    window: Window,
    present: Mutex<Present>,
}

#[derive(Debug)]
struct Present {
    period: Arc<Period>,
    /// Of windows that are still to come by this clock: at a start it may be behind, before it is set.
    ahead: Vec<Spent>,
}

/// What was spent before this start.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) group: Arc<str>,
    /// When the window began.
    pub(crate) window: i64,
    pub(crate) amount: i128,
}

/// What was spent in one window.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) bounds: Bounds,
    /// When the window before it began.
    before: i64,
    pub(crate) groups: Arc<Groups>,
}

impl BudgetBook {
    pub(crate) fn new(budget: &Budget) -> Self {
        let never = Bounds { start: i64::MIN, end: i64::MIN };
        let period = Period { bounds: never, before: i64::MIN, groups: Arc::default() };
        let present = Mutex::new(Present { period: Arc::new(period), ahead: Vec::new() });
        Self { amount: budget.amount, window: budget.window.clone(), present }
    }

    /// Whether what was counted so far is what this counts: the same kind of thing, in the same windows.
    pub(crate) fn fits(&self, budget: &Budget) -> bool {
        self.amount.counts() == budget.amount.counts()
            && self.window.unit == budget.window.unit
            && self.window.zone == budget.window.zone
    }

    /// The window that a moment is in, in seconds of Unix time.
    ///
    /// A clock that goes back opens no fresh window: within the window before, the present one stays; and where it goes back
    /// farther, so that the present one would not end for long, what was spent moves to the window of the new time.
    pub(crate) fn period(&self, now: i64) -> Arc<Period> {
        let mut present = self.present.lock();
        if now >= present.period.bounds.end {
            let opened = Arc::new(self.open(now, Arc::default()));
            present.ahead.retain(|spent| {
                if spent.window == opened.bounds.start {
                    opened.restore(spent);
                }
                spent.window > opened.bounds.start
            });
            let past = mem::replace(&mut present.period, Arc::clone(&opened));
            drop(present);
            forget(past);
            return opened;
        }
        if now < present.period.before {
            let groups = Arc::clone(&present.period.groups);
            present.period = Arc::new(self.open(now, groups));
        }
        Arc::clone(&present.period)
    }

    /// Takes note of what was spent before this start, in the present window or in one to come.
    pub(crate) fn restore(&self, spent: Spent, now: i64) {
        self.period(now);
        let mut present = self.present.lock();
        let start = present.period.bounds.start;
        if spent.window == start {
            present.period.restore(&spent);
        } else if spent.window > start && present.ahead.len() < MOST {
            present.ahead.push(spent);
        }
    }

    fn open(&self, now: i64, groups: Arc<Groups>) -> Period {
        let bounds = self.window.at(now);
        let before = self.window.at(bounds.start.saturating_sub(1)).start;
        Period { bounds, before, groups }
    }

    pub(crate) fn meter() -> Meter {
        Meter::Sum(Sum::default())
    }
}

impl Period {
    fn restore(&self, spent: &Spent) {
        // Sums do not ask for the time.
        let (_, cell) = self.groups.cell(&spent.group, BudgetBook::meter, 0);
        cell.sum(|sum| sum.restore(spent.amount));
    }
}

/// Drops what was spent in the past, elsewhere where it is much: the call that meets a new window does not wait for that.
fn forget(past: Arc<Period>) {
    if past.groups.len() > 1000 {
        // Where no thread can be had, the closure and the past with it are dropped here.
        drop(thread::Builder::new().name("policy-forget".to_owned()).spawn(move || drop(past)));
    }
}

/// A limit's state.
#[derive(Debug)]
pub(crate) struct LimitBook {
    measure: Measure,
    pub(crate) groups: Groups,
}

impl LimitBook {
    pub(crate) fn new(limit: &Limit) -> Self {
        Self { measure: limit.measure, groups: Groups::default() }
    }

    /// Whether what was counted so far is what this counts.
    pub(crate) fn fits(&self, limit: &Limit) -> bool {
        discriminant(&self.measure) == discriminant(&limit.measure)
            && match (self.measure, limit.measure) {
                (Measure::Tokens(before), Measure::Tokens(now)) => before == now,
                _ => true,
            }
    }

    pub(crate) fn meter(limit: &Limit, rate: Rate, now: u64) -> Meter {
        match limit.measure {
            Measure::Requests | Measure::Tokens(_) => Meter::Bucket(Bucket::full(rate, now)),
            Measure::Concurrent | Measure::Streams => Meter::Gauge(Gauge::default()),
        }
    }
}
