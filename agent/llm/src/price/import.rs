//! Price lists of others, read into our own format.
//!
//! Numbers are taken as they are written, never as binary fractions. What cannot be said in our format, or counted by us,
//! is left out with a reason: half a price would be a wrong one.

mod genai;
mod litellm;
mod models_dev;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::Kind;
use super::file::{Amount, Day, File, LongPrompt, Rates};

/// A format that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// LiteLLM's `model_prices_and_context_window.json`.
    LiteLlm,
    /// The `api.json` of models.dev.
    ModelsDev,
    /// The `data.json` or `prices.json` of genai-prices, version 2.
    GenaiPrices,
}

/// What was read, and what was not.
#[derive(Debug)]
pub struct Imported {
    /// The prices.
    pub file: File,
    /// What was left out: for each reason the names.
    pub skipped: BTreeMap<String, Vec<String>>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text is no JSON, or not of that shape.
    #[error("line {}, column {}: {source}; is it a file of {format}?", source.line(), source.column())]
    Shape {
        /// What was expected.
        format: Format,
        /// What the reader says.
        source: serde_json::Error,
    },
    /// It has the shape of none.
    #[error("it looks like none of the formats that are known; name one with --format")]
    Unknown,
    /// It has the shape, and nothing in it.
    #[error("it holds no price that could be used; is it a file of {format}?")]
    Empty {
        /// What was expected.
        format: Format,
    },
}

impl Format {
    /// Reads a list. `source` and `date` go into the result.
    pub fn import(self, text: &str, source: &str, date: Day) -> Result<Imported, ImportError> {
        let mut import = Import::default();
        let read = match self {
            Self::LiteLlm => litellm::read(text, &mut import),
            Self::ModelsDev => models_dev::read(text, &mut import),
            Self::GenaiPrices => genai::read(text, &mut import),
        };
        read.map_err(|source| ImportError::Shape { format: self, source })?;
        if import.file.is_empty() {
            return Err(ImportError::Empty { format: self });
        }
        let (providers, prices) = (import.providers, import.file);
        let file = File { source: source.into(), date, providers, prices };
        Ok(Imported { file, skipped: import.skipped })
    }

    /// The format that a text seems to have.
    pub fn guess(text: &str) -> Result<Self, ImportError> {
        let start = &text[..text.floor_char_boundary(65_536)];
        let has = |key: &str| start.contains(key);
        if has("\"litellm_provider\"") {
            Ok(Self::LiteLlm)
        } else if has("_mtok\"") || has("\"pricing_urls\"") {
            Ok(Self::GenaiPrices)
        } else if has("\"models\"") {
            Ok(Self::ModelsDev)
        } else {
            Err(ImportError::Unknown)
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LiteLlm => "LiteLLM",
            Self::ModelsDev => "models.dev",
            Self::GenaiPrices => "genai-prices",
        })
    }
}

#[derive(Default)]
struct Import {
    providers: Vec<super::file::ProviderEntry>,
    file: Vec<super::file::Entry>,
    skipped: BTreeMap<String, Vec<String>>,
}

impl Import {
    fn skip(&mut self, reason: impl Into<String>, name: impl Into<String>) {
        self.skipped.entry(reason.into()).or_default().push(name.into());
    }
}

/// A number as it is written.
fn number(raw: &RawValue) -> Option<Decimal> {
    let text = raw.get().trim_matches('"');
    Amount::from_str(text).ok().map(|amount| amount.0)
}

/// So many times a number, as an amount.
fn scaled(raw: &RawValue, factor: u32) -> Option<Amount> {
    number(raw)?.checked_mul(factor.into()).map(|amount| Amount(amount.normalize()))
}

/// Gives a kind its rate above a number of tokens.
fn set_above(tiers: &mut Vec<LongPrompt>, context_over: u64, kind: Kind, rate: Amount) {
    let at = tiers.iter().position(|tier| tier.context_over == context_over).unwrap_or_else(|| {
        tiers.push(LongPrompt { context_over, rates: Rates::default() });
        tiers.len() - 1
    });
    tiers[at].rates.set(kind, rate);
    tiers.sort_by_key(|tier| tier.context_over);
}

/// Drops rates for long prompts where there are none for short ones.
fn drop_headless(rates: &Rates, tiers: &mut Vec<LongPrompt>) {
    for tier in tiers.iter_mut() {
        let kept = tier.rates.iter().filter(|(kind, _)| rates.iter().any(|(own, _)| own == *kind));
        let mut left = Rates::default();
        kept.for_each(|(kind, rate)| left.set(kind, rate));
        tier.rates = left;
    }
    tiers.retain(|tier| !tier.rates.is_empty());
}

#[cfg(test)]
mod tests;
