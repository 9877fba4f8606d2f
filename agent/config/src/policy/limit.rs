use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_policy::{Count, Limit, Measure};

use super::selector::{Known, RawField, RawSelector, groups};
use super::{RawMode, text};
use crate::amount::{Frequency, Number};
use crate::check::Checks;
use crate::document::Path;
use crate::many::Many;
use crate::value::Leaf;
use crate::words::{Name, Text, When};

/// Longer than most clients wait for an answer, so a call that waits longer waits in vain.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    /// What it is called in refusals, metrics and the audit.
    pub(super) name: Leaf<Name>,
    /// Whose calls count.
    #[serde(default)]
    r#match: RawSelector,
    /// What must also hold, in [CEL](rules.md#conditions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<When>")]
    when: Option<Leaf<When>>,
    /// Each combination of values of these has a limit of its own: `[team]`, `[pod]`, `[team, model]`. When absent, all calls that match
    /// share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<RawField>")]
    per: Option<Many<RawField>>,
    /// Requests in a while. A limit has one of this and the following five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Frequency>")]
    requests: Option<Leaf<Frequency>>,
    /// Tokens in a while, input and output. The most that a call may use is taken at its beginning, and what it did not use is given back at
    /// its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Frequency>")]
    tokens: Option<Leaf<Frequency>>,
    /// Tokens of input in a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Frequency>")]
    input_tokens: Option<Leaf<Frequency>>,
    /// Tokens of output in a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Frequency>")]
    output_tokens: Option<Leaf<Frequency>>,
    /// Calls at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Number>")]
    concurrent: Option<Leaf<Number>>,
    /// Streams at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Number>")]
    streams: Option<Leaf<Number>>,
    /// How long a call may wait for room before it is refused (429), at most `10m`. It is refused at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Duration>")]
    wait: Option<Leaf<Duration>>,
    /// Whether it refuses.
    #[serde(default)]
    mode: RawMode,
    /// What the refusal says beside the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    message: Option<Leaf<Text>>,
    /// Whom the refusal tells to ask. `policy.contact` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    contact: Option<Leaf<Text>>,
}

impl RawLimit {
    pub(super) fn check(self, here: &Path, known: &Known<'_>, checks: &mut Checks<'_>) -> Limit {
        let (measure, amount, period) = self.measure(here, checks);
        let wait = self.wait.map(|wait| wait.0);
        if wait.is_some_and(|wait| wait > LONGEST_WAIT) {
            let message = "a client would have given up by then";
            checks.report(&here.clone().key("wait"), message, "write a duration of at most `10m`");
        }
        Limit {
            name: self.name.0.0.into(),
            matches: self.r#match.check(&here.clone().key("match"), known, checks),
            when: self.when.map(|when| when.0.0),
            per: groups(self.per, here, checks),
            measure,
            amount,
            period,
            wait,
            mode: self.mode.into(),
            message: text(self.message),
            contact: text(self.contact),
        }
    }

    /// What it counts, how many, and in which while.
    fn measure(&self, here: &Path, checks: &mut Checks<'_>) -> (Measure, u64, Duration) {
        let rates = [
            ("requests", Measure::Requests, &self.requests),
            ("tokens", Measure::Tokens(Count::Total), &self.tokens),
            ("input_tokens", Measure::Tokens(Count::Input), &self.input_tokens),
            ("output_tokens", Measure::Tokens(Count::Output), &self.output_tokens),
        ];
        let rates = rates.into_iter().filter_map(|(key, measure, rate)| {
            let Frequency { number, period } = rate.as_ref()?.0;
            Some((key, (measure, number, period)))
        });
        let at_once =
            [("concurrent", Measure::Concurrent, &self.concurrent), ("streams", Measure::Streams, &self.streams)];
        let at_once = at_once
            .into_iter()
            .filter_map(|(key, measure, number)| Some((key, (measure, number.as_ref()?.0.0, Duration::from_secs(1)))));
        let mut said = rates.chain(at_once);
        let first = said.next();
        for (key, _) in said {
            let message = "a limit counts one thing, and this is the second";
            checks.report(&here.clone().key(key), message, "make another limit of it, with a name of its own");
        }
        let Some((_, measure)) = first else {
            let remedy = "add `requests`, `tokens`, `input_tokens`, `output_tokens`, `concurrent` or `streams`, such as `requests: 60/minute`";
            checks.report(here, "it does not say what it limits", remedy);
            return (Measure::Requests, 1, Duration::from_secs(1));
        };
        measure
    }
}
