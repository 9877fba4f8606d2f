//! Teams, rules, budgets and limits, from their keys to a [`Spec`].

mod budget;
mod limit;
mod rule;
mod selector;
mod team;

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_policy::{Action, Mode, Rule, Spec};

use self::budget::RawBudget;
use self::limit::RawLimit;
use self::rule::RawRule;
use self::selector::Known;
pub(crate) use self::team::RawTeam;
use crate::amount::Number;
use crate::check::{Checks, at};
use crate::document::Path;
use crate::value::{Leaf, Size};
use crate::words::{Name, Text};

/// Who may call what, and how much of it.
#[derive(Clone)]
pub struct Policy {
    /// What is to be enforced.
    pub spec: Arc<Spec>,
    /// The largest request that is read where something hangs on its body, in bytes.
    pub body_limit: usize,
    /// What was written, in one form: conditions and time zones cannot be compared.
    written: String,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.written).finish()
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPolicy {
    /// What becomes of calls that no rule matches.
    default: RawAction,
    /// Whom a refusal tells to ask, where its rule, budget or limit names nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    contact: Option<Leaf<Text>>,
    /// The largest request whose body is read for its model, stream, end user or output tokens. Larger ones are refused (413)
    /// where something hangs on these, and pass where nothing does.
    body_limit: Leaf<Size>,
    /// How many tokens an answer is taken to have at most, where neither request, clamp nor what is known of the model says.
    /// Budgets and limits set so much aside while a call is on its way.
    assumed_output_tokens: Leaf<Number>,
    /// Rules of access, asked from the first to the last. The first that matches decides.
    rules: Vec<RawRule>,
    /// What may be spent in a while. All that match a call are charged for it, and each must have room for it.
    budgets: Vec<RawBudget>,
    /// How many requests or tokens in a while, or calls at a time. All that match a call count, and each must have room for it.
    limits: Vec<RawLimit>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawAction {
    /// They go on.
    #[default]
    Allow,
    /// They are refused.
    Deny,
}

impl From<RawAction> for Action {
    fn from(raw: RawAction) -> Self {
        match raw {
            RawAction::Allow => Self::Allow,
            RawAction::Deny => Self::Deny,
        }
    }
}

/// Whether something acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawMode {
    /// It does.
    #[default]
    Enforce,
    /// It tells what it would have done, in log, metrics and audit, and lets the call pass.
    Observe,
}

impl From<RawMode> for Mode {
    fn from(raw: RawMode) -> Self {
        match raw {
            RawMode::Enforce => Self::Enforce,
            RawMode::Observe => Self::Observe,
        }
    }
}

impl Default for RawPolicy {
    fn default() -> Self {
        Self {
            default: RawAction::Allow,
            contact: None,
            body_limit: Leaf(Size(32 << 20)),
            assumed_output_tokens: Leaf(Number(16_384)),
            rules: Vec::new(),
            budgets: Vec::new(),
            limits: Vec::new(),
        }
    }
}

impl RawPolicy {
    /// `providers` are those that calls can be of; `pods` says whether pods have names.
    pub(crate) fn check(
        self,
        teams: Vec<RawTeam>,
        providers: &[String],
        pods: bool,
        checks: &mut Checks<'_>,
    ) -> Policy {
        let written = serde_json::to_string(&(&teams, &self)).expect("plain fields can be written");
        let body_limit = self.body_limit.0.0;
        if !(4 << 10..=1 << 30).contains(&body_limit) {
            let message = "this is too little for a request, or more than one may cost";
            checks.report(&at("policy", "body_limit"), message, "write a size from `4KiB` to `1GiB`");
        }
        let section = |key: &str, index: usize| at("policy", key).index(index);
        let list = |key: &'static str| move |index| section(key, index);
        unique("team", teams.iter().map(|one| &one.name), |index| Path::default().key("teams").index(index), checks);
        unique("rule", self.rules.iter().map(|one| &one.name), list("rules"), checks);
        unique("budget", self.budgets.iter().map(|one| &one.name), list("budgets"), checks);
        unique("limit", self.limits.iter().map(|one| &one.name), list("limits"), checks);
        let names = teams.iter().map(|team| team.name.0.0.clone()).collect();
        let known = Known { teams: names, providers, pods };
        let spec = Spec {
            default: self.default.into(),
            contact: text(self.contact),
            assumed_output_tokens: Some(self.assumed_output_tokens.0.0),
            teams: team::check(teams, &known, checks),
            rules: each(self.rules, "rules", RawRule::check, &known, checks),
            budgets: each(self.budgets, "budgets", RawBudget::check, &known, checks),
            limits: each(self.limits, "limits", RawLimit::check, &known, checks),
        };
        warn_of_unreachable(&spec.rules, checks);
        Policy { spec: Arc::new(spec), body_limit, written }
    }
}

/// Checks each item of a list of the policy, with its path.
fn each<R, T>(
    raw: Vec<R>,
    key: &str,
    check: fn(R, &Path, &Known<'_>, &mut Checks<'_>) -> T,
    known: &Known<'_>,
    checks: &mut Checks<'_>,
) -> Vec<T> {
    let items = raw.into_iter().enumerate();
    items.map(|(index, one)| check(one, &at("policy", key).index(index), known, checks)).collect()
}

/// A rule below one that matches every call is never asked. Somebody may have put it there for later, so it is no error.
fn warn_of_unreachable(rules: &[Rule], checks: &mut Checks<'_>) {
    let matches_all = |rule: &Rule| {
        rule.mode == Mode::Enforce
            && rule.when.is_none()
            && rule.matches.fields.is_empty()
            && rule.matches.labels.is_empty()
    };
    let Some(last) = rules.iter().position(matches_all) else { return };
    for (index, rule) in rules.iter().enumerate().skip(last + 1) {
        let message = format!("`{}` is never asked: `{}` above it matches every call", rule.name, rules[last].name);
        checks.warn(&at("policy", "rules").index(index), message, "move it up, or name fewer calls above");
    }
}

/// State and refusals go by names, so each is one thing's.
fn unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Leaf<Name>>,
    at: impl Fn(usize) -> Path,
    checks: &mut Checks<'_>,
) {
    let mut seen = std::collections::HashSet::new();
    for (index, name) in names.enumerate() {
        let name = name.0.0.as_str();
        if name == "default" && what == "rule" {
            let message = "`default` is what refusals call the rule that is asked last";
            checks.report(&at(index).key("name"), message, "give it another name");
        }
        if !seen.insert(name) {
            checks.report(&at(index).key("name"), format!("there is a {what} `{name}` above"), "give it another name");
        }
    }
}

fn text(raw: Option<Leaf<Text>>) -> Option<Arc<str>> {
    raw.map(|text| text.0.0.into())
}

#[cfg(test)]
mod tests;
