use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::engine::Matching;
use crate::selector::Values;
use crate::{Action, Condition, Field, Measure, Named, Needs, OnExhausted, Selector, Spec, Subject};

mod explain;
mod index;
mod rules;
mod words;

pub use explain::{Decision, Explanation, Looked, Verdict};
use index::Index;

/// A policy made ready to be asked. Immutable, and shared.
#[derive(Debug, Default)]
pub struct Policy {
    spec: Spec,
    teams: Selectors,
    rules: Selectors,
    budgets: Selectors,
    limits: Selectors,
    needs: Needs,
    condition_errors: AtomicU64,
}

/// Selectors and conditions of one list of the [`Spec`], in its order.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    items: Vec<(Selector, Option<Condition>)>,
    index: Index,
}

/// One call, as the policy sees it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) named: Named,
    pub(crate) values: Values<'a>,
    pub(crate) now: Timestamp,
}

impl Policy {
    /// Prepares what was written. Names must be unique within their list, as the configuration sees to.
    pub fn new(mut spec: Spec) -> Self {
        for models in spec.rules.iter_mut().filter_map(|rule| rule.models.as_mut()) {
            *models = models.in_lower_case();
        }
        let teams = Selectors::new(spec.teams.iter().map(|team| (&team.matches, team.when.as_ref())));
        let rules = Selectors::new(spec.rules.iter().map(|rule| (&rule.matches, rule.when.as_ref())));
        let budgets = Selectors::new(spec.budgets.iter().map(|budget| (&budget.matches, budget.when.as_ref())));
        let limits = Selectors::new(spec.limits.iter().map(|limit| (&limit.matches, limit.when.as_ref())));
        let mut policy = Self { spec, teams, rules, budgets, limits, ..Self::default() };
        policy.needs = policy.look_up_needs();
        policy
    }

    /// What was written.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it has to know of a call.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// How often a condition could not be told since this policy is in force, and so did not hold.
    pub fn condition_errors(&self) -> u64 {
        self.condition_errors.load(Ordering::Relaxed)
    }

    /// Looks a call up, and names its caller.
    pub(crate) fn call<'a>(&'a self, subject: &Subject<'a>, now: Timestamp) -> Call<'a> {
        let mut call = Self::nameless(subject, now);
        let team = self.matching_teams(&call).next();
        if let Some(team) = team.map(|at| &self.spec.teams[at]) {
            call.named = Named { team: Some(Arc::clone(&team.name)), cost_center: team.cost_center.clone() };
            call.values.set_team(Some(&team.name));
        }
        call
    }

    /// A call whose team is not known yet, as teams see it.
    fn nameless<'a>(subject: &Subject<'a>, now: Timestamp) -> Call<'a> {
        Call { subject: *subject, named: Named::default(), values: Values::new(subject), now }
    }

    /// Which budgets and limits a call is of.
    pub(crate) fn matching(&self, call: &Call<'_>) -> Matching {
        Matching {
            budgets: self.holding(&self.budgets, call).map(|at| at as u32).collect(),
            limits: self.holding(&self.limits, call).map(|at| at as u32).collect(),
        }
    }

    /// The rules that a call is of, in their order.
    pub(crate) fn matching_rules<'a>(&'a self, call: &'a Call<'_>) -> impl Iterator<Item = usize> + 'a {
        self.holding(&self.rules, call)
    }

    fn matching_teams<'a>(&'a self, call: &'a Call<'_>) -> impl Iterator<Item = usize> + 'a {
        self.holding(&self.teams, call)
    }

    /// Those of a list that a call is of, in their order.
    fn holding<'a>(&'a self, of: &'a Selectors, call: &'a Call<'_>) -> impl Iterator<Item = usize> + 'a {
        of.index.candidates(&call.values).filter(move |at| {
            let (selector, when) = &of.items[*at];
            selector.accepts(&call.values) && when.as_ref().is_none_or(|when| self.holds(when, call))
        })
    }

    fn holds(&self, when: &Condition, call: &Call<'_>) -> bool {
        when.evaluate(&call.subject, &call.named, call.now).unwrap_or_else(|_| {
            self.condition_errors.fetch_add(1, Ordering::Relaxed);
            false
        })
    }

    fn look_up_needs(&self) -> Needs {
        let spec = &self.spec;
        let all = [&self.teams, &self.rules, &self.budgets, &self.limits];
        let per = spec.budgets.iter().flat_map(|b| &b.per).chain(spec.limits.iter().flat_map(|l| &l.per));
        let counts_body = |measure: Measure| matches!(measure, Measure::Tokens(_) | Measure::Streams);
        let ask = !spec.budgets.is_empty() || spec.limits.iter().any(|limit| counts_body(limit.measure));
        let body = ask
            || all.iter().any(|selectors| selectors.needs_body())
            || per.copied().any(Field::is_in_body)
            || spec
                .rules
                .iter()
                .any(|rule| rule.models.is_some() || rule.max_output_tokens.is_some() || !rule.require.is_empty());
        Needs {
            anything: spec.default == Action::Deny || all.iter().any(|selectors| !selectors.items.is_empty()),
            body,
            ask: ask || !spec.limits.is_empty(),
            cut: spec.budgets.iter().any(|budget| budget.on_exhausted == OnExhausted::Cut),
        }
    }
}

impl Selectors {
    fn new<'a>(of: impl Iterator<Item = (&'a Selector, Option<&'a Condition>)>) -> Self {
        let items: Vec<_> = of.map(|(selector, when)| (selector.in_lower_case(), when.cloned())).collect();
        let index = Index::new(items.iter().map(|(selector, _)| selector));
        Self { items, index }
    }

    fn needs_body(&self) -> bool {
        self.items
            .iter()
            .any(|(selector, when)| selector.needs_body() || when.as_ref().is_some_and(Condition::needs_body))
    }
}

#[cfg(test)]
mod tests;
