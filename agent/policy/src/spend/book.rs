//! The state of one budget and of one limit, which outlives the policy that names them.

use std::mem::{self, discriminant};
use std::thread;

use parking_lot::Mutex;

use super::groups::Groups;
use super::meter::{Bucket, Gauge, Meter, Rate, Sum};
use crate::sync::Arc;
use crate::window::Bounds;
use crate::{Amount, Budget, Limit, Measure, Window};

/// A budget's state.
#[derive(Debug)]
pub(crate) struct BudgetBook {
    amount: Amount,
    window: Window,
    period: Mutex<Arc<Period>>,
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
        Self { amount: budget.amount, window: budget.window.clone(), period: Mutex::new(Arc::new(period)) }
    }

    /// Whether what was counted so far is what this counts: the same kind of thing, in the same windows.
    pub(crate) fn fits(&self, budget: &Budget) -> bool {
        let kind = |amount| match amount {
            Amount::Money(_) => None,
            Amount::Tokens(_, count) => Some(count),
        };
        kind(self.amount) == kind(budget.amount)
            && self.window.unit == budget.window.unit
            && self.window.zone == budget.window.zone
    }

    /// The window that a moment is in, in seconds of Unix time.
    ///
    /// A clock that goes back opens no fresh window: within the window before, the present one stays; and where it goes back
    /// farther, so that the present one would not end for long, what was spent moves to the window of the new time.
    pub(crate) fn period(&self, now: i64) -> Arc<Period> {
        let mut period = self.period.lock();
        let past = if now >= period.bounds.end {
            Some(mem::replace(&mut *period, Arc::new(self.open(now, Arc::default()))))
        } else if now < period.before {
            let groups = Arc::clone(&period.groups);
            *period = Arc::new(self.open(now, groups));
            None
        } else {
            None
        };
        let present = Arc::clone(&period);
        drop(period);
        if let Some(past) = past {
            forget(past);
        }
        present
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
