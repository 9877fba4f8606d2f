use std::collections::HashMap;
use std::sync::Arc;

use crate::spend::book::{BudgetBook, LimitBook};
use crate::spend::clock::{Clock, nanoseconds};
use crate::spend::meter::Rate;
use crate::{Limit, Policy};

/// Of budgets and limits that the policy names no more, so many are kept, in case it names them again.
const RETIRED: usize = 256;

/// A policy, and where the state of its budgets and limits is.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The policy.
    pub(crate) policy: Arc<Policy>,
    /// In the order of the policy's.
    pub(crate) budgets: Vec<Arc<BudgetBook>>,
    /// In the order of the policy's.
    pub(crate) limits: Vec<Arc<LimitBook>>,
    /// Which policy this is; the first is 0.
    pub(crate) generation: u64,
    pub(crate) clock: Clock,
}

impl Plan {
    /// How fast a limit refills; without meaning for what is counted at once.
    pub(crate) fn rate(&self, limit: &Limit) -> Rate {
        Rate { amount: limit.amount, period: nanoseconds(limit.period).max(1), generation: self.generation }
    }
}

/// The state of all budgets and limits, by name.
#[derive(Debug, Default)]
pub(crate) struct Books {
    budgets: Shelf<BudgetBook>,
    limits: Shelf<LimitBook>,
    policies: u64,
}

impl Books {
    /// Finds the state for a policy, or begins it.
    pub(crate) fn plan(&mut self, policy: Policy, clock: Clock) -> Plan {
        let spec = policy.spec();
        let budgets = spec
            .budgets
            .iter()
            .map(|budget| self.budgets.take(&budget.name, |book| book.fits(budget), || BudgetBook::new(budget)));
        let budgets = budgets.collect();
        let limits = spec
            .limits
            .iter()
            .map(|limit| self.limits.take(&limit.name, |book| book.fits(limit), || LimitBook::new(limit)));
        let limits = limits.collect();
        self.budgets.retire();
        self.limits.retire();
        let generation = self.policies;
        self.policies += 1;
        Plan { policy: Arc::new(policy), budgets, limits, generation, clock }
    }
}

/// Books by name, those in use and those that were.
#[derive(Debug)]
struct Shelf<B> {
    books: HashMap<Arc<str>, Kept<B>>,
    /// Counts policies.
    round: u64,
}

#[derive(Debug)]
struct Kept<B> {
    book: Arc<B>,
    /// The last policy that named it.
    round: u64,
}

impl<B> Default for Shelf<B> {
    fn default() -> Self {
        Self { books: HashMap::new(), round: 0 }
    }
}

impl<B> Shelf<B> {
    /// The book of that name if it fits, or else a new one.
    fn take(&mut self, name: &Arc<str>, fits: impl Fn(&B) -> bool, new: impl Fn() -> B) -> Arc<B> {
        let round = self.round;
        if let Some(kept) = self.books.get_mut(name) {
            if kept.round == round + 1 {
                // Two of one name: each has its own, or a call of both would wait for itself.
                return Arc::new(new());
            }
            if fits(&kept.book) {
                kept.round = round + 1;
                return Arc::clone(&kept.book);
            }
        }
        let book = Arc::new(new());
        self.books.insert(Arc::clone(name), Kept { book: Arc::clone(&book), round: round + 1 });
        book
    }

    /// Ends a round: of the books that were not taken in it, those that were latest in use are kept.
    fn retire(&mut self) {
        self.round += 1;
        let retired = self.books.iter().filter(|(_, kept)| kept.round < self.round);
        let mut retired: Vec<(u64, Arc<str>)> = retired.map(|(name, kept)| (kept.round, Arc::clone(name))).collect();
        retired.sort_unstable();
        for (_, name) in retired.iter().rev().skip(RETIRED) {
            self.books.remove(name);
        }
    }
}
