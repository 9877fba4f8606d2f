use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use tollgate_policy::{Amount, Budget, OnExhausted, Unit, Unpriced, Window};

use super::selector::{Known, RawField, RawSelector, groups};
use super::{RawMode, text};
use crate::amount::{Percent, Rate};
use crate::check::Checks;
use crate::clock::Zone;
use crate::document::Path;
use crate::many::Many;
use crate::value::Leaf;
use crate::words::{Name, Text, When};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBudget {
    /// What it is called in refusals, metrics and the audit. What was spent is kept under it, so another name begins anew.
    pub(super) name: Leaf<Name>,
    /// Whose calls are charged.
    #[serde(default)]
    r#match: RawSelector,
    /// What must also hold, in [CEL](rules.md#conditions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<When>")]
    when: Option<Leaf<When>>,
    /// Each combination of values of these has a budget of its own: `[team]`, `[pod]`, `[team, model]`. When absent, all calls that match
    /// share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<RawField>")]
    per: Option<Many<RawField>>,
    /// How much may be spent: money, or tokens, or `input tokens` or `output tokens` alone.
    limit: Leaf<Amount>,
    /// In which while. Each begins when the calendar says so.
    window: RawUnit,
    /// Whose calendar, by the system's time zone database.
    #[serde(default)]
    time_zone: Leaf<Zone>,
    /// Parts of the limit at which it is told, in log, metrics and audit, that so much is spent. In rising order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Percent>>")]
    soft: Option<Many<Leaf<Percent>>>,
    /// What becomes of an answer on its way when the budget turns out to be spent.
    #[serde(default)]
    on_exhausted: RawOnExhausted,
    /// What becomes of calls whose price is not known. Only where money is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawUnpriced")]
    unpriced: Option<RawUnpriced>,
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

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawUnit {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday's midnight on.
    Week,
    /// From the first day's midnight on.
    Month,
}

/// What becomes of an answer on its way.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawOnExhausted {
    /// It ends as the provider ends it.
    #[default]
    Finish,
    /// It is ended, with an error in the stream's own form.
    Cut,
}

/// What becomes of calls without a price.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum RawUnpriced {
    Allow,
    Deny,
    Assume { input: Leaf<Rate>, output: Leaf<Rate> },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assumption {
    /// They cost this.
    assume: Rates,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rates {
    /// For a million tokens of input.
    input: Leaf<Rate>,
    /// For a million tokens of output.
    output: Leaf<Rate>,
}

impl<'de> Deserialize<'de> for RawUnpriced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnpricedVisitor)
    }
}

/// Words and a group of keys in one place, which a derived schema could not give good errors for.
impl JsonSchema for RawUnpriced {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "what becomes of unpriced calls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let assumption = Assumption::json_schema(generator);
        json_schema!({
            "anyOf": [
                { "oneOf": [
                    { "const": "allow", "description": "They go on, and are charged nothing. That is so when nothing is said." },
                    { "const": "deny", "description": "They are refused." },
                ] },
                { "type": "object" },
            ],
            "properties": assumption.get("properties"),
            "required": assumption.get("required"),
        })
    }
}

struct UnpricedVisitor;

impl<'de> Visitor<'de> for UnpricedVisitor {
    type Value = RawUnpriced;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`allow`, `deny` or `assume` with prices")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawUnpriced, E> {
        match text {
            "allow" => Ok(RawUnpriced::Allow),
            "deny" => Ok(RawUnpriced::Deny),
            other => Err(E::unknown_variant(other, &["allow", "deny"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<RawUnpriced, A::Error> {
        let Assumption { assume } = Assumption::deserialize(MapAccessDeserializer::new(entries))?;
        Ok(RawUnpriced::Assume { input: assume.input, output: assume.output })
    }
}

impl RawBudget {
    pub(super) fn check(self, here: &Path, known: &Known<'_>, checks: &mut Checks<'_>) -> Budget {
        let amount = self.limit.0;
        if self.unpriced.is_some() && !matches!(amount, Amount::Money(_)) {
            let message = "where tokens are counted, prices are not asked for";
            checks.report(&here.clone().key("unpriced"), message, "leave it out, or give the budget in `$`");
        }
        let soft: Vec<u8> = self.soft.into_iter().flat_map(|soft| soft.0).map(|part| part.0.0).collect();
        if let Some(number) = soft.windows(2).position(|pair| pair[0] >= pair[1]) {
            let place = here.clone().key("soft").index(number + 1);
            checks.report(&place, "it is not above the one before it", "write the parts in rising order");
        }
        Budget {
            name: self.name.0.0.into(),
            matches: self.r#match.check(&here.clone().key("match"), known, checks),
            when: self.when.map(|when| when.0.0),
            per: groups(self.per, here, checks),
            amount,
            window: Window { unit: self.window.into(), zone: self.time_zone.0.0 },
            soft,
            on_exhausted: match self.on_exhausted {
                RawOnExhausted::Finish => OnExhausted::Finish,
                RawOnExhausted::Cut => OnExhausted::Cut,
            },
            unpriced: self.unpriced.map(Unpriced::from).unwrap_or_default(),
            mode: self.mode.into(),
            message: text(self.message),
            contact: text(self.contact),
        }
    }
}

impl From<RawUnit> for Unit {
    fn from(raw: RawUnit) -> Self {
        match raw {
            RawUnit::Hour => Self::Hour,
            RawUnit::Day => Self::Day,
            RawUnit::Week => Self::Week,
            RawUnit::Month => Self::Month,
        }
    }
}

impl From<RawUnpriced> for Unpriced {
    fn from(raw: RawUnpriced) -> Self {
        match raw {
            RawUnpriced::Allow => Self::Allow,
            RawUnpriced::Deny => Self::Deny,
            RawUnpriced::Assume { input, output } => Self::Assume { input: input.0.0, output: output.0.0 },
        }
    }
}
