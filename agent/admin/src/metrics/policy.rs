use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rust_decimal::prelude::ToPrimitive as _;
use tollgate_policy::{Amount, BudgetState, Mode, Notice};

use super::text::{counters, gauge, gauges};
use crate::labels::{Values, clean};

/// Names of rules, budgets and limits that are told apart. They are the operator's own, and a policy may have many.
const NAMES: usize = 2_000;

type Read = Box<dyn Fn() -> Vec<BudgetState> + Send + Sync>;
type Number = Box<dyn Fn() -> u64 + Send + Sync>;

/// What was decided: kind, name, mode and result.
type Decision = (&'static str, Arc<str>, &'static str, &'static str);

/// What the policy decided, and how it stands with budgets, which is read at each scrape.
pub(super) struct Policy {
    prefix: String,
    names: Values,
    decisions: Mutex<BTreeMap<Decision, u64>>,
    clamps: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    thresholds: Mutex<BTreeMap<(Arc<str>, u8), u64>>,
    budgets: RwLock<Option<Read>>,
    waiting: RwLock<Option<Number>>,
    condition_errors: RwLock<Option<Number>>,
}

impl Policy {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            names: Values::new(NAMES),
            decisions: Mutex::default(),
            clamps: Mutex::default(),
            thresholds: Mutex::default(),
            budgets: RwLock::default(),
            waiting: RwLock::default(),
            condition_errors: RwLock::default(),
        }
    }

    pub(super) fn count(&self, notice: &Notice) {
        match notice {
            Notice::Refused { what, name, mode } => {
                *self
                    .decisions
                    .lock()
                    .entry((what.as_str(), self.names.bound(name), word(*mode), "refused"))
                    .or_default() += 1;
            }
            Notice::Cut { budget } => {
                *self.decisions.lock().entry(("budget", self.names.bound(budget), "enforce", "cut")).or_default() += 1;
            }
            Notice::Clamped { rule, mode, .. } => {
                *self.clamps.lock().entry((self.names.bound(rule), word(*mode))).or_default() += 1;
            }
            Notice::Spent { budget, percent, .. } => {
                *self.thresholds.lock().entry((self.names.bound(budget), *percent)).or_default() += 1;
            }
        }
    }

    pub(super) fn watch(&self, read: Read) {
        *self.budgets.write() = Some(read);
    }

    pub(super) fn watch_waiting(&self, read: Number) {
        *self.waiting.write() = Some(read);
    }

    pub(super) fn watch_condition_errors(&self, read: Number) {
        *self.condition_errors.write() = Some(read);
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

impl Collector for Policy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (prefix, encoder) = (&self.prefix, &mut encoder);
        // Copied, so that no call waits for a scrape.
        let decisions = self.decisions.lock().clone();
        let series = decisions.iter().map(|((what, name, mode, result), count)| {
            ([("what", *what), ("name", name), ("mode", mode), ("result", result)], *count)
        });
        let help = "Calls that the policy refused or cut, or would have, by the rule, budget or limit that did.";
        counters(encoder, &format!("{prefix}_policy_decisions"), help, series)?;
        let clamps = self.clamps.lock().clone();
        let series = clamps.iter().map(|((name, mode), count)| ([("name", &**name), ("mode", mode)], *count));
        let help = "Requests whose largest answer a rule made smaller, or would have.";
        counters(encoder, &format!("{prefix}_policy_clamps"), help, series)?;
        let thresholds = self.thresholds.lock().clone();
        let series = thresholds.iter().map(|((budget, percent), count)| {
            ([("budget", budget.to_string()), ("percent", percent.to_string())], *count)
        });
        let help = "How often so much of a budget was spent, counted over its windows and groups.";
        counters(encoder, &format!("{prefix}_budget_thresholds"), help, series)?;

        if let Some(waiting) = self.waiting.read().as_ref().map(|read| read()) {
            let help = "Calls that wait for room in a limit, because it has a `wait:`.";
            gauge(encoder, &format!("{prefix}_policy_waiting_calls"), help, waiting as f64)?;
        }
        if let Some(errors) = self.condition_errors.read().as_ref().map(|read| read()) {
            let help = "How often a condition could not be told, and so did not hold.";
            counters(encoder, &format!("{prefix}_policy_condition_errors"), help, [([("", ""); 0], errors)])?;
        }
        let Some(states) = self.budgets.read().as_ref().map(|read| read()) else { return Ok(()) };
        let labels = |state: &BudgetState| {
            let unit = if matches!(state.limit, Amount::Money(_)) { "usd" } else { "tokens" };
            [("budget", state.name.to_string()), ("group", clean(&state.group).into_owned()), ("unit", unit.to_owned())]
        };
        let limit = |state: &BudgetState| match state.limit {
            Amount::Money(dollars) => dollars.to_f64().unwrap_or(f64::MAX),
            Amount::Tokens(tokens, _) => tokens as f64,
        };
        let help = "How much a budget has in its window, in US dollars or tokens. Of many groups, those that have used the most.";
        gauges(
            encoder,
            &format!("{prefix}_budget_limit"),
            help,
            states.iter().map(|state| (labels(state), limit(state))),
        )?;
        let help = "How much of a budget is spent in this window.";
        let spent = states.iter().map(|state| (labels(state), state.spent.to_f64().unwrap_or(f64::MAX)));
        gauges(encoder, &format!("{prefix}_budget_spent"), help, spent)?;
        let help = "How much of a budget is set aside for calls on their way.";
        let reserved = states.iter().map(|state| (labels(state), state.reserved.to_f64().unwrap_or(f64::MAX)));
        gauges(encoder, &format!("{prefix}_budget_reserved"), help, reserved)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_policy::{Count, Unit, What};

    use super::*;
    use crate::Metrics;

    #[test]
    fn decisions_are_counted_by_what_made_them_and_whether_they_were_put_into_effect() {
        let metrics = Metrics::new("own", "1");
        let refused = |mode| Notice::Refused { what: What::Rule, name: "no-image".into(), mode };
        for notice in [
            refused(Mode::Enforce),
            refused(Mode::Enforce),
            refused(Mode::Observe),
            Notice::Refused { what: What::Limit, name: "rpm".into(), mode: Mode::Enforce },
            Notice::Clamped { rule: "small".into(), from: None, to: 7, mode: Mode::Enforce },
            Notice::Spent { budget: "month".into(), group: "a".into(), percent: 80, window: Unit::Month },
            Notice::Cut { budget: "month".into() },
        ] {
            metrics.policy(&notice);
        }
        let page = metrics.encode();
        for line in [
            "own_policy_decisions_total{what=\"rule\",name=\"no-image\",mode=\"enforce\",result=\"refused\"} 2",
            "own_policy_decisions_total{what=\"rule\",name=\"no-image\",mode=\"observe\",result=\"refused\"} 1",
            "own_policy_decisions_total{what=\"limit\",name=\"rpm\",mode=\"enforce\",result=\"refused\"} 1",
            "own_policy_decisions_total{what=\"budget\",name=\"month\",mode=\"enforce\",result=\"cut\"} 1",
            "own_policy_clamps_total{name=\"small\",mode=\"enforce\"} 1",
            "own_budget_thresholds_total{budget=\"month\",percent=\"80\"} 1",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }

    #[test]
    fn names_of_many_policies_keep_the_page_bounded() {
        let metrics = Metrics::new("own", "1");
        for number in 0..3 * NAMES {
            metrics.policy(&Notice::Cut { budget: format!("budget-{number}").into() });
        }
        let lines = metrics.encode().lines().filter(|line| line.starts_with("own_policy_decisions_total{")).count();
        assert_eq!(lines, NAMES + 1);
    }

    #[test]
    fn budgets_are_shown_as_they_stand() {
        let metrics = Metrics::new("own", "1");
        assert!(!metrics.encode().contains("own_budget_spent"));
        let state = |name: &str, group: &str, limit| BudgetState {
            name: name.into(),
            group: group.into(),
            limit,
            spent: "12.5".parse().unwrap(),
            reserved: "0.25".parse().unwrap(),
            resets: "2026-12-01T00:00:00Z".parse().unwrap(),
        };
        metrics.watch_budgets(move || {
            vec![
                state("month", "al\nice", Amount::Money(500.into())),
                state("tokens", "", Amount::Tokens(1_000, Count::Total)),
            ]
        });
        metrics.watch_waiting(|| 3);
        metrics.watch_condition_errors(|| 4);
        let page = metrics.encode();
        for line in [
            "own_policy_waiting_calls 3",
            "own_policy_condition_errors_total{} 4",
            "own_budget_limit{budget=\"month\",group=\"al\u{fffd}ice\",unit=\"usd\"} 500",
            "own_budget_spent{budget=\"month\",group=\"al\u{fffd}ice\",unit=\"usd\"} 12.5",
            "own_budget_reserved{budget=\"tokens\",group=\"\",unit=\"tokens\"} 0.25",
            "own_budget_limit{budget=\"tokens\",group=\"\",unit=\"tokens\"} 1000",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
