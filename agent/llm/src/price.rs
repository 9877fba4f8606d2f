//! What usage costs, by list price.
//!
//! The rates are those of the crate genai-prices 0.2.1 (github.com/pydantic/genai-prices at 1964e1dc, MIT), taken from
//! the providers' price pages and verified there at dates up to 2026-10-30. It counts in binary floating point; see
//! [`price`] for why no cent is lost by that. Regional surcharges and private discounts are not in it.

mod status;

use std::time::SystemTime;

use genai_prices::{Calculator, PriceRequest, Usage as Units, UsageKey};
use rust_decimal::Decimal;

pub use status::PriceStatus;

use crate::usage::{ServiceTier, Usage};

/// Where the rates are from, for reports.
pub const PRICES_FROM: &str = "genai-prices 0.2.1, verified up to 2026-10-30";

/// Reads the rates in, which takes tens of milliseconds. Call it at start, or the first [`price`] does it.
pub fn load_prices() {
    let _calculator = Calculator::bundled();
}

/// The cost in US dollars of `usage` at `model` of `provider` (a `gen_ai.provider.name`), at the rates of the time `at`.
///
/// `None` when provider or model have no price, when the price list has no rate for what was used, or when the counts
/// contradict each other. An unknown price is never zero.
///
/// The result is rounded to 10⁻¹² dollars. Rates have at most six decimals per million tokens, so the exact cost has at
/// most twelve; the floating-point sum is off by less than half of that below some hundred dollars a call, and rounding
/// restores the exact decimal. (A few rates of small providers are repeating fractions; theirs is rounded.)
pub fn price(provider: &str, model: &str, usage: &Usage, at: SystemTime) -> Option<Decimal> {
    let units = units(usage)?;
    let request = PriceRequest::new(model, &units).with_provider_id(list_name(provider)?).with_timestamp(at);
    let request = match usage.tier {
        ServiceTier::Standard => request,
        ServiceTier::Flex | ServiceTier::Priority | ServiceTier::Fast => {
            request.with_price_context("service_tier", usage.tier.as_str())
        }
        ServiceTier::Batch => request.with_price_context("processing", "batch"),
    };
    let dollars = Calculator::bundled().calculate(&request).ok()?.total_price;
    // A model that is listed without rates for tokens comes out at nothing.
    let is_unpriced = dollars == 0.0 && (usage.input > 0 || usage.output > 0);
    let exact = Decimal::from_f64_retain(dollars).filter(|_| !is_unpriced)?;
    Some(exact.round_dp(DECIMALS).normalize())
}

const DECIMALS: u32 = 12;

/// The list's name for a provider. Names that merely look alike get no price.
fn list_name(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "anthropic" => "anthropic",
        "aws.bedrock" => "aws",
        "azure.ai.inference" | "azure.ai.openai" => "azure",
        "cohere" => "cohere",
        "deepseek" => "deepseek",
        "gcp.gemini" | "gcp.gen_ai" | "gcp.vertex_ai" => "google",
        "groq" => "groq",
        "mistral_ai" => "mistral",
        "openai" => "openai",
        "openrouter" => "openrouter",
        "perplexity" => "perplexity",
        "x_ai" => "x-ai",
        _ => return None,
    })
}

/// In the list's units, where the general ones contain the special ones as [`Usage`] has it. The parts that are zero
/// are said too: two parts without their overlap (audio, cached, but how much cached audio?) would have no price.
fn units(usage: &Usage) -> Option<Units> {
    let write_5m = usage.cache_write.checked_sub(usage.cache_write_1h)?;
    let counts = [
        (UsageKey::INPUT_TOKENS, usage.input),
        (UsageKey::OUTPUT_TOKENS, usage.output),
        (UsageKey::CACHE_READ_TOKENS, usage.cache_read),
        (UsageKey::CACHE_WRITE_TOKENS, usage.cache_write),
        (UsageKey::CACHE_WRITE_5M_TOKENS, write_5m),
        (UsageKey::CACHE_WRITE_1H_TOKENS, usage.cache_write_1h),
        (UsageKey::OUTPUT_REASONING_TOKENS, usage.reasoning),
        (UsageKey::INPUT_AUDIO_TOKENS, usage.input_audio),
        (UsageKey::CACHE_AUDIO_READ_TOKENS, usage.cache_read_audio),
        (UsageKey::OUTPUT_AUDIO_TOKENS, usage.output_audio),
        (UsageKey::OUTPUT_IMAGE_TOKENS, usage.output_image),
        (UsageKey::WEB_SEARCHES, usage.web_searches),
    ];
    // Beyond 2^53 a count would not be exact, and is not true either.
    let is_sane = counts.iter().all(|&(_, count)| count < 1 << 53);
    is_sane.then(|| counts.into_iter().map(|(key, count)| (key, count as f64)).collect())
}

#[cfg(test)]
mod tests;
