//! What each meter of a call cost: its kinds of use, at the prices of the moment at which it was made.

use rust_decimal::Decimal;
use tollgate_ledger::Line;
use tollgate_llm::price::Kind;
use tollgate_llm::{Asked, Prices, ServiceTier, Usage};

use super::meter::REQUESTS;

/// The cost of each meter; `None` unless together they are the cost that the ledger has, to the last digit. It was made
/// with the prices of its time and place, which may not be those that are known here and now.
pub(super) fn split(prices: &Prices, line: &Line<'_>, cost: Decimal) -> Option<Vec<(usize, Decimal)>> {
    let usage = usage(line)?;
    let asked = Asked {
        provider: &line.provider,
        region: line.region.as_deref(),
        response_model: line.response_model.as_deref(),
        request_model: line.request_model.as_deref(),
        usage: &usage,
        pointed: None,
        told: None,
        at: line.started,
    };
    let parts = prices.parts(&asked)?;
    let sum = parts.iter().try_fold(Decimal::ZERO, |sum, (_, part)| sum.checked_add(*part))?;
    (sum == cost).then(|| parts.into_iter().map(|(kind, part)| (meter(kind), part)).collect())
}

fn meter(kind: Kind) -> usize {
    match kind {
        Kind::Input => 0,
        Kind::CacheRead => 1,
        Kind::CacheWrite => 2,
        Kind::CacheWrite1h => 3,
        Kind::InputAudio => 4,
        Kind::CacheReadAudio => 5,
        Kind::InputImage => 6,
        Kind::Output => 7,
        Kind::Reasoning => 8,
        Kind::OutputAudio => 9,
        Kind::OutputImage => 10,
        Kind::WebSearch => 11,
        Kind::ServerTool => 12,
        Kind::Image => 13,
        Kind::Audio => 14,
        Kind::Characters => 15,
        Kind::SearchUnit => 16,
        Kind::Request => REQUESTS,
        Kind::CacheReadImage => 19,
    }
}

fn usage(line: &Line<'_>) -> Option<Usage> {
    let tiers =
        [ServiceTier::Standard, ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Fast, ServiceTier::Batch];
    let tier = tiers.into_iter().find(|tier| line.service_tier.as_deref() == Some(tier.as_str()))?;
    let count = |count: Option<u64>| count.unwrap_or(0);
    Some(Usage {
        input: line.input_tokens?,
        output: count(line.output_tokens),
        cache_read: count(line.cache_read_tokens),
        cache_write: count(line.cache_write_tokens),
        cache_write_1h: count(line.cache_write_1h_tokens),
        reasoning: count(line.reasoning_tokens),
        input_audio: count(line.input_audio_tokens),
        cache_read_audio: count(line.cache_read_audio_tokens),
        output_audio: count(line.output_audio_tokens),
        output_image: count(line.output_image_tokens),
        input_image: count(line.input_image_tokens),
        cache_read_image: count(line.cache_read_image_tokens),
        input_tool: count(line.input_tool_tokens),
        web_searches: count(line.web_searches),
        server_tools: count(line.server_tools),
        images: count(line.images),
        audio_ms: count(line.audio_ms),
        characters: count(line.characters),
        search_units: count(line.search_units),
        tier,
    })
}
