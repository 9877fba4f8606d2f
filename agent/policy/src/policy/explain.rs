use std::sync::Arc;

use jiff::Timestamp;

use super::rules::Outcome;
use super::{Call, Policy, Selectors};
use crate::group::group;
use crate::{Field, Mode, Named, Notice, Refused, Subject};

/// What a policy makes of one call, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What the caller is called.
    pub named: Named,
    /// The teams in their order, with why each is the caller's or not.
    pub teams: Vec<Looked>,
    /// The rules in their order, with why each decides or does not.
    pub rules: Vec<Looked>,
    /// What becomes of the call as far as rules are concerned.
    pub decision: Decision,
    /// The budgets in their order. All that match are charged.
    pub budgets: Vec<Looked>,
    /// The limits in their order. The call counts in all that match.
    pub limits: Vec<Looked>,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Its name.
    pub name: Arc<str>,
    /// What came of it.
    pub verdict: Verdict,
    /// Of a budget or limit that matches: whose share of it; empty where all share it.
    pub group: String,
}

/// Whether a call is meant by a selector and its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Matches,
    /// It is, by a rule that observes: the next is asked.
    Observes {
        /// What it would have done; `None` where it would have let the call pass.
        would: Option<Notice>,
    },
    /// It is not.
    Differs {
        /// The first field, or label, that does not match.
        field: String,
        /// Its value; `None` where it is absent.
        value: Option<String>,
        /// What it may be.
        patterns: String,
    },
    /// The condition does not hold.
    Fails {
        /// The condition.
        condition: String,
        /// Why it could not be told, where it could not.
        error: Option<String>,
    },
    /// One before it has decided.
    NotReached,
}

/// What becomes of a call as far as rules are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The rule that decides; `None` where none matches and the default does.
    pub rule: Option<Arc<str>>,
    /// The most output tokens that it may ask for, where it asks for more or does not say.
    pub clamp: Option<u64>,
    /// The refusal, where it is refused.
    pub refused: Option<Refused>,
}

impl Policy {
    /// Looks at everything one by one and says what came of it. Slow beside a decision, and counts nothing.
    pub fn explain(&self, subject: &Subject<'_>, now: Timestamp) -> Explanation {
        let call = self.call(subject, now);
        let mut teams = self.teams.looked(self.spec.teams.iter().map(|team| &team.name), &Self::nameless(subject, now));
        let team = teams.iter().position(|team| team.verdict == Verdict::Matches);
        leave_out(&mut teams, team);
        let (rules, decision) = self.look_at_rules(&call);
        Explanation {
            teams,
            rules,
            decision,
            budgets: self.budgets.shared(self.spec.budgets.iter().map(|budget| (&budget.name, &*budget.per)), &call),
            limits: self.limits.shared(self.spec.limits.iter().map(|limit| (&limit.name, &*limit.per)), &call),
            named: call.named,
        }
    }

    fn look_at_rules(&self, call: &Call<'_>) -> (Vec<Looked>, Decision) {
        let mut rules = self.rules.looked(self.spec.rules.iter().map(|rule| &rule.name), call);
        for (looked, rule) in rules.iter_mut().zip(&self.spec.rules) {
            if looked.verdict == Verdict::Matches && rule.mode == Mode::Observe {
                let would = Outcome::of(rule, &call.subject, call.now).notice(rule, &call.subject);
                looked.verdict = Verdict::Observes { would };
            }
        }
        let deciding = rules.iter().position(|rule| rule.verdict == Verdict::Matches);
        leave_out(&mut rules, deciding);
        let (clamp, refused) = match self.decision_of(deciding, call) {
            Ok(clamp) => (clamp, None),
            Err(refused) => (None, Some(refused)),
        };
        (rules, Decision { rule: deciding.map(|at| Arc::clone(&self.spec.rules[at].name)), clamp, refused })
    }
}

impl Selectors {
    /// Each, with whether the call is meant and whose share that is.
    fn shared<'a>(
        &self,
        of: impl Iterator<Item = (&'a Arc<str>, &'a [Field])> + Clone,
        call: &Call<'_>,
    ) -> Vec<Looked> {
        let mut looked = self.looked(of.clone().map(|(name, _)| name), call);
        for (looked, (_, per)) in looked.iter_mut().zip(of).filter(|(looked, _)| looked.verdict == Verdict::Matches) {
            looked.group = group(per, &call.subject, &call.named);
        }
        looked
    }

    /// Each, with whether the call is meant. The names are in the same order.
    fn looked<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>, call: &Call<'_>) -> Vec<Looked> {
        let looked = names.zip(&self.items).map(|(name, (selector, when))| {
            let verdict = if let Some((field, value, patterns)) = selector.differs(&call.values) {
                Verdict::Differs { field, value: value.map(str::to_owned), patterns: patterns.to_string() }
            } else {
                let told = when.as_ref().map(|when| (when, when.evaluate(&call.subject, &call.named, call.now)));
                match told {
                    None | Some((_, Ok(true))) => Verdict::Matches,
                    Some((when, told)) => Verdict::Fails { condition: when.as_str().to_owned(), error: told.err() },
                }
            };
            Looked { name: Arc::clone(name), verdict, group: String::new() }
        });
        looked.collect()
    }
}

/// What comes after the first that matches was not asked.
fn leave_out(looked: &mut [Looked], first: Option<usize>) {
    if let Some(first) = first {
        looked[first + 1..].iter_mut().for_each(|looked| looked.verdict = Verdict::NotReached);
    }
}
