use rust_decimal::Decimal;
use tollgate_llm::UsageSource;

use crate::record::Record;

/// What a group of exchanges adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges.
    pub calls: u64,
    /// Those that failed, were refused or answered with an error; a caller that hung up is none.
    pub errors: u64,
    /// The errors that were our own answers, in the provider's place.
    pub refused: u64,
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from the provider's cache.
    pub cached: u64,
    /// Input tokens written to the provider's cache.
    pub cache_write: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// US dollars, over the calls whose price is known.
    pub cost: Decimal,
    /// Calls with a token count and no known price.
    pub unpriced: u64,
    /// Calls that were answered and told no token count.
    pub uncounted: u64,
    /// Calls that broke off, counted up to there.
    pub partial: u64,
    /// Calls whose tokens were counted or guessed by us, at least in part.
    pub estimated: u64,
    /// Those of the uncounted calls whose agent died before they ended, so that a later one wrote them down.
    pub lost: u64,
}

impl Totals {
    /// One exchange.
    pub(crate) fn of(record: &Record) -> Self {
        let usage = record.usage.unwrap_or_default();
        let counted = record.usage.is_some();
        Self {
            calls: 1,
            errors: record.is_error().into(),
            refused: matches!(record.outcome, crate::Outcome::Refused(_)).into(),
            input: usage.input,
            output: usage.output,
            cached: usage.cache_read,
            cache_write: usage.cache_write,
            reasoning: usage.reasoning,
            cost: record.cost.unwrap_or_default(),
            unpriced: (counted && record.cost.is_none()).into(),
            uncounted: (!counted && record.is_billable()).into(),
            partial: (counted && record.usage_source == UsageSource::Partial).into(),
            estimated: (counted && record.usage_source == UsageSource::Estimated).into(),
            lost: 0,
        }
    }

    /// Adds the other. A provider may report any number, so sums stop at the largest instead of wrapping.
    pub fn merge(&mut self, other: &Self) {
        for (sum, value) in [
            (&mut self.calls, other.calls),
            (&mut self.errors, other.errors),
            (&mut self.refused, other.refused),
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.cached, other.cached),
            (&mut self.cache_write, other.cache_write),
            (&mut self.reasoning, other.reasoning),
            (&mut self.unpriced, other.unpriced),
            (&mut self.uncounted, other.uncounted),
            (&mut self.partial, other.partial),
            (&mut self.estimated, other.estimated),
            (&mut self.lost, other.lost),
        ] {
            *sum = sum.saturating_add(value);
        }
        self.cost = self.cost.saturating_add(other.cost);
    }

    /// Whether something was used that `cost` does not hold.
    pub fn is_lower_bound(&self) -> bool {
        self.unpriced > 0 || self.uncounted > 0 || self.partial > 0
    }

    /// The cost for the eye: `≥` before what is only a part of it, `~` before what holds estimates, and `unknown` where
    /// no price is known at all.
    pub fn cost_text(&self) -> String {
        let estimate = if self.estimated > 0 { "~" } else { "" };
        match (self.is_lower_bound(), self.cost.is_zero()) {
            (true, true) => "unknown".into(),
            (true, false) => format!("≥ {estimate}{}", dollars(self.cost)),
            (false, _) => format!("{estimate}{}", dollars(self.cost)),
        }
    }

    /// What the marks of [`Self::cost_text`] stand for here, a line each; empty if the cost is all of it.
    pub fn footnotes(&self) -> Vec<String> {
        let parts = [
            (self.unpriced, "at a price that is not known"),
            (self.uncounted, "answered without a token count"),
            (self.partial, "cut short, and counted up to there"),
        ];
        let mut notes: Vec<String> = parts.iter().filter_map(|&(number, what)| told(number, what)).collect();
        for (index, note) in notes.iter_mut().enumerate() {
            note.insert_str(0, if index == 0 { "≥ " } else { "  " });
        }
        notes.extend(
            told(self.lost, "among these of which the agent did not live to see the end")
                .map(|note| format!("  {note}")),
        );
        notes.extend(
            told(self.estimated, "with tokens estimated here, because the provider did not tell them all")
                .map(|note| format!("~ {note}")),
        );
        notes
    }
}

fn told(number: u64, what: &str) -> Option<String> {
    (number > 0).then(|| format!("{} {} {what}", thousands(number), if number == 1 { "call" } else { "calls" }))
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    group(&number.to_string())
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four decimals, or six below a cent, where single calls live. Rounded for the eye only.
pub fn dollars(amount: Decimal) -> String {
    let decimals = if amount < Decimal::new(1, 2) { 6 } else { 4 };
    if amount > Decimal::ZERO && amount < Decimal::new(1, 6) {
        return "< $0.000001".into();
    }
    let text = format!("{:.decimals$}", amount.round_dp(decimals as u32));
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("${}.{fraction}", group(whole))
}

/// A name that came from outside, on one line and of bounded width.
pub fn name(text: &str, width: usize) -> String {
    let mut short: String = text.chars().take(width).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(width).is_some() {
        short.push('…');
    }
    short
}
