use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::Engine;
use crate::Amount;
use crate::spend::amount;

/// How it stands with one group of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetState {
    /// Which budget.
    pub name: Arc<str>,
    /// Whose share of it; empty where all share it.
    pub group: Arc<str>,
    /// How much there is in all.
    pub limit: Amount,
    /// How much of it was spent in this window: US dollars or tokens.
    pub spent: Decimal,
    /// How much of it is set aside for calls on their way.
    pub reserved: Decimal,
    /// When the next window begins.
    pub resets: Timestamp,
}

/// The largest share first, then by place in the policy and by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Of what there is, in millionths.
    share: Reverse<i128>,
    at: usize,
    group: Arc<str>,
    spent: i128,
    reserved: i128,
}

impl Engine {
    /// Calls that wait for room in a limit, now.
    pub fn waiting(&self) -> u64 {
        super::reserve::waiting()
    }

    /// How it stands with budgets: those groups, `most` of them at most, of which the largest share is spent or set aside. A group
    /// that has used nothing is left out. It looks at all groups, so it is for a page that somebody asks for, not for each call.
    pub fn budgets(&self, most: usize, now: Timestamp) -> Vec<BudgetState> {
        let plan = self.plan();
        let spec = &plan.policy.spec().budgets;
        let periods: Vec<_> = plan.budgets.iter().map(|book| book.period(now.as_second())).collect();
        let mut top: BinaryHeap<Rank> = BinaryHeap::new();
        for (at, (budget, period)) in spec.iter().zip(&periods).enumerate() {
            let limit = amount::limit(budget.amount);
            period.groups.each(|group, cell| {
                let (spent, reserved) = cell.sum(|sum| (sum.spent(), sum.reserved())).unwrap_or_default();
                let taken = spent.saturating_add(reserved);
                if taken == 0 {
                    return;
                }
                let share = taken.saturating_mul(1_000_000).checked_div(limit).unwrap_or(i128::MAX);
                let is_in = top.len() < most
                    || top.peek().is_some_and(|last| (Reverse(share), at, group) < (last.share, last.at, &last.group));
                if is_in {
                    top.push(Rank { share: Reverse(share), at, group: Arc::clone(group), spent, reserved });
                }
                if top.len() > most {
                    top.pop();
                }
            });
        }
        let states = top.into_sorted_vec().into_iter().map(|rank| BudgetState {
            name: Arc::clone(&spec[rank.at].name),
            group: rank.group,
            limit: spec[rank.at].amount,
            spent: amount::decimal(rank.spent, spec[rank.at].amount),
            reserved: amount::decimal(rank.reserved, spec[rank.at].amount),
            resets: Timestamp::from_second(periods[rank.at].bounds.end).unwrap_or(Timestamp::MAX),
        });
        states.collect()
    }
}
