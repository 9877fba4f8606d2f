use std::fmt;
use std::mem;
use std::sync::Arc;

use super::plan::Plan;
use super::{Moment, refusal};
use crate::spend::amount;
use crate::spend::cell::Cell;
use crate::window::Bounds;
use crate::{Actual, Ask, Budget, Charge, Count, Mode, Notice, OnExhausted, Refused};

/// What was set aside for a call that is on its way. Dropped without being settled, it stays spent.
#[must_use = "what is not settled stays spent"]
#[derive(Default)]
pub struct Reservation {
    /// None where nothing is held.
    pub(crate) plan: Option<Arc<Plan>>,
    pub(crate) held: Vec<Held>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) ask: Ask,
    pub(crate) when: Moment,
}

/// What is held of one cell.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) cell: Arc<Cell>,
    pub(crate) taken: i128,
    pub(crate) of: Of,
}

/// Of what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// A budget, by its place in the policy, and its charge.
    Budget { at: usize, charge: usize, bounds: Bounds },
    /// Of the tokens of a limit.
    Tokens(Count),
    /// Of things at a time.
    Place,
}

impl Reservation {
    /// What it charges, for the ledger.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// What is worth telling by now, such as what observed budgets and limits would have refused. What is taken here is not told
    /// when it is settled.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// Whether a budget that it charges is to cut streams.
    pub fn may_cut(&self) -> bool {
        let Some(plan) = &self.plan else { return false };
        let budgets = &plan.policy.spec().budgets;
        self.held.iter().any(|held| matches!(held.of, Of::Budget { at, .. } if cuts(&budgets[at])))
    }

    /// A stream has used so much by now. The error is a budget that is to cut it.
    ///
    /// What is used beyond what was set aside is set aside too, so that other calls find it gone.
    pub fn used(&mut self, so_far: &Actual) -> Result<(), Refused> {
        let Some(plan) = self.plan.clone() else { return Ok(()) };
        let spec = plan.policy.spec();
        let mut refused = None;
        for held in &mut self.held {
            let Of::Budget { at, charge, bounds } = held.of else { continue };
            let budget = &spec.budgets[at];
            let by = amount::used(budget.amount, budget.unpriced, &self.ask, so_far) - held.taken;
            if by <= 0 {
                continue;
            }
            let has_room = held.cell.sum(|sum| sum.grow(by, amount::limit(budget.amount))).unwrap_or(true);
            held.taken += by;
            let charge = &mut self.charges[charge];
            charge.amount = amount::decimal(held.taken, budget.amount);
            if !has_room && cuts(budget) && refused.is_none() {
                let cut = Notice::Cut { budget: Arc::clone(&budget.name) };
                if !self.notices.contains(&cut) {
                    self.notices.push(cut);
                }
                let contact = spec.contact.as_deref();
                refused = Some(refusal::of_answer(budget, &charge.group, bounds, self.when.now(plan.clock).0, contact));
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The answer is here as a whole. Its place among calls at a time is given back before the caller can know, who may make another
    /// call at once; all else is for [`Self::settle`].
    pub fn leave(&mut self) {
        let Some(plan) = &self.plan else { return };
        self.held.retain(|held| {
            let is_place = matches!(held.of, Of::Place);
            if is_place {
                held.cell.settle(held.taken, 0, plan.clock.now()).wake();
            }
            !is_place
        });
    }

    /// The call has ended: the difference is given back, or charged. Gives what is to stand on the ledger, and what to tell.
    ///
    /// What the provider does not charge for gives all back, save the count of requests. Where a call's client left, it is what is
    /// known, and at least the input as it was estimated.
    pub fn settle(mut self, actual: &Actual) -> (Vec<Charge>, Vec<Notice>) {
        let held = mem::take(&mut self.held);
        let Some(plan) = self.plan.take() else { return (mem::take(&mut self.charges), mem::take(&mut self.notices)) };
        for held in held {
            match held.of {
                Of::Budget { at, charge, .. } => {
                    let budget = &plan.policy.spec().budgets[at];
                    let used = if actual.is_billable {
                        amount::used(budget.amount, budget.unpriced, &self.ask, actual)
                    } else {
                        0
                    };
                    self.charges[charge].amount = amount::decimal(used, budget.amount);
                    if let Some((from, to)) = held.cell.sum(|sum| sum.settle(held.taken, used)) {
                        tell(&mut self.notices, budget, &self.charges[charge].group, from, to);
                    }
                }
                Of::Tokens(count) => {
                    let used = if actual.is_billable { amount::used_tokens(count, &self.ask, actual) } else { 0 };
                    held.cell.settle(held.taken, used, plan.clock.now()).wake();
                }
                Of::Place => held.cell.settle(held.taken, 0, plan.clock.now()).wake(),
            }
        }
        (mem::take(&mut self.charges), mem::take(&mut self.notices))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(plan) = self.plan.take() else { return };
        for held in mem::take(&mut self.held) {
            match held.of {
                Of::Budget { .. } => {
                    held.cell.sum(|sum| sum.keep(held.taken));
                }
                Of::Tokens(_) => {}
                Of::Place => held.cell.settle(held.taken, 0, plan.clock.now()).wake(),
            }
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("charges", &self.charges).finish_non_exhaustive()
    }
}

fn cuts(budget: &Budget) -> bool {
    budget.on_exhausted == OnExhausted::Cut && budget.mode == Mode::Enforce
}

/// Tells of each part of a budget that was passed on the way from one sum to another.
fn tell(notices: &mut Vec<Notice>, budget: &Budget, group: &Arc<str>, from: i128, to: i128) {
    let limit = amount::limit(budget.amount);
    let parts = budget.soft.iter().copied().filter(|part| *part < 100).chain([100]);
    for percent in parts {
        let part = limit.saturating_mul(i128::from(percent));
        if to > from && from.saturating_mul(100) < part && part <= to.saturating_mul(100) {
            let (budget, group, window) = (Arc::clone(&budget.name), Arc::clone(group), budget.window.unit);
            notices.push(Notice::Spent { budget, group, percent, window });
        }
    }
}
