//! Rates as published: platform.openai.com/docs/pricing, platform.claude.com/docs/en/about-claude/pricing,
//! ai.google.dev/gemini-api/docs/pricing. In dollars per million tokens where a test says "rate".

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

/// 2026-11-22.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(20_779 * 24)
}

fn cost(provider: &str, model: &str, usage: Usage) -> Option<String> {
    price(provider, model, &usage, now()).map(|dollars| dollars.to_string())
}

#[test]
fn openai_cached_input_costs_its_own_rate_and_reasoning_is_output() {
    // Rates 0.15, cached 0.075, output 0.60: 86 × 0.15 + 1920 × 0.075 + 300 × 0.60.
    let usage = Usage { input: 2006, output: 300, cache_read: 1920, reasoning: 128, ..Usage::default() };
    assert_eq!(cost("openai", "gpt-4o-mini-2024-07-18", usage), Some("0.0003369".to_owned()));
    // Rates 1.25, cached 0.125, output 10.
    let usage = Usage { input: 4137, output: 186, cache_read: 4096, reasoning: 128, ..Usage::default() };
    assert_eq!(cost("openai", "gpt-5-2025-08-07", usage), Some("0.00242325".to_owned()));
    let usage = Usage { input: 8, ..Usage::default() };
    assert_eq!(cost("openai", "text-embedding-3-small", usage), Some("0.00000016".to_owned()));
}

#[test]
fn openai_tiers_have_their_rates() {
    let usage = |tier| Usage { input: 1_000_000, output: 1_000_000, tier, ..Usage::default() };
    assert_eq!(cost("openai", "gpt-5", usage(ServiceTier::Standard)), Some("11.25".to_owned()));
    assert_eq!(cost("openai", "gpt-5", usage(ServiceTier::Flex)), Some("5.625".to_owned()));
    assert_eq!(cost("openai", "gpt-5", usage(ServiceTier::Priority)), Some("22.5".to_owned()));
    assert_eq!(cost("openai", "gpt-5", usage(ServiceTier::Batch)), Some("5.625".to_owned()));
}

#[test]
fn anthropic_cache_writes_are_charged_once_and_by_their_time_to_live() {
    // Opus's rates 5, read 0.50, output 25: 10 000 fresh, 40 000 from the cache, 15 000 out.
    let usage = Usage { input: 50_000, output: 15_000, cache_read: 40_000, ..Usage::default() };
    assert_eq!(cost("anthropic", "claude-opus-4-5-20251101", usage), Some("0.445".to_owned()));
    // Sonnet's rates 3, 5 min write 3.75, 1 h write 6, read 0.30, output 15, with 21, 456, 187 630, 1000 and 393 tokens.
    let usage = Usage {
        input: 189_107,
        output: 393,
        cache_read: 1000,
        cache_write: 188_086,
        cache_write_1h: 187_630,
        ..Usage::default()
    };
    assert_eq!(cost("anthropic", "claude-sonnet-4-5-20250929", usage), Some("1.133748".to_owned()));
}

#[test]
fn long_prompts_cost_the_higher_rate_from_the_first_token_on() {
    let usage = |input| Usage { input, output: 1000, ..Usage::default() };
    assert_eq!(cost("anthropic", "claude-sonnet-4-5", usage(200_000)), Some("0.615".to_owned()));
    assert_eq!(cost("anthropic", "claude-sonnet-4-5", usage(200_001)), Some("1.222506".to_owned()));
    assert_eq!(cost("gcp.gemini", "gemini-2.5-pro", usage(200_000)), Some("0.26".to_owned()));
    assert_eq!(cost("gcp.gemini", "gemini-2.5-pro", usage(200_001)), Some("0.5150025".to_owned()));
}

#[test]
fn searches_are_charged_by_the_piece() {
    let usage = Usage { input: 10_682, output: 510, web_searches: 3, ..Usage::default() };
    assert_eq!(cost("anthropic", "claude-sonnet-4-5", usage), Some("0.069696".to_owned()));
}

#[test]
fn gemini_thoughts_are_output_and_audio_has_its_rate() {
    // Rates 0.30, audio 1.00, cached 0.03, cached audio 0.10, output 2.50.
    let usage = Usage { input: 10, output: 120, reasoning: 90, ..Usage::default() };
    assert_eq!(cost("gcp.gemini", "gemini-2.5-flash", usage), Some("0.000303".to_owned()));
    let usage = Usage {
        input: 696_219,
        output: 214,
        cache_read: 696_190,
        input_audio: 696_190,
        cache_read_audio: 696_190,
        ..Usage::default()
    };
    assert_eq!(cost("gcp.gemini", "gemini-2.5-flash", usage), Some("0.0701627".to_owned()));
    // An image of 1290 tokens at 30.
    let usage = Usage { input: 12, output: 1290, output_image: 1290, ..Usage::default() };
    assert_eq!(cost("gcp.gemini", "gemini-2.5-flash-image", usage), Some("0.0387036".to_owned()));
}

#[test]
fn what_has_no_price_is_not_free() {
    let usage = Usage { input: 100, output: 100, ..Usage::default() };
    for (provider, model) in [
        ("openai", "gpt-9000"),
        ("openai", ""),
        ("openai", "claude-sonnet-4-5"),
        ("my-openai-proxy", "gpt-5"),
        ("vllm", "gpt-5"),
        ("", "gpt-5"),
    ] {
        assert_eq!(cost(provider, model, usage), None, "{provider} {model}");
    }
    // Listed, but with no rate per token.
    assert_eq!(cost("openai", "whisper-1", usage), None);
}

#[test]
fn nothing_used_costs_nothing() {
    assert_eq!(cost("openai", "gpt-5", Usage::default()), Some("0".to_owned()));
}

#[test]
fn counts_that_contradict_each_other_have_no_price() {
    for usage in [
        Usage { input: 10, cache_read: 11, ..Usage::default() },
        Usage { input: 10, cache_write: 5, cache_write_1h: 6, ..Usage::default() },
        Usage { input: u64::MAX, ..Usage::default() },
    ] {
        assert_eq!(cost("anthropic", "claude-sonnet-4-5", usage), None, "{usage:?}");
    }
}

proptest! {
    #[test]
    fn equals_exact_decimal_arithmetic(
        fresh in 0u64..100_000, read in 0u64..50_000, write_5m in 0u64..25_000, write_1h in 0u64..25_000, output in 0u64..1_000_000,
    ) {
        let usage = Usage {
            input: fresh + read + write_5m + write_1h,
            output,
            cache_read: read,
            cache_write: write_5m + write_1h,
            cache_write_1h: write_1h,
            ..Usage::default()
        };
        let rate = |rate: &str| rate.parse::<Decimal>().unwrap() / Decimal::from(1_000_000);
        let expected = Decimal::from(fresh) * rate("3")
            + Decimal::from(read) * rate("0.30")
            + Decimal::from(write_5m) * rate("3.75")
            + Decimal::from(write_1h) * rate("6")
            + Decimal::from(output) * rate("15");
        prop_assert_eq!(price("anthropic", "claude-sonnet-4-5", &usage, now()), Some(expected));
        let usage = Usage { cache_write: 0, cache_write_1h: 0, ..usage };
        let expected = Decimal::from(usage.input - read) * rate("0.05") + Decimal::from(read) * rate("0.005") + Decimal::from(output) * rate("0.4");
        prop_assert_eq!(price("openai", "gpt-5-nano", &usage, now()), Some(expected));
    }
}
