//! What the operator wrote, checked value by value.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::{Condition, Field, Patterns, Selector};

/// A whole policy. `Spec::default()` allows everything and counts nothing.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// What becomes of a call that no rule matches.
    pub default: Action,
    /// Whom a refusal tells to ask, where the rule itself names nobody.
    pub contact: Option<Arc<str>>,
    /// How many tokens an answer may have where neither request, clamp nor catalogue says; 16 384 where absent.
    pub assumed_output_tokens: Option<u64>,
    /// Names for groups of callers. The first that matches is the caller's.
    pub teams: Vec<Team>,
    /// The first that matches decides.
    pub rules: Vec<Rule>,
    /// All that match are charged, and each must have room.
    pub budgets: Vec<Budget>,
    /// All that match count, and each must have room.
    pub limits: Vec<Limit>,
}

/// A name for a group of callers, for reports, budgets and other selectors.
#[derive(Debug, Clone)]
pub struct Team {
    /// Its name.
    pub name: Arc<str>,
    /// Who pays, as the accountants call it.
    pub cost_center: Option<Arc<str>>,
    /// Whose calls are the team's. It may not name teams.
    pub matches: Selector,
    /// What must also hold.
    pub when: Option<Condition>,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It tells what it would have done, and the next rule is asked.
    Observe,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    /// The call goes on.
    #[default]
    Allow,
    /// The call is refused.
    Deny,
}

/// One rule of access.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it is called in refusals, metrics and the audit.
    pub name: Arc<str>,
    /// Which calls it is about.
    pub matches: Selector,
    /// What must also hold.
    pub when: Option<Condition>,
    /// What it does.
    pub action: Action,
    /// Whether it does it.
    pub mode: Mode,
    /// With [`Action::Allow`]: the only models that may be called.
    pub models: Option<Patterns>,
    /// With [`Action::Allow`]: the only hours in which that may be.
    pub hours: Option<Hours>,
    /// With [`Action::Allow`]: the most output tokens that may be asked for. A request that asks for more, or for no number, is
    /// edited to ask for this.
    pub max_output_tokens: Option<u64>,
    /// With [`Action::Allow`]: what the request must say.
    pub require: Vec<Parameter>,
    /// What the refusal says instead of the usual words.
    pub message: Option<Arc<str>>,
    /// Whom the refusal tells to ask.
    pub contact: Option<Arc<str>>,
}

/// Something that a request may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// `max_tokens` and its kin.
    MaxOutputTokens,
    /// `user`, `metadata.user_id`, `safety_identifier`.
    EndUser,
    /// `stream: true`.
    Stream,
}

/// Some hours of some days, in a place.
#[derive(Debug, Clone)]
pub struct Hours {
    /// The days; all where empty.
    pub days: Vec<Weekday>,
    /// From this time on.
    pub from: Time,
    /// Until before this time; the next day's where it is not after `from`.
    pub until: Time,
    /// Where clocks tell it.
    pub zone: TimeZone,
}

/// A sum that may be spent in a while.
#[derive(Debug, Clone)]
pub struct Budget {
    /// What it is called, and what its state is kept under.
    pub name: Arc<str>,
    /// Whose calls are charged.
    pub matches: Selector,
    /// What must also hold.
    pub when: Option<Condition>,
    /// Each combination of values of these has a budget of its own; all share one where there are none.
    pub per: Vec<Field>,
    /// How much.
    pub amount: Amount,
    /// In which while.
    pub window: Window,
    /// Parts of it, in per cent and rising, at which it is told that so much was spent.
    pub soft: Vec<u8>,
    /// What becomes of an answer on its way that turns out to cost more than there is.
    pub on_exhausted: OnExhausted,
    /// What becomes of a call whose price is not known.
    pub unpriced: Unpriced,
    /// Whether it refuses.
    pub mode: Mode,
    /// What the refusal says beside the usual words.
    pub message: Option<Arc<str>>,
    /// Whom the refusal tells to ask.
    pub contact: Option<Arc<str>>,
}

/// How much may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// US dollars.
    Money(Decimal),
    /// Tokens.
    Tokens(u64, Count),
}

impl Amount {
    /// Which tokens it counts; `None` for US dollars.
    pub(crate) fn counts(self) -> Option<Count> {
        match self {
            Self::Money(_) => None,
            Self::Tokens(_, count) => Some(count),
        }
    }
}

/// Which tokens count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Input and output.
    Total,
    /// What the model reads, cached or not.
    Input,
    /// What the model writes, reasoning included.
    Output,
}

/// A while that begins when the calendar says so.
#[derive(Debug, Clone)]
pub struct Window {
    /// How long.
    pub unit: Unit,
    /// Where the calendar hangs.
    pub zone: TimeZone,
}

/// Units of the calendar. Weeks begin on Monday (ISO 8601).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

/// What becomes of an answer on its way when its budget turns out to be spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// It ends as the provider ends it.
    #[default]
    Finish,
    /// It is ended, with an error in the stream's own form.
    Cut,
}

/// What becomes of a call whose price is not known, where money is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unpriced {
    /// It goes on, and is charged nothing.
    #[default]
    Allow,
    /// It is refused.
    Deny,
    /// It costs this, in US dollars a million tokens.
    Assume {
        /// Of input.
        input: Decimal,
        /// Of output.
        output: Decimal,
    },
}

/// A rate, or a number of things at once.
#[derive(Debug, Clone)]
pub struct Limit {
    /// What it is called, and what its state is kept under.
    pub name: Arc<str>,
    /// Whose calls count.
    pub matches: Selector,
    /// What must also hold.
    pub when: Option<Condition>,
    /// Each combination of values of these has a limit of its own; all share one where there are none.
    pub per: Vec<Field>,
    /// What is counted.
    pub measure: Measure,
    /// How many. A rate refills smoothly, and so many may come at once after a pause.
    pub amount: u64,
    /// A rate's period: a second, a minute, an hour, a day. Without meaning for what is counted at once.
    pub period: Duration,
    /// How long a call may wait for room; it does not where absent.
    pub wait: Option<Duration>,
    /// Whether it refuses.
    pub mode: Mode,
    /// What the refusal says beside the usual words.
    pub message: Option<Arc<str>>,
    /// Whom the refusal tells to ask.
    pub contact: Option<Arc<str>>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Calls.
    Requests,
    /// Tokens, the largest number reserved and the rest given back.
    Tokens(Count),
    /// Calls at a time.
    Concurrent,
    /// Streams at a time.
    Streams,
}
