use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{Admission, Decided, Engine, Needs};
use crate::{Named, Refused, Subject};

/// How many tokens an answer is taken to have at most, where nobody says.
const ASSUMED_OUTPUT_TOKENS: u64 = 16_384;

impl Engine {
    /// What the policy in force has to know. Cheap.
    pub fn needs(&self) -> Needs {
        Needs::of(self.needs.load(Ordering::Acquire))
    }

    /// Asks the rules.
    pub fn decide(&self, subject: &Subject<'_>, now: Timestamp) -> (Named, Result<Decided, Refused>) {
        let plan = self.plan();
        let call = plan.policy.call(subject, now);
        let passed = match plan.policy.ask_rules(&call) {
            Ok(passed) => passed,
            Err(refused) => return (call.named, Err(refused)),
        };
        let matching = plan.policy.matching(&call);
        let named = call.named;
        let decided = Decided {
            named: named.clone(),
            clamp: passed.clamp,
            assumed_output_tokens: plan.policy.spec().assumed_output_tokens.unwrap_or(ASSUMED_OUTPUT_TOKENS),
            notices: passed.notices,
            admission: Admission::new(Arc::clone(&plan), matching, now),
        };
        (named, Ok(decided))
    }
}
