//! What a call may cost at most, before it is sent.

use std::time::SystemTime;

use rust_decimal::Decimal;

use super::layer::{Card, Model, Rate, Settings};
use super::{DECIMALS, Kind, Prices, Unpriced, seconds};
use crate::request::{Caching, RequestFacts};
use crate::usage::{ServiceTier, Usage};

/// A call that is to be sent, and the most that it may use.
#[derive(Debug, Clone, Copy)]
pub struct WorstCase<'a> {
    /// As in `gen_ai.provider.name`, or the operator's own name.
    pub provider: &'a str,
    /// The provider's region, where it is known.
    pub region: Option<&'a str>,
    /// What the request says: its model, tier, choices, caching, images and files count.
    pub facts: &'a RequestFacts,
    /// Input tokens, of [`estimate_input`](crate::estimate_input).
    pub input: u64,
    /// Output tokens, of [`largest_output`](crate::largest_output).
    pub output: u64,
    /// When.
    pub at: SystemTime,
}

/// Which rates may apply to what is read, and which to what is written.
struct Kinds {
    input: Vec<Kind>,
    output: &'static [Kind],
}

/// How many milliseconds of sound a byte holds at most: at 16 kbit/s, less than what is used for speech.
const SOUND_MS_IN_TWO_BYTES: u64 = 1;

impl Prices {
    /// What the call may cost at most, in US dollars: all of it at the highest rate that may apply to such tokens. The cache's discount is
    /// not counted on, its surcharge is where it may be charged, and dearer tiers are where they are asked for. What the provider's own
    /// tools cost by the call cannot be known before.
    pub fn worst(&self, case: &WorstCase<'_>) -> Result<Decimal, Unpriced> {
        let usage = Usage::default();
        let asked = super::Asked {
            provider: case.provider,
            region: case.region,
            response_model: None,
            request_model: case.facts.model.as_deref(),
            usage: &usage,
            pointed: None,
            told: None,
            at: case.at,
        };
        let (at, search) = (seconds(case.at), self.search(&asked));
        let mut changes: Vec<&Model> = Vec::new();
        for candidate in &search.candidates {
            let model = self.model(candidate);
            if !model.is_at(at) {
                continue;
            }
            if !model.has_rates() {
                if !changes.iter().any(|other| std::ptr::eq(*other, model)) {
                    changes.push(model);
                }
                continue;
            }
            let cards = cards(model, self.settings(case.provider), case.facts.tier, at, candidate.is_own)?;
            let cost = cost(&cards, model, case)?;
            let factors = [model].into_iter().chain(changes).filter_map(|model| model.multiply);
            let cost = factors.into_iter().try_fold(cost, Decimal::checked_mul).ok_or(Unpriced::Contradiction)?;
            return Ok(cost.round_dp(DECIMALS).normalize());
        }
        Err(if search.is_listed { Unpriced::UnknownModel } else { Unpriced::UnknownProvider })
    }
}

/// The rates of the tier that is asked for, where it is a dearer one, and those of the standard tier, at which an answer may come too.
fn cards<'a>(
    model: &'a Model,
    settings: &'a Settings,
    tier: ServiceTier,
    at: i64,
    is_own: bool,
) -> Result<Vec<Card<'a>>, Unpriced> {
    let of = |tier| model.rates(tier, settings, at, is_own).ok_or(Unpriced::NoTier(tier));
    let mut cards = vec![of(ServiceTier::Standard)?];
    if matches!(tier, ServiceTier::Priority | ServiceTier::Fast) {
        cards.push(of(tier)?);
    }
    Ok(cards)
}

fn cost(cards: &[Card<'_>], model: &Model, case: &WorstCase<'_>) -> Result<Decimal, Unpriced> {
    let rate = |kind: Kind| -> Option<Decimal> {
        let own = |card: &Card<'_>| -> Option<Decimal> {
            let found: Option<&(Kind, Rate)> = card.iter().find_map(|rates| rates.iter().find(|(own, _)| *own == kind));
            found.map(|(_, rate)| kind.each(rate.at(case.input)))
        };
        cards.iter().filter_map(own).max()
    };
    let highest = |kinds: &[Kind]| kinds.iter().filter_map(|kind| rate(*kind)).max();
    let times = |rate: Decimal, count: u64| rate.checked_mul(count.into()).ok_or(Unpriced::Contradiction);

    let facts = case.facts;
    let sound = (facts.body_bytes / 2 * SOUND_MS_IN_TWO_BYTES).max(model.minimum_audio_ms);
    let pieces = [
        (Kind::Image, u64::from(facts.choices.unwrap_or(1).max(1))),
        (Kind::Audio, sound),
        (Kind::Characters, facts.body_bytes),
        (Kind::SearchUnit, 1),
    ];
    let pieces = pieces.into_iter().filter_map(|(kind, count)| Some(times(rate(kind)?, count)));
    let pieces = pieces.collect::<Result<Vec<_>, _>>()?.into_iter().max();

    let kinds = kinds(facts);
    let mut total = pieces.unwrap_or_default();
    let mut tokens = Decimal::ZERO;
    for (count, kinds, missing) in
        [(case.input, &kinds.input[..], Kind::Input), (case.output, kinds.output, Kind::Output)]
    {
        match highest(kinds) {
            Some(rate) => tokens += times(rate, count)?,
            None if count == 0 || pieces.is_some() => {}
            None => return Err(Unpriced::NoRate(missing)),
        }
    }
    // Some measures are other ways to tell the same, such as an image's tokens and the image.
    total = total.max(tokens);
    let request = rate(Kind::Request).unwrap_or_default();
    total.checked_add(request).ok_or(Unpriced::Contradiction)
}

fn kinds(facts: &RequestFacts) -> Kinds {
    let mut input = vec![Kind::Input];
    // Claude's cache is written to where that is asked for, others' may be at any time.
    let is_claude = facts.model.as_deref().is_some_and(|model| model.contains("claude"));
    if facts.caching.is_some() || !is_claude {
        input.push(Kind::CacheWrite);
    }
    if facts.caching == Some(Caching::Hour) {
        input.push(Kind::CacheWrite1h);
    }
    if facts.images > 0 {
        input.push(Kind::InputImage);
    }
    if facts.files > 0 {
        input.extend([Kind::InputImage, Kind::InputAudio]);
    }
    Kinds { input, output: &[Kind::Output, Kind::Reasoning, Kind::OutputAudio, Kind::OutputImage] }
}

#[cfg(test)]
mod tests;
