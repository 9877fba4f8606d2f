use jiff::civil::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_policy::{Hours, Parameter, Rule};

use super::selector::{Known, RawSelector, patterns};
use super::{RawAction, RawMode, text};
use crate::amount::Number;
use crate::check::Checks;
use crate::clock::{Days, Zone};
use crate::document::Path;
use crate::many::Many;
use crate::value::Leaf;
use crate::words::{Glob, Name, Text, When};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    /// What it is called in refusals, metrics and the audit.
    pub(super) name: Leaf<Name>,
    /// Which calls it is about.
    #[serde(default)]
    r#match: RawSelector,
    /// What must also hold, in [CEL](rules.md#conditions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<When>")]
    when: Option<Leaf<When>>,
    /// What becomes of them.
    #[serde(default)]
    action: RawAction,
    /// Whether the rule acts. One that observes is passed over, and the next is asked.
    #[serde(default)]
    mode: RawMode,
    /// The only models that may be called; others are refused (403).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    models: Option<Many<Leaf<Glob>>>,
    /// The only hours in which calls may be made; at others they are refused (403).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawHours")]
    hours: Option<RawHours>,
    /// What requests are held to by editing them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawClamp")]
    clamp: Option<RawClamp>,
    /// What requests must say; without it they are refused (400).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<RawParameter>")]
    require: Option<Many<RawParameter>>,
    /// What the refusal says instead of the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    message: Option<Leaf<Text>>,
    /// Whom the refusal tells to ask. `policy.contact` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    contact: Option<Leaf<Text>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawClamp {
    /// The most output tokens that may be asked for. A request that asks for more, or for no number, is made to ask for this
    /// (`max_tokens` and its kin); nothing else of it is changed.
    max_output_tokens: Leaf<Number>,
}

/// Some hours of some days, in a place.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawHours {
    /// The days, such as `mon-fri` or `[sat, sun]`. Every day when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Days>>")]
    days: Option<Many<Leaf<Days>>>,
    /// From this time on.
    from: Leaf<Time>,
    /// Until before this time; the next day's, where it is not after `from`.
    until: Leaf<Time>,
    /// Where clocks tell it, by the system's time zone database.
    time_zone: Leaf<Zone>,
}

impl Default for RawHours {
    fn default() -> Self {
        let midnight = Time::midnight();
        Self { days: None, from: Leaf(midnight), until: Leaf(midnight), time_zone: Leaf(Zone::default()) }
    }
}

/// Something that a request may say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RawParameter {
    /// How many tokens the answer may have: `max_tokens` and its kin.
    MaxOutputTokens,
    /// Whom it is for: `user`, `metadata.user_id`, `safety_identifier`.
    EndUser,
    /// That a stream is wanted.
    Stream,
}

impl RawRule {
    pub(super) fn check(self, here: &Path, known: &Known<'_>, checks: &mut Checks<'_>) -> Rule {
        if self.action == RawAction::Deny {
            let beside = [
                ("models", self.models.is_some()),
                ("hours", self.hours.is_some()),
                ("clamp", self.clamp.is_some()),
                ("require", self.require.is_some()),
            ];
            for (key, _) in beside.into_iter().filter(|(_, is_there)| *is_there) {
                let message = "a rule that refuses all that it matches allows nothing on conditions";
                checks.report(
                    &here.clone().key(key),
                    message,
                    "take `action: deny` away, or name these calls in `match`",
                );
            }
        }
        Rule {
            name: self.name.0.0.into(),
            matches: self.r#match.check(&here.clone().key("match"), known, checks),
            when: self.when.map(|when| when.0.0),
            action: self.action.into(),
            mode: self.mode.into(),
            models: self.models.map(|models| patterns(models, &here.clone().key("models"), checks)),
            hours: self.hours.map(|hours| hours.check(&here.clone().key("hours"), checks)),
            max_output_tokens: self.clamp.map(|clamp| clamp.max_output_tokens.0.0),
            require: parameters(self.require, &here.clone().key("require"), checks),
            message: text(self.message),
            contact: text(self.contact),
        }
    }
}

impl RawHours {
    fn check(self, here: &Path, checks: &mut Checks<'_>) -> Hours {
        if self.days.as_ref().is_some_and(|days| days.0.is_empty()) {
            checks.report(&here.clone().key("days"), "the list is empty", "name at least one, or leave the key out");
        }
        let mut days: Vec<_> = self.days.into_iter().flat_map(|days| days.0).flat_map(|days| days.0.days()).collect();
        days.sort_by_key(|day| day.to_monday_zero_offset());
        days.dedup();
        Hours { days, from: self.from.0, until: self.until.0, zone: self.time_zone.0.0 }
    }
}

fn parameters(raw: Option<Many<RawParameter>>, here: &Path, checks: &mut Checks<'_>) -> Vec<Parameter> {
    if raw.as_ref().is_some_and(|parameters| parameters.0.is_empty()) {
        checks.report(here, "the list is empty", "name at least one, or leave the key out");
    }
    let mut found = Vec::new();
    for parameter in raw.into_iter().flat_map(|parameters| parameters.0) {
        let parameter = match parameter {
            RawParameter::MaxOutputTokens => Parameter::MaxOutputTokens,
            RawParameter::EndUser => Parameter::EndUser,
            RawParameter::Stream => Parameter::Stream,
        };
        if !found.contains(&parameter) {
            found.push(parameter);
        }
    }
    found
}
