use super::*;

const M: u64 = 1_000_000;

fn text(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

fn assert_costs(provider: &str, rows: &[(&str, Usage, &str)]) {
    for (model, usage, expected) in rows {
        assert_eq!(cost(provider, model, *usage).as_deref(), Ok(*expected), "{provider} {model} {usage:?}");
    }
}

/// openai.com/api/pricing, known until 2025-10.
#[test]
fn openai_chat() {
    let cached = Usage { input: 2 * M, cache_read: M, output: M, ..Usage::default() };
    assert_costs(
        "openai",
        &[
            ("gpt-4o", cached, "13.75"),
            ("gpt-4o-2024-05-13", text(M, M), "20"),
            ("gpt-4.1", cached, "10.5"),
            ("gpt-4.1-mini", cached, "2.1"),
            ("gpt-4.1-nano", cached, "0.525"),
            ("o1", cached, "82.5"),
            ("o3-mini", cached, "6.05"),
            ("o4-mini", cached, "5.775"),
            ("gpt-5", cached, "11.375"),
            ("gpt-5-mini", cached, "2.275"),
            ("gpt-5-nano", cached, "0.455"),
            ("gpt-4", text(M, M), "90"),
            ("gpt-4-turbo", text(M, M), "40"),
            ("gpt-3.5-turbo", text(M, M), "2"),
        ],
    );
    // Cached input at its own rate, and reasoning as output: 86 × 0.15 + 1920 × 0.075 + 300 × 0.60.
    let usage = Usage { input: 2006, output: 300, cache_read: 1920, reasoning: 128, ..Usage::default() };
    assert_costs("openai", &[("gpt-4o-mini-2024-07-18", usage, "0.0003369")]);
}

/// LiteLLM #11789: with cached tokens at the full price, $0.002059 instead of a seventh of that. Rates of gpt-4o-mini's size.
#[test]
fn cached_tokens_are_not_charged_as_fresh_ones() {
    let usage = Usage { input: 10_000, cache_read: 9_900, output: 100, ..Usage::default() };
    assert_costs("openai", &[("gpt-5-nano", usage, "0.0000945")]);
    assert_costs("anthropic", &[("claude-haiku-4-5", usage, "0.00159")]);
}

/// openai.com/api/pricing, known until 2025-10: o3 cost 10 and 40 before 2025-06-10, and 2 and 8 since.
#[test]
fn a_price_holds_from_its_day_on() {
    assert_eq!(cost_at("openai", "o3", text(M, M), day("2025-06-09")).as_deref(), Ok("50"));
    assert_eq!(cost_at("openai", "o3", text(M, M), day("2025-06-10")).as_deref(), Ok("10"));
}

/// platform.openai.com/docs/pricing, known until 2025-10.
#[test]
fn openai_tiers_and_batches() {
    let of = |tier| Usage { input: M, output: M, tier, ..Usage::default() };
    assert_costs(
        "openai",
        &[
            ("gpt-5", of(ServiceTier::Standard), "11.25"),
            ("gpt-5", of(ServiceTier::Flex), "5.625"),
            ("gpt-5", of(ServiceTier::Priority), "22.5"),
            ("gpt-5", of(ServiceTier::Batch), "5.625"),
            ("gpt-4.1", of(ServiceTier::Priority), "17.5"),
            ("gpt-4o", of(ServiceTier::Priority), "21.25"),
            ("gpt-5-mini", of(ServiceTier::Priority), "4.05"),
            ("gpt-4o", of(ServiceTier::Batch), "6.25"),
            ("o4-mini", of(ServiceTier::Flex), "2.75"),
        ],
    );
}

/// platform.openai.com/docs/pricing, known until 2025-10.
#[test]
fn openai_sound_pictures_embeddings_and_tools() {
    let minute = Usage { audio_ms: 60_000, ..Usage::default() };
    let spoken = Usage { characters: M, ..Usage::default() };
    // A call: text 4 in and 16 out, cached 0.40, sound 32 in and 64 out.
    let call = Usage {
        input: 3000,
        input_audio: 2500,
        cache_read: 1500,
        cache_read_audio: 1400,
        output: 1000,
        output_audio: 900,
        ..Usage::default()
    };
    // Text 5 in, pictures 10 in and 40 out.
    let picture = Usage { input: 394, input_image: 323, output: 1056, output_image: 1056, ..Usage::default() };
    assert_costs(
        "openai",
        &[
            ("whisper-1", minute, "0.006"),
            ("tts-1", spoken, "15"),
            ("tts-1-hd", spoken, "30"),
            ("gpt-realtime", call, "0.0966"),
            ("gpt-image-1", picture, "0.045825"),
            ("text-embedding-3-small", text(M, 0), "0.02"),
            ("text-embedding-3-large", text(M, 0), "0.13"),
            ("omni-moderation-latest", text(M, 0), "0"),
            ("text-embedding-ada-002", text(M, 0), "0.1"),
            ("gpt-4o-transcribe", Usage { input: M, input_audio: M, output: M, ..Usage::default() }, "16"),
            ("gpt-5", Usage { web_searches: 3, ..text(1000, 100) }, "0.03225"),
        ],
    );
}

/// openai.com/api/pricing, "Fine-tuning our models", known until 2025-10.
#[test]
fn openai_tuned_models_have_prices_of_their_own() {
    assert_costs(
        "openai",
        &[
            (
                "ft:gpt-4.1-2025-04-14:acme:support:Ab1",
                Usage { input: 2 * M, cache_read: M, output: M, ..Usage::default() },
                "15.75",
            ),
            (
                "ft:gpt-4o-mini-2024-07-18:acme::Ab1",
                Usage { input: 2 * M, cache_read: M, output: M, ..Usage::default() },
                "1.65",
            ),
            ("ft:gpt-3.5-turbo-0125:acme::Ab1", text(M, M), "9"),
        ],
    );
}

/// docs.claude.com/en/docs/about-claude/pricing, known until 2025-12: caches for five minutes at 1.25, for an hour at 2, and
/// read at 0.1 of the rate for input.
#[test]
fn anthropic_caches_are_charged_once_and_by_their_time_to_live() {
    let all =
        Usage { input: 4 * M, cache_read: M, cache_write: 2 * M, cache_write_1h: M, output: M, ..Usage::default() };
    assert_costs(
        "anthropic",
        &[
            ("claude-opus-4-5-20251101", all, "46.75"),
            ("claude-opus-4-1-20250805", all, "140.25"),
            ("claude-haiku-4-5-20251001", all, "9.35"),
            ("claude-3-5-haiku-20241022", all, "7.48"),
        ],
    );
    // Opus's rates 5, read 0.50, output 25: 10 000 fresh, 40 000 from the cache, 15 000 out.
    let usage = Usage { input: 50_000, output: 15_000, cache_read: 40_000, ..Usage::default() };
    assert_costs("anthropic", &[("claude-opus-4-5", usage, "0.445")]);
    // Sonnet's 3, 3.75, 6, 0.30 and 15, with 21, 456, 187 630, 1000 and 393 tokens.
    let usage = Usage {
        input: 189_107,
        output: 393,
        cache_read: 1000,
        cache_write: 188_086,
        cache_write_1h: 187_630,
        ..Usage::default()
    };
    assert_costs("anthropic", &[("claude-sonnet-4-5-20250929", usage, "1.133748")]);
}

/// docs.claude.com/en/docs/about-claude/pricing: batches cost half, searches 10 a thousand, fetches nothing. Known until 2025-12.
#[test]
fn anthropic_batches_and_tools() {
    let batch = Usage { tier: ServiceTier::Batch, ..text(M, M) };
    assert_costs("anthropic", &[("claude-opus-4-5", batch, "15"), ("claude-haiku-4-5", batch, "3")]);
    let searched = Usage { web_searches: 3, server_tools: 2, ..text(10_682, 510) };
    assert_costs("anthropic", &[("claude-sonnet-4-5", searched, "0.069696")]);
}

/// docs.claude.com and ai.google.dev/gemini-api/docs/pricing, known until 2025-12: above 200 000 tokens of input, those of
/// caches among them, all rates rise: from 3 and 15 to 6 and 22.50, from 1.25 and 10 to 2.50 and 15.
#[test]
fn long_prompts_cost_the_higher_rate_from_the_first_token_on() {
    assert_costs(
        "anthropic",
        &[
            ("claude-sonnet-4-5", text(200_000, 1000), "0.615"),
            ("claude-sonnet-4-5", text(200_001, 1000), "1.222506"),
            // 100 000 fresh at 6, 150 000 from the cache at 0.60.
            ("claude-sonnet-4-5", Usage { cache_read: 150_000, ..text(250_000, 0) }, "0.69"),
            ("claude-sonnet-4-5", Usage { cache_write: 150_000, cache_write_1h: 150_000, ..text(250_000, 0) }, "2.4"),
        ],
    );
    assert_costs(
        "gcp.gemini",
        &[
            ("gemini-2.5-pro", text(200_000, 1000), "0.26"),
            ("gemini-2.5-pro", text(200_001, 1000), "0.5150025"),
            ("gemini-2.5-pro", Usage { tier: ServiceTier::Batch, ..text(200_001, 1000) }, "0.25750125"),
        ],
    );
}

/// ai.google.dev/gemini-api/docs/pricing, known until 2025-12.
#[test]
fn gemini_text_thoughts_sound_and_pictures() {
    let heard = Usage { input: M, input_audio: M, ..Usage::default() };
    assert_costs(
        "gcp.gemini",
        &[
            ("gemini-2.5-flash", text(M, M), "2.8"),
            ("gemini-2.5-flash", heard, "1"),
            ("gemini-2.5-flash-lite", text(M, M), "0.5"),
            ("gemini-2.5-flash-lite", heard, "0.3"),
            ("gemini-2.0-flash", heard, "0.7"),
            ("gemini-embedding-001", text(M, 0), "0.15"),
            ("gemini-2.5-flash", Usage { reasoning: 90, ..text(10, 120) }, "0.000303"),
            // An image of 1290 tokens at 30, or by the piece.
            ("gemini-2.5-flash-image", Usage { output_image: 1290, ..text(12, 1290) }, "0.0387036"),
            ("imagen-4.0-generate-001", Usage { images: 2, ..Usage::default() }, "0.08"),
            ("imagen-4.0-ultra-generate-001", Usage { images: 1, ..Usage::default() }, "0.06"),
            // Searches of Google: 35 a thousand.
            ("gemini-2.5-flash", Usage { web_searches: 1, ..text(0, 0) }, "0.035"),
        ],
    );
    let cached = Usage {
        input: 696_219,
        output: 214,
        cache_read: 696_190,
        input_audio: 696_190,
        cache_read_audio: 696_190,
        ..Usage::default()
    };
    assert_costs("gcp.gemini", &[("gemini-2.5-flash", cached, "0.0701627")]);
}

/// api-docs.deepseek.com/quick_start/pricing: 0.27 and 1.10, half of it from 16:30 to 00:30 UTC, until 2025-09; since the end of
/// that month 0.28, 0.028 from the cache, and 0.42, at all hours. The bundled list has only the former.
#[test]
fn deepseek_by_the_hour_and_since() {
    let at = |day_: &str, hours| day(day_) + Duration::from_hours(hours);
    assert_eq!(cost_at("deepseek", "deepseek-chat", text(M, M), at("2025-05-05", 12)).as_deref(), Ok("1.37"));
    assert_eq!(cost_at("deepseek", "deepseek-chat", text(M, M), at("2025-05-05", 17)).as_deref(), Ok("0.685"));
    let cached = Usage { cache_read: M, ..text(2 * M, M) };
    assert_eq!(cost_at("deepseek", "deepseek-chat", cached, at("2026-02-01", 17)).as_deref(), Ok("0.728"));
}

/// mistral.ai/pricing, groq.com/pricing, docs.x.ai/docs/models, cohere.com/pricing, docs.voyageai.com/docs/pricing, known until 2025-10.
#[test]
fn smaller_providers() {
    assert_costs(
        "mistral_ai",
        &[
            ("mistral-large-2411", text(M, M), "8"),
            ("codestral-2508", text(M, M), "1.2"),
            ("mistral-embed", text(M, 0), "0.1"),
        ],
    );
    assert_costs(
        "groq",
        &[
            ("llama-3.3-70b-versatile", text(M, M), "1.38"),
            ("llama-3.1-8b-instant", text(M, M), "0.13"),
            ("whisper-large-v3", Usage { audio_ms: 3_600_000, ..Usage::default() }, "0.111"),
            ("whisper-large-v3-turbo", Usage { audio_ms: 1_800_000, ..Usage::default() }, "0.02"),
            // At least ten seconds are charged.
            ("whisper-large-v3", Usage { audio_ms: 1000, ..Usage::default() }, "0.000308333333"),
            // The flex tier is at the usual price.
            ("llama-3.1-8b-instant", Usage { tier: ServiceTier::Flex, ..text(M, M) }, "0.13"),
        ],
    );
    assert_costs(
        "cohere",
        &[
            ("command-a-03-2025", text(M, M), "12.5"),
            ("command-r7b-12-2024", text(M, M), "0.1875"),
            ("rerank-v3.5", Usage { search_units: 1000, ..Usage::default() }, "2"),
            ("embed-v4.0", text(M, 0), "0.12"),
        ],
    );
    assert_costs("x_ai", &[("grok-2-image", Usage { images: 3, ..Usage::default() }, "0.21")]);
    assert_costs("voyage", &[("voyage-3-large", text(M, 0), "0.18"), ("voyage-3.5", text(M, 0), "0.06")]);
}

/// aws.amazon.com/bedrock/pricing, known until 2025-12: the regional profiles of newer Claude models cost a tenth more.
#[test]
fn bedrock_profiles() {
    assert_costs(
        "aws.bedrock",
        &[
            ("amazon.nova-lite-v1:0", text(M, M), "0.3"),
            ("us.amazon.nova-pro-v1:0", Usage { cache_read: M, ..text(2 * M, M) }, "4.2"),
            ("amazon.nova-micro-v1:0", text(M, M), "0.175"),
            ("amazon.titan-embed-text-v2:0", text(M, 0), "0.02"),
            ("anthropic.claude-3-haiku-20240307-v1:0", text(M, M), "1.5"),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", text(M / 10, M), "15.3"),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", text(M / 10, M), "15.3"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", text(M / 10, M), "16.83"),
            ("cohere.rerank-v3-5:0", Usage { search_units: 1, ..Usage::default() }, "0.002"),
        ],
    );
}

/// cloud.google.com/vertex-ai/generative-ai/pricing, known until 2025-12: as bedrock's, and the global endpoint as Anthropic's.
#[test]
fn vertex_regions() {
    let usage = text(M / 10, M);
    let at = |region: Option<&str>, model: &str| {
        let asked = Asked { region, ..asked("gcp.vertex_ai", model, &usage) };
        let price = Prices::bundled().price(&asked).unwrap();
        (price.cost.to_string(), price.from.to_string())
    };
    assert_eq!(at(None, "claude-sonnet-4-5@20250929").0, "15.3");
    assert_eq!(at(Some("global"), "claude-sonnet-4-5@20250929").0, "15.3");
    assert_eq!(at(Some("europe-west1"), "claude-sonnet-4@20250514").0, "15.3");
    let (cost, from) = at(Some("europe-west1"), "claude-sonnet-4-5@20250929");
    assert_eq!(cost, "16.83", "a tenth more, once, by however many spellings the model is found");
    assert!(from.ends_with("2026-10-30 × LiteLLM 1.103.3, 2026-10-03"), "{from}");
}
