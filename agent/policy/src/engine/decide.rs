use jiff::Timestamp;

use super::{Admission, Decided, Engine, Matching, Needs};
use crate::{Condition, Named, Policy, Refused, Selector, Subject};

impl Engine {
    /// What the policy in force has to know. Cheap.
    pub fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Asks the rules.
    pub fn decide(&self, subject: &Subject<'_>, now: Timestamp) -> (Named, Result<Decided, Refused>) {
        let plan = self.plan();
        let named = Named::default();
        let matching = matching(&plan.policy, subject, &named, now);
        let decided = Decided {
            named: named.clone(),
            clamp: None,
            assumed_output_tokens: 16_384,
            notices: Vec::new(),
            admission: Admission { plan, matching, now },
        };
        (named, Ok(decided))
    }
}

/// Which budgets and limits a call is of.
fn matching(policy: &Policy, subject: &Subject<'_>, named: &Named, now: Timestamp) -> Matching {
    let is_of = |selector: &Selector, when: Option<&Condition>| {
        selector.matches(subject, named) && when.is_none_or(|when| when.holds(subject, named, now))
    };
    let spec = policy.spec();
    Matching {
        budgets: (0..).zip(&spec.budgets).filter(|(_, b)| is_of(&b.matches, b.when.as_ref())).map(|(i, _)| i).collect(),
        limits: (0..).zip(&spec.limits).filter(|(_, l)| is_of(&l.matches, l.when.as_ref())).map(|(i, _)| i).collect(),
    }
}
