//! From usage, which contains parts of parts, to what is charged, each once.

use rust_decimal::Decimal;

use super::layer::{self, Model, Rate, Settings};
use super::{Kind, Unpriced};
use crate::usage::Usage;

/// Beyond this a count is not true, and arithmetic could overflow.
const MOST: u64 = 1 << 53;

/// What the usage costs at a model's rates, before factors. See [`Model::rates`] for `is_own`.
pub(super) fn cost(
    model: &Model,
    settings: &Settings,
    usage: &Usage,
    at: i64,
    is_own: bool,
) -> Result<Decimal, Unpriced> {
    each(model, settings, usage, at, is_own, |_kind, _cost| {})
}

/// The same, and tells what each kind costs.
pub(super) fn each(
    model: &Model,
    settings: &Settings,
    usage: &Usage,
    at: i64,
    is_own: bool,
    mut part: impl FnMut(Kind, Decimal),
) -> Result<Decimal, Unpriced> {
    let rates = model.rates(usage.tier, settings, at, is_own).ok_or(Unpriced::NoTier(usage.tier))?;
    let card = Card { rates, cached_as_input: settings.cached_as_input, input: usage.input };
    let mut total = Decimal::ZERO;
    let mut add = |kind: Kind, rate: &Rate, count: u64| {
        if count > MOST {
            return Err(Unpriced::Contradiction);
        }
        // The rate first: it is what may have many digits, and dividing by a power of ten loses none.
        let cost = kind.each(rate.at(usage.input)).checked_mul(count.into()).ok_or(Unpriced::Contradiction)?;
        total = total.checked_add(cost).ok_or(Unpriced::Contradiction)?;
        part(kind, cost);
        Ok(())
    };

    let audio = if usage.audio_ms == 0 { 0 } else { usage.audio_ms.max(model.minimum_audio_ms) };
    let pieces = [
        (Kind::Image, usage.images),
        (Kind::Audio, audio),
        (Kind::Characters, usage.characters),
        (Kind::SearchUnit, usage.search_units),
    ];
    let tokens = tokens(usage).ok_or(Unpriced::Contradiction)?;
    let by_tokens = card.own(Kind::Input).is_some() || card.own(Kind::Output).is_some();
    let has_tokens = tokens.iter().any(|(_, count)| *count > 0);
    let by_pieces = pieces.iter().any(|(kind, count)| *count > 0 && card.own(*kind).is_some());
    // Some measures are other ways to tell the same: an image's tokens, a recording's length. Those that the model is not
    // sold by cost nothing, as long as one that it is sold by was told.
    for (kind, count) in pieces.into_iter().filter(|(_, count)| *count > 0) {
        match card.own(kind) {
            Some(rate) => add(kind, rate, count)?,
            None if by_pieces || (by_tokens && has_tokens) => {}
            None => return Err(Unpriced::NoRate(kind)),
        }
    }
    for (kind, count) in tokens.into_iter().filter(|(_, count)| *count > 0) {
        match card.rate(kind) {
            Some(rate) => add(kind, rate, count)?,
            None if by_pieces && !by_tokens => {}
            None => return Err(Unpriced::NoRate(kind)),
        }
    }
    for (kind, count) in [(Kind::WebSearch, usage.web_searches), (Kind::ServerTool, usage.server_tools)] {
        match card.own(kind) {
            _ if count == 0 => {}
            Some(rate) => add(kind, rate, count)?,
            None => return Err(Unpriced::NoRate(kind)),
        }
    }
    if let Some(rate) = card.own(Kind::Request) {
        add(Kind::Request, rate, 1)?;
    }
    Ok(total)
}

/// The rates that hold for one exchange.
struct Card<'a> {
    rates: layer::Card<'a>,
    cached_as_input: bool,
    input: u64,
}

impl<'a> Card<'a> {
    fn own(&self, kind: Kind) -> Option<&'a Rate> {
        self.rates.iter().find_map(|rates| rates.iter().find(|(own, _)| *own == kind)).map(|(_, rate)| rate)
    }

    /// The kind's own rate, or that of the kind that price pages let it be part of.
    fn rate(&self, kind: Kind) -> Option<&'a Rate> {
        if let Some(rate) = self.own(kind) {
            return Some(rate);
        }
        match kind {
            // Where audio or images cost what text costs, so do they from the cache.
            Kind::CacheReadAudio if self.is_as_text(Kind::InputAudio) => self.rate(Kind::CacheRead),
            Kind::CacheReadImage if self.is_as_text(Kind::InputImage) => self.rate(Kind::CacheRead),
            // Five minutes' rate is not an hour's.
            Kind::CacheWrite1h if self.own(Kind::CacheWrite).is_some() => None,
            Kind::CacheRead | Kind::CacheWrite | Kind::CacheWrite1h if self.cached_as_input => self.own(Kind::Input),
            kind => kind.general().and_then(|general| self.own(general)),
        }
    }

    fn is_as_text(&self, kind: Kind) -> bool {
        match (self.own(kind), self.own(Kind::Input)) {
            (Some(own), Some(text)) => own.at(self.input) == text.at(self.input),
            (own, _) => own.is_none(),
        }
    }
}

/// The tokens of each kind without those of the kinds within it; `None` when the parts exceed the whole.
fn tokens(usage: &Usage) -> Option<[(Kind, u64); 12]> {
    // Special tokens that are in the cache are not read again.
    let audio = usage.input_audio.checked_sub(usage.cache_read_audio)?;
    let image = usage.input_image.checked_sub(usage.cache_read_image)?;
    let cache_read = usage.cache_read.checked_sub(usage.cache_read_audio.checked_add(usage.cache_read_image)?)?;
    let cache_write = usage.cache_write.checked_sub(usage.cache_write_1h)?;
    let parts = [usage.cache_read, usage.cache_write, audio, image];
    let input = parts.into_iter().try_fold(usage.input, u64::checked_sub)?;
    let special = usage.output_audio.checked_add(usage.output_image)?;
    // Reasoning is text: it is never more than what is neither sound nor picture.
    let text = usage.output.checked_sub(special)?;
    let output = text.checked_sub(usage.reasoning)?;
    Some([
        (Kind::Input, input),
        (Kind::Output, output),
        (Kind::CacheRead, cache_read),
        (Kind::CacheWrite, cache_write),
        (Kind::CacheWrite1h, usage.cache_write_1h),
        (Kind::Reasoning, usage.reasoning),
        (Kind::InputAudio, audio),
        (Kind::CacheReadAudio, usage.cache_read_audio),
        (Kind::OutputAudio, usage.output_audio),
        (Kind::InputImage, image),
        (Kind::CacheReadImage, usage.cache_read_image),
        (Kind::OutputImage, usage.output_image),
    ])
}
