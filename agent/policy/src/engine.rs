use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::spend::amount;
use crate::spend::book::Spent;
use crate::spend::clock::Clock;
use crate::{Charge, Named, Notice, Policy};

mod decide;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod reservation;
pub(crate) mod reserve;
mod status;
#[cfg(test)]
mod tests;

use plan::{Books, Plan};
pub use reservation::Reservation;
pub use status::BudgetState;

/// The policy in force, and what was spent. Shared by all connections.
///
/// A budget is exceeded by no more than its calls in flight use beyond what they reserved, added up; and not at all where the
/// input's estimate and the largest answer are upper bounds of what calls use.
#[derive(Debug)]
pub struct Engine {
    plan: Mutex<Arc<Plan>>,
    /// What the policy has to know, for those who ask at each call, also where there is no policy at all.
    needs: AtomicU8,
    /// Held while a policy is put in force.
    books: Mutex<Books>,
    clock: Clock,
}

/// Which budgets and limits a call is of, by their place in the [`crate::Spec`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matching {
    /// Budgets, in their order.
    pub(crate) budgets: Vec<u32>,
    /// Limits, in their order.
    pub(crate) limits: Vec<u32>,
}

/// What [`Engine::decide`] hands on to [`Decided::reserve`].
#[derive(Debug)]
pub(crate) struct Admission {
    /// What was in force when it was decided.
    pub(crate) plan: Arc<Plan>,
    /// What has to have room.
    pub(crate) matching: Matching,
    /// The time of the decision.
    pub(crate) when: Moment,
}

/// A time, from which others can be told without asking the clock on the wall again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    wall: Timestamp,
    /// By the clock that never goes back.
    monotonic: u64,
}

impl Moment {
    /// The time by now, by both clocks.
    pub(crate) fn now(self, clock: Clock) -> (Timestamp, u64) {
        let now = clock.now();
        let passed = Duration::from_nanos(now.saturating_sub(self.monotonic));
        (
            self.wall
                .saturating_add(SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX))
                .unwrap_or(Timestamp::MAX),
            now,
        )
    }
}

impl Admission {
    pub(crate) fn new(plan: Arc<Plan>, matching: Matching, now: Timestamp) -> Self {
        let when = Moment { wall: now, monotonic: plan.clock.now() };
        Self { plan, matching, when }
    }
}

/// What a policy has to know of a call before it can decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Needs {
    /// There is a policy at all.
    pub anything: bool,
    /// Something hangs on what stands in bodies: model, stream, end user, output tokens.
    pub body: bool,
    /// Something hangs on what a call may cost or use: [`Ask`](crate::Ask).
    pub ask: bool,
    /// An answer may be cut on its way.
    pub cut: bool,
}

impl Needs {
    fn bits(self) -> u8 {
        let Self { anything, body, ask, cut } = self;
        [anything, body, ask, cut].into_iter().rev().fold(0, |bits, need| bits << 1 | u8::from(need))
    }

    fn of(bits: u8) -> Self {
        let has = |bit: u8| bits >> bit & 1 == 1;
        Self { anything: has(0), body: has(1), ask: has(2), cut: has(3) }
    }
}

/// A call that may go on as far as rules are concerned.
#[derive(Debug)]
pub struct Decided {
    /// What the caller is called.
    pub named: Named,
    /// The most output tokens that may be asked for: where the request asks for more or does not say, it is to be edited.
    pub clamp: Option<u64>,
    /// How many tokens an answer is taken to have at most, where nobody says.
    pub assumed_output_tokens: u64,
    /// What is worth telling.
    pub notices: Vec<Notice>,
    /// What is to be reserved in.
    pub(crate) admission: Admission,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Engine {
    /// With a first policy, and nothing spent.
    pub fn new(policy: Policy) -> Self {
        let (mut books, clock) = (Books::default(), Clock::default());
        let plan = books.plan(policy, clock);
        let needs = AtomicU8::new(plan.policy.needs().bits());
        Self { plan: Mutex::new(Arc::new(plan)), needs, books: Mutex::new(books), clock }
    }

    /// Puts another policy in force for calls from now on; those that were decided on are finished by the old one.
    ///
    /// What was spent stays with budgets and limits of the same name, whatever else changes, with these exceptions: a budget that
    /// counts something else (money, or other tokens) or in other windows (unit or time zone) begins anew, and so does a limit
    /// that counts something else. Where a limit's amount or period changes, what was used stays used. Where `per` changes,
    /// groups are others, and have spent nothing. What a policy no longer names is kept for a while, in case a later one does.
    pub fn replace(&self, policy: Policy) {
        let mut books = self.books.lock();
        let plan = Arc::new(books.plan(policy, self.clock));
        let needs = plan.policy.needs().bits();
        let before = mem::replace(&mut *self.plan.lock(), plan);
        self.needs.store(needs, Ordering::Release);
        // Large as it may be, it is dropped when nobody waits for the lock.
        drop(before);
    }

    /// What is in force.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.plan.lock().policy)
    }

    /// Takes note of what was spent before, as the ledger has it. Adds up. What was spent in windows that have ended, or of budgets
    /// that the policy does not name, is passed over; windows that have not begun by this clock, which may not be set yet, are
    /// kept until they do.
    pub fn restore(&self, charges: impl IntoIterator<Item = Charge>) {
        self.restore_at(charges, Timestamp::now());
    }

    pub(crate) fn restore_at(&self, charges: impl IntoIterator<Item = Charge>, now: Timestamp) {
        let plan = self.plan();
        let budgets: HashMap<_, _> = plan.policy.spec().budgets.iter().map(|b| &b.name).zip(0..).collect();
        for charge in charges {
            let Some(&at) = budgets.get(&charge.budget) else { continue };
            let at: usize = at;
            let budget = &plan.policy.spec().budgets[at];
            // Tokens are no dollars: it has come to count something else since.
            if charge.counts != budget.amount.counts() {
                continue;
            }
            let amount = amount::whole(charge.amount, budget.amount);
            let spent = Spent { group: charge.group, window: charge.window, amount };
            plan.budgets[at].restore(spent, now.as_second());
        }
    }
}
