//! Each golden test names the page that its rates are from, and until when they are known to have stood there. They were
//! written down without looking at the bundled list, which they so check. Rates are dollars per million tokens.

use std::time::Duration;

use proptest::prelude::*;

use super::file::{Day, Entry, File, LongPrompt, PointerRate, Rates};
use super::*;

mod layers;
mod oracle;
mod published;

/// 2026-11-22.
fn now() -> SystemTime {
    day("2026-11-22")
}

fn day(day: &str) -> SystemTime {
    day.parse::<Day>().unwrap().time()
}

fn asked<'a>(provider: &'a str, model: &'a str, usage: &'a Usage) -> Asked<'a> {
    Asked {
        provider,
        region: None,
        response_model: Some(model),
        request_model: None,
        usage,
        pointed: None,
        told: None,
        at: now(),
    }
}

fn cost(provider: &str, model: &str, usage: Usage) -> Result<String, Unpriced> {
    cost_at(provider, model, usage, now())
}

fn cost_at(provider: &str, model: &str, usage: Usage, at: SystemTime) -> Result<String, Unpriced> {
    let asked = Asked { at, ..asked(provider, model, &usage) };
    Prices::bundled().price(&asked).map(|price| price.cost.to_string())
}

fn status(provider: &str, model: &str) -> PriceStatus {
    let usage = Usage { input: 100, output: 100, ..Usage::default() };
    Prices::bundled().price(&asked(provider, model, &usage)).map_or_else(Unpriced::status, |price| price.status)
}

#[test]
fn the_bundled_files_are_valid_and_say_where_they_are_from() {
    let usage = Usage { input: 1, ..Usage::default() };
    let price = Prices::bundled().price(&asked("openai", "gpt-5", &usage)).unwrap();
    assert_eq!(&*price.from, "genai-prices 0.2.1 (github.com/pydantic/genai-prices at 1964e1dc), 2026-10-30");
    for (name, file) in bundled_files() {
        Layer::new(name, &file, &mut Vec::new()).unwrap();
        assert_eq!(File::from_json(&file.to_json()).unwrap(), file, "what is written is read back");
    }
}

#[test]
fn what_has_no_price_is_not_free() {
    let usage = Usage { input: 100, output: 100, ..Usage::default() };
    for (provider, model, reason) in [
        ("openai", "gpt-9000", Unpriced::UnknownModel),
        ("openai", "", Unpriced::UnknownModel),
        ("openai", "claude-sonnet-4-5", Unpriced::UnknownModel),
        ("my-openai-proxy", "gpt-5", Unpriced::UnknownProvider),
        ("", "gpt-5", Unpriced::UnknownProvider),
        // Listed, but not by the token.
        ("openai", "whisper-1", Unpriced::NoRate(Kind::Input)),
    ] {
        assert_eq!(cost(provider, model, usage), Err(reason), "{provider} {model}");
    }
    let none = Asked { response_model: None, ..asked("openai", "", &usage) };
    assert_eq!(Prices::bundled().price(&none), Err(Unpriced::UnknownModel));
}

#[test]
fn a_part_without_a_rate_makes_the_whole_unknown_and_is_named() {
    let of = |usage: Usage| cost("openai", "gpt-4o", Usage { input: 1000, output: 10, ..usage });
    let lacks = |kind| Err(Unpriced::NoRate(kind));
    assert!(of(Usage::default()).is_ok());
    assert_eq!(of(Usage { server_tools: 1, ..Usage::default() }), lacks(Kind::ServerTool));
    assert_eq!(cost("openai", "gpt-4o", Usage { images: 1, ..Usage::default() }), lacks(Kind::Image));
    assert_eq!(cost("openai", "gpt-4o", Usage { audio_ms: 1, ..Usage::default() }), lacks(Kind::Audio));
    assert_eq!(cost("openai", "gpt-4o", Usage { search_units: 1, ..Usage::default() }), lacks(Kind::SearchUnit));
    let embedded = Usage { input: 5, output: 1, ..Usage::default() };
    assert_eq!(cost("openai", "text-embedding-3-small", embedded), lacks(Kind::Output));
    assert_eq!(lacks(Kind::CacheWrite1h), {
        // Nova's cache has one price for writing at most.
        let hour = Usage { input: 10, cache_write: 5, cache_write_1h: 5, ..Usage::default() };
        cost("aws.bedrock", "amazon.nova-lite-v1:0", hour)
    });
    let message = Unpriced::NoRate(Kind::CacheWrite1h).to_string();
    assert_eq!(message, "the model has no rate for `cache_write_1h`; add it to a file in `prices.files`");
}

#[test]
fn what_openai_writes_to_its_cache_costs_as_input_where_the_model_has_no_rate_for_it() {
    let of =
        |model, cache_write| cost("openai", model, Usage { input: 1000, output: 10, cache_write, ..Usage::default() });
    assert!(of("gpt-4o", 0).is_ok());
    assert_eq!(of("gpt-4o", 500), of("gpt-4o", 0));
    assert_eq!(
        cost("anthropic", "claude-2", Usage { input: 1000, cache_write: 500, ..Usage::default() }),
        Err(Unpriced::NoRate(Kind::CacheWrite)),
        "elsewhere its price is not known"
    );
}

#[test]
fn a_service_tier_without_rates_is_unknown_and_not_the_standard_one() {
    let usage = |tier| Usage { input: 1000, output: 10, tier, ..Usage::default() };
    let none = |tier| Err(Unpriced::NoTier(tier));
    assert_eq!(cost("openai", "gpt-4", usage(ServiceTier::Priority)), none(ServiceTier::Priority));
    assert_eq!(cost("azure.ai.openai", "gpt-5", usage(ServiceTier::Flex)), none(ServiceTier::Flex));
    // Before the day from which they are known.
    let then = cost_at("openai", "gpt-5", usage(ServiceTier::Flex), day("2026-10-11"));
    assert_eq!(then, none(ServiceTier::Flex));
}

#[test]
fn nothing_used_costs_nothing() {
    assert_eq!(cost("openai", "gpt-5", Usage::default()), Ok("0".to_owned()));
}

#[test]
fn counts_that_contradict_each_other_have_no_price() {
    for usage in [
        Usage { input: 10, cache_read: 11, ..Usage::default() },
        Usage { input: 10, cache_write: 5, cache_write_1h: 6, ..Usage::default() },
        Usage { input: 10, cache_read: 6, cache_write: 5, ..Usage::default() },
        Usage { output: 10, reasoning: 11, ..Usage::default() },
        Usage { input: 10, input_audio: 5, cache_read: 6, cache_read_audio: 6, ..Usage::default() },
        Usage { input: u64::MAX, ..Usage::default() },
        Usage { input: u64::MAX, cache_write: u64::MAX, cache_write_1h: u64::MAX, ..Usage::default() },
        Usage { output: u64::MAX, output_audio: u64::MAX, output_image: u64::MAX, ..Usage::default() },
        Usage { web_searches: u64::MAX, ..Usage::default() },
    ] {
        assert_eq!(cost("anthropic", "claude-sonnet-4-5", usage), Err(Unpriced::Contradiction), "{usage:?}");
    }
}

#[test]
fn models_are_known_by_the_names_that_callers_use() {
    use PriceStatus::{Alias, Exact, UnknownModel};
    for (provider, model, expected) in [
        ("openai", "gpt-5", Exact),
        ("openai", "GPT-5", Exact),
        ("openai", "gpt-5-2025-08-07", Exact),
        ("openai", "gpt-5-chat-latest", Exact),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123", Alias),
        ("openai", "ft:gpt-9:acme::abc123", UnknownModel),
        ("anthropic", "claude-sonnet-4-5-20250929", Alias),
        ("gcp.gemini", "models/gemini-2.5-flash", Alias),
        ("gcp.gemini", "gemini-2.5-flash", Exact),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro", Alias),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", Alias),
        ("gcp.vertex_ai", "claude-opus-4-8@default", Alias),
        ("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", Alias),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Alias),
        ("azure.ai.openai", "gpt-5-mini-2025-08-07", Alias),
        ("azure.ai.inference", "gpt-4o", Alias),
        ("openrouter", "openai/gpt-4o-mini", Exact),
        ("openrouter", "gpt-4o-mini", UnknownModel),
        ("mistral_ai", "mistral-large-latest", Exact),
    ] {
        assert_eq!(status(provider, model), expected, "{provider} {model}");
    }
}

#[test]
fn a_deployments_own_name_leaves_the_price_to_the_model_that_answered() {
    let usage = Usage { input: 1_000_000, ..Usage::default() };
    let deployment = Asked {
        response_model: Some("gpt-4o-2024-08-06"),
        request_model: Some("gpt-4"),
        ..asked("azure.ai.openai", "", &usage)
    };
    assert_eq!(Prices::bundled().price(&deployment).unwrap().cost.to_string(), "2.5");
    let unknown = Asked { response_model: Some("my-model"), request_model: Some("gpt-4o"), ..deployment };
    assert_eq!(Prices::bundled().price(&unknown).unwrap().cost.to_string(), "2.5");
    // At Bedrock the profile that is asked for has a price of its own.
    let profile = Asked {
        provider: "aws.bedrock",
        response_model: Some("claude-sonnet-4-5-20250929"),
        request_model: Some("global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ..deployment
    };
    assert_eq!(Prices::bundled().price(&profile).unwrap().cost.to_string(), "3");
}

#[test]
fn what_the_provider_tells_counts_before_the_bundled_list() {
    let usage = Usage { input: 10, output: 5, ..Usage::default() };
    let told = Asked { told: Some(Decimal::new(1234, 6)), ..asked("openrouter", "no/such-model", &usage) };
    let price = Prices::bundled().price(&told).unwrap();
    assert_eq!((price.cost.to_string().as_str(), price.status), ("0.001234", PriceStatus::Told));
    let negative = Asked { told: Some(Decimal::NEGATIVE_ONE), ..told };
    assert_eq!(Prices::bundled().price(&negative), Err(Unpriced::UnknownModel));
}

/// Usage whose parts fit into each other.
fn any_usage() -> impl Strategy<Value = Usage> {
    let tokens = || 0u64..1_000_000;
    (tokens(), tokens(), tokens(), tokens(), tokens(), tokens(), 0u64..50).prop_map(
        |(fresh, read, write_5m, write_1h, text, reasoning, web_searches)| Usage {
            input: fresh + read + write_5m + write_1h,
            output: text + reasoning,
            cache_read: read,
            cache_write: write_5m + write_1h,
            cache_write_1h: write_1h,
            reasoning,
            web_searches,
            ..Usage::default()
        },
    )
}

fn exact(provider: &str, model: &str, usage: &Usage) -> Decimal {
    Prices::bundled().price(&asked(provider, model, usage)).unwrap().cost
}

proptest! {
    #[test]
    fn costs_are_what_exact_arithmetic_says(usage in any_usage()) {
        let rate = |rate: &str| rate.parse::<Decimal>().unwrap() / Decimal::from(1_000_000);
        let n = Decimal::from;
        let fresh = usage.input - usage.cache_read - usage.cache_write;
        let expected = n(fresh) * rate("5")
            + n(usage.cache_read) * rate("0.50")
            + n(usage.cache_write - usage.cache_write_1h) * rate("6.25")
            + n(usage.cache_write_1h) * rate("10")
            + n(usage.output) * rate("25")
            + n(usage.web_searches) * rate("10000");
        prop_assert_eq!(exact("anthropic", "claude-opus-4-5", &usage), expected);
    }

    /// Where no threshold is, two calls cost what one would that used as much.
    #[test]
    fn costs_add_up(one in any_usage(), other in any_usage()) {
        let both = Usage {
            input: one.input + other.input,
            output: one.output + other.output,
            cache_read: one.cache_read + other.cache_read,
            cache_write: one.cache_write + other.cache_write,
            cache_write_1h: one.cache_write_1h + other.cache_write_1h,
            reasoning: one.reasoning + other.reasoning,
            web_searches: one.web_searches + other.web_searches,
            ..Usage::default()
        };
        let cost = |usage: &Usage| exact("anthropic", "claude-opus-4-5", usage);
        prop_assert_eq!(cost(&one) + cost(&other), cost(&both));
    }

    /// Whatever the counts: a price or a reason, no panic, and never less than nothing.
    #[test]
    fn no_counts_do_harm(counts in proptest::collection::vec(prop_oneof![0u64..1000, any::<u64>()], 19), provider in 0usize..4) {
        let [
            input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio, cache_read_audio, output_audio, output_image,
            input_image, cache_read_image, input_tool, web_searches, server_tools, images, audio_ms, characters, search_units,
        ] = counts[..] else { unreachable!() };
        let usage = Usage {
            input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio, cache_read_audio, output_audio, output_image,
            input_image, cache_read_image, input_tool, web_searches, server_tools, images, audio_ms, characters, search_units,
            tier: ServiceTier::Standard,
        };
        let (provider, model) = [
            ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-realtime"), ("gcp.gemini", "gemini-2.5-pro"), ("groq", "whisper-large-v3"),
        ][provider];
        if let Ok(price) = Prices::bundled().price(&asked(provider, model, &usage)) {
            prop_assert!(!price.cost.is_sign_negative());
        }
    }

    #[test]
    fn no_name_does_harm(provider in "[a-z.]{0,12}", model in "\\PC{0,60}") {
        let usage = Usage { input: 5, ..Usage::default() };
        let _price = Prices::bundled().price(&asked(&provider, &model, &usage));
        for provider in ["openai", "aws.bedrock", "gcp.vertex_ai"] {
            let _price = Prices::bundled().price(&asked(provider, &model, &usage));
        }
    }
}
