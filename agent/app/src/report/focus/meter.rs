//! What is measured and billed, each thing once: a call's counts contain each other, a bill's rows may not.

use rust_decimal::Decimal;
use tollgate_ledger::Line;

/// A kind of thing that is billed.
pub(super) struct Meter {
    /// For `SkuMeter`.
    pub(super) name: &'static str,
    /// What is counted, for `ConsumedUnit`.
    pub(super) consumed: &'static str,
    /// What prices are for, for `PricingUnit`.
    pub(super) priced: &'static str,
    /// How many of the first make one of the second.
    pub(super) per: u32,
}

const fn tokens(name: &'static str) -> Meter {
    Meter { name, consumed: "Tokens", priced: "1000000 Tokens", per: 1_000_000 }
}

const fn pieces(name: &'static str, unit: &'static str) -> Meter {
    Meter { name, consumed: unit, priced: unit, per: 1 }
}

/// All of them. A row's meter is an index of this.
pub(super) const METERS: [Meter; 20] = [
    tokens("Input Tokens"),
    tokens("Cached Input Tokens"),
    tokens("Cache Write Tokens"),
    tokens("Cache Write Tokens (1 hour)"),
    tokens("Input Audio Tokens"),
    tokens("Cached Input Audio Tokens"),
    tokens("Input Image Tokens"),
    tokens("Output Tokens"),
    tokens("Reasoning Tokens"),
    tokens("Output Audio Tokens"),
    tokens("Output Image Tokens"),
    pieces("Web Searches", "Searches"),
    pieces("Tool Calls", "Calls"),
    pieces("Images", "Images"),
    Meter { name: "Audio", consumed: "Milliseconds", priced: "Hours", per: 3_600_000 },
    Meter { name: "Characters", consumed: "Characters", priced: "1000000 Characters", per: 1_000_000 },
    pieces("Search Units", "Searches"),
    pieces("Requests", "Requests"),
    tokens("Inconsistent Tokens"),
    tokens("Cached Input Image Tokens"),
];

/// The meter of what is known of a call as a whole.
pub(super) const REQUESTS: usize = 17;
/// The meter of tokens whose parts exceed the whole, which a provider may say.
const INCONSISTENT: usize = 18;

impl Meter {
    /// A quantity in the unit that prices are for, exact.
    pub(super) fn priced(&self, quantity: Decimal) -> Decimal {
        // All of the divisors but that of hours are powers of ten; an hour's fraction is rounded by the last of 28 digits.
        (quantity / Decimal::from(self.per)).normalize()
    }
}

/// The counts of a call by meter, each token in one of them.
pub(super) fn quantities(line: &Line<'_>) -> Vec<(usize, u64)> {
    let count = |count: Option<u64>| count.unwrap_or(0);
    let mut all = token_quantities(line)
        .unwrap_or_else(|| vec![(INCONSISTENT, count(line.input_tokens).saturating_add(count(line.output_tokens)))]);
    all.extend([
        (11, count(line.web_searches)),
        (12, count(line.server_tools)),
        (13, count(line.images)),
        (14, count(line.audio_ms)),
        (15, count(line.characters)),
        (16, count(line.search_units)),
    ]);
    all.retain(|(_, quantity)| *quantity > 0);
    all
}

fn token_quantities(line: &Line<'_>) -> Option<Vec<(usize, u64)>> {
    let count = |count: Option<u64>| count.unwrap_or(0);
    let cached_audio = count(line.cache_read_audio_tokens);
    let cached = count(line.cache_read_tokens);
    let written = count(line.cache_write_tokens);
    let hour = count(line.cache_write_1h_tokens);
    let audio = count(line.input_audio_tokens).checked_sub(cached_audio)?;
    let cached_image = count(line.cache_read_image_tokens);
    let image = count(line.input_image_tokens).checked_sub(cached_image)?;
    let fresh = [cached, written, audio, image].into_iter().try_fold(count(line.input_tokens), u64::checked_sub)?;
    let (spoken, drawn) = (count(line.output_audio_tokens), count(line.output_image_tokens));
    let reasoning = count(line.reasoning_tokens);
    let text = [reasoning, spoken, drawn].into_iter().try_fold(count(line.output_tokens), u64::checked_sub)?;
    Some(vec![
        (0, fresh),
        (1, cached.checked_sub(cached_audio)?.checked_sub(cached_image)?),
        (2, written.checked_sub(hour)?),
        (3, hour),
        (4, audio),
        (5, cached_audio),
        (6, image),
        (7, text),
        (8, reasoning),
        (9, spoken),
        (10, drawn),
        (19, cached_image),
    ])
}
