//! Our decimals against the arithmetic of the crate whose list we bundle.

use genai_prices::{Calculator, PriceRequest, Usage as Units, UsageKey};

use super::*;

fn theirs(provider: &str) -> &str {
    match provider {
        "aws.bedrock" => "aws",
        "azure.ai.openai" => "azure",
        "gcp.gemini" => "google",
        "github.copilot" => "github-copilot",
        "mistral_ai" => "mistral",
        "moonshot" => "moonshotai",
        "voyage" => "voyageai",
        "x_ai" => "x-ai",
        other => other,
    }
}

fn units(usage: &Usage) -> Units {
    [
        (UsageKey::INPUT_TOKENS, usage.input),
        (UsageKey::OUTPUT_TOKENS, usage.output),
        (UsageKey::CACHE_READ_TOKENS, usage.cache_read),
        (UsageKey::CACHE_WRITE_TOKENS, usage.cache_write),
        (UsageKey::CACHE_WRITE_5M_TOKENS, usage.cache_write - usage.cache_write_1h),
        (UsageKey::CACHE_WRITE_1H_TOKENS, usage.cache_write_1h),
        (UsageKey::OUTPUT_REASONING_TOKENS, usage.reasoning),
        (UsageKey::INPUT_AUDIO_TOKENS, usage.input_audio),
        (UsageKey::CACHE_AUDIO_READ_TOKENS, usage.cache_read_audio),
        (UsageKey::OUTPUT_AUDIO_TOKENS, usage.output_audio),
        (UsageKey::WEB_SEARCHES, usage.web_searches),
    ]
    .into_iter()
    .map(|(key, count)| (key, count as f64))
    .collect()
}

/// A name that a pattern stands for.
fn name_of(pattern: &str) -> String {
    pattern.replace('*', "").replace("####-##-##", "2026-11-01").replace("########", "20261101").replace('#', "1")
}

#[test]
fn every_model_of_the_bundled_list_costs_what_its_own_crate_says() {
    let prices = Prices { layers: Prices::bundled().layers[1..].to_vec(), ..Prices::bundled() };
    let small = Usage { input: 1234, output: 567, reasoning: 89, ..Usage::default() };
    let cached = Usage { cache_read: 1000, ..small };
    let written = Usage { cache_write: 300, cache_write_1h: 100, cache_read: 700, ..small };
    let long = Usage { input: 987_654, cache_read: 900_000, ..small };
    let heard = Usage { input_audio: 1000, cache_read: 700, cache_read_audio: 600, output_audio: 50, ..small };
    let searched = Usage { web_searches: 7, ..small };
    let batch = Usage { tier: ServiceTier::Batch, ..long };
    let priority = Usage { tier: ServiceTier::Priority, ..small };
    let (mut same, mut unknown) = (0, 0);
    let [_, (_, list)] = bundled_files();
    for entry in &list.prices {
        let own = [entry.model.clone()];
        let names = if entry.names.is_empty() { &own[..] } else { &entry.names[..] };
        if entry.provider == "huggingface" {
            continue;
        }
        for name in names.iter().map(|name| name_of(name)) {
            for (usage, hour) in
                [small, cached, written, long, heard, searched, batch, priority].iter().zip((0..24).cycle().step_by(5))
            {
                let at = now() + Duration::from_hours(hour);
                let asked = Asked { at, ..asked(&entry.provider, &name, usage) };
                let units = units(usage);
                let request =
                    PriceRequest::new(&name, &units).with_provider_id(theirs(&entry.provider)).with_timestamp(at);
                let request = match usage.tier {
                    ServiceTier::Batch => request.with_price_context("processing", "batch"),
                    ServiceTier::Priority => request.with_price_context("service_tier", "priority"),
                    _ => request,
                };
                let Ok(expected) = Calculator::bundled().calculate(&request) else { continue };
                let expected = expected.total_price;
                match prices.price(&asked) {
                    Ok(price) => {
                        let cost: f64 = price.cost.to_string().parse().unwrap();
                        assert!(
                            (cost - expected).abs() <= 1e-9 * expected.max(1e-3),
                            "{} {name}: {cost}, not {expected}, for {usage:?}",
                            entry.provider
                        );
                        same += 1;
                    }
                    Err(Unpriced::NoRate(_) | Unpriced::NoTier(_)) => unknown += 1,
                    Err(other) => panic!("{} {name}: {other}", entry.provider),
                }
            }
        }
    }
    assert!(same > 9_000, "{same} compared");
    assert!(unknown > 0, "what they take to be free or standard we do not");
}
