//! LiteLLM: one object, a key a model, prices in dollars per token, second, character or piece.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{Import, drop_headless, scaled, set_above};
use crate::price::Kind;
use crate::price::file::{Amount, Entry, LongPrompt, Rates, Tier, Variant};

type Fields = BTreeMap<String, Box<RawValue>>;

pub(super) fn read(text: &str, import: &mut Import) -> serde_json::Result<()> {
    let models: BTreeMap<String, Fields> = serde_json::from_str(text)?;
    let picture = |key: &str, fields: &Fields| {
        let name = key.rsplit('/').next().unwrap_or_default().to_owned();
        (text_of(fields, "litellm_provider").unwrap_or_default(), name)
    };
    let sized: BTreeSet<_> =
        models.iter().filter(|(key, _)| is_sized(key)).map(|(key, fields)| picture(key, fields)).collect();
    for (key, fields) in &models {
        if key == "sample_spec" {
            continue;
        }
        if is_sized(key) || sized.contains(&picture(key, fields)) {
            import.skip("its price depends on the picture's size, which is not told", key);
            continue;
        }
        let their = text_of(fields, "litellm_provider").unwrap_or_default();
        let Some(provider) = ours(&their) else {
            import.skip("the provider is not in the catalogue", key);
            continue;
        };
        match entry(provider, key, fields) {
            Ok(entry) => import.file.push(entry),
            Err(reason) => import.skip(reason, key),
        }
    }
    Ok(())
}

/// Whether a key is for pictures of one size: `1024-x-1024/dall-e-2`.
fn is_sized(key: &str) -> bool {
    key.contains("-x-") || key.contains("-steps/")
}

/// Our names for its providers. Vertex and Bedrock have several there.
fn ours(provider: &str) -> Option<&'static str> {
    if provider == "vertex_ai" || provider.starts_with("vertex_ai-") {
        return Some("gcp.vertex_ai");
    }
    Some(match provider {
        "ai21" => "ai21",
        "anthropic" => "anthropic",
        "assemblyai" => "assemblyai",
        "azure" | "azure_text" => "azure.ai.openai",
        "azure_ai" => "azure.ai.inference",
        "baseten" => "baseten",
        "bedrock" | "bedrock_converse" | "bedrock_mantle" => "aws.bedrock",
        "cerebras" => "cerebras",
        "cloudflare" => "cloudflare",
        "cohere" | "cohere_chat" => "cohere",
        "dashscope" => "alibaba",
        "databricks" => "databricks",
        "deepgram" => "deepgram",
        "deepinfra" => "deepinfra",
        "deepseek" => "deepseek",
        "elevenlabs" => "elevenlabs",
        "featherless_ai" => "featherless",
        "fireworks_ai" | "fireworks_ai-embedding-models" => "fireworks",
        "friendliai" => "friendli",
        "gemini" => "gcp.gemini",
        "github_copilot" => "github.copilot",
        "gradient_ai" => "digitalocean",
        "groq" => "groq",
        "hyperbolic" => "hyperbolic",
        "jina_ai" => "jina",
        "lambda_ai" => "lambda",
        "meta" | "meta_llama" => "meta",
        "minimax" => "minimax",
        "mistral" | "codestral" | "text-completion-codestral" => "mistral_ai",
        "moonshot" => "moonshot",
        "nebius" => "nebius",
        "novita" => "novita",
        "nvidia_nim" => "nvidia",
        "oci" => "oracle",
        "openai" | "text-completion-openai" => "openai",
        "openrouter" => "openrouter",
        "perplexity" => "perplexity",
        "recraft" => "recraft",
        "replicate" => "replicate",
        "sagemaker" => "aws.sagemaker",
        "sambanova" => "sambanova",
        "snowflake" => "snowflake",
        "stability" => "stability",
        "tencent" => "tencent",
        "together_ai" => "together",
        "vercel_ai_gateway" => "vercel",
        "volcengine" => "volcengine",
        "voyage" => "voyage",
        "watsonx" => "ibm.watsonx.ai",
        "xai" => "x_ai",
        "zai" => "zai",
        _ => return None,
    })
}

fn entry(provider: &str, key: &str, fields: &Fields) -> Result<Entry, &'static str> {
    let mut entry = Entry { provider: provider.into(), ..Entry::default() };
    (entry.model, entry.regions) = name(key, &text_of(fields, "litellm_provider").unwrap_or_default())?;
    let mode = text_of(fields, "mode").unwrap_or_default();
    if matches!(mode.as_str(), "video_generation" | "ocr" | "guardrail" | "search" | "vector_store") {
        return Err("it is charged by something that is not counted: videos, pages or searches of the web alone");
    }
    if fields.contains_key("tiered_pricing") {
        return Err("its tiers have ends as well as beginnings, or depend on the answer");
    }
    let mut cards: BTreeMap<&str, (Rates, Vec<LongPrompt>)> = BTreeMap::new();
    for (name, raw) in fields.iter().filter(|(_, raw)| raw.get() != "null") {
        let Some(place) = place(name)? else { continue };
        let factor = factor(place.base, &mode)?;
        let Some((kind, factor)) = factor else { continue };
        let rate = scaled(raw, factor).ok_or("one of its prices is no number")?;
        let (rates, tiers) = cards.entry(place.card).or_default();
        match place.above {
            Some(over) => set_above(tiers, over, kind, rate),
            None => rates.set(kind, rate),
        }
    }
    if let Some(search) = fields.get("search_context_cost_per_query") {
        let sizes: BTreeMap<String, Box<RawValue>> = serde_json::from_str(search.get()).unwrap_or_default();
        let prices: Vec<Option<Amount>> = sizes.values().map(|raw| scaled(raw, 1)).collect();
        // Where it depends on how much is searched, answers do not tell which it was.
        if let Some(Some(price)) = prices.first().filter(|first| prices.iter().all(|other| other == *first)) {
            cards.entry("").or_default().0.set(Kind::WebSearch, *price);
        }
    }
    (entry.rates, entry.tiers) = cards.remove("").unwrap_or_default();
    if entry.rates.iter().all(|(_, rate)| rate.0.is_zero()) {
        return Err("all its prices are zero, which there mostly means that they are not known");
    }
    for (card, (rates, mut tiers)) in cards {
        let tier = match card {
            "batches" => Tier::Batch,
            "flex" => Tier::Flex,
            _ => Tier::Priority,
        };
        drop_headless(&rates, &mut tiers);
        entry.variants.push(Variant { tier, from: None, until: None, rates, tiers });
    }
    drop_headless(&entry.rates, &mut entry.tiers);
    Ok(entry)
}

/// The model's name without the provider's, and the region where the key names one.
fn name(key: &str, provider: &str) -> Result<(String, Vec<String>), &'static str> {
    let bedrock = matches!(provider, "bedrock" | "bedrock_converse" | "bedrock_mantle");
    let mut rest = key;
    let prefixes =
        [provider, "bedrock_mantle", "bedrock", "vertex_ai", "fireworks_ai", "dashscope", "lambda_ai", "azure"];
    for prefix in prefixes {
        if let Some(after) = rest.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) {
            rest = after;
            break;
        }
    }
    if bedrock && rest.contains("-month-commitment/") {
        return Err("it is paid for by the month");
    }
    let mut regions = Vec::new();
    if let Some((region, after)) = rest.split_once('/') {
        if bedrock {
            regions.push(region.to_owned());
            rest = after;
        } else if provider == "azure" && matches!(region, "eu" | "us" | "global" | "global-standard") {
            return Err("its price is that of a kind of deployment, which is not told");
        }
    }
    Ok((rest.to_owned(), regions))
}

/// What a field's name says beside its kind.
struct Place<'a> {
    base: &'a str,
    /// `""` is the standard tier.
    card: &'a str,
    above: Option<u64>,
}

/// Takes the endings off a price's name; nothing for what is no price.
fn place(name: &str) -> Result<Option<Place<'_>>, &'static str> {
    if !name.contains("cost") || name == "search_context_cost_per_query" {
        return Ok(None);
    }
    let (mut base, mut card, mut above) = (name, "", None);
    for tier in ["batches", "flex", "priority"] {
        if let Some(rest) = base.strip_suffix(tier).and_then(|rest| rest.strip_suffix('_')) {
            (base, card) = (rest, tier);
        }
    }
    if let Some((rest, over)) = base.split_once("_above_")
        && base.ends_with("_tokens")
    {
        // `…_above_1hr_above_200k_tokens` has two.
        let (rest, over) = match over.rsplit_once("_above_") {
            Some((first, over)) => (&base[..rest.len() + "_above_".len() + first.len()], over),
            None => (rest, over),
        };
        let over = over.strip_suffix("k_tokens").and_then(|over| over.parse::<u64>().ok());
        above = Some(over.filter(|over| *over < 1_000_000).ok_or("its tiers have an unknown shape")? * 1000);
        base = rest;
    }
    Ok(Some(Place { base, card, above }))
}

/// The kind of a price, and how many of their units ours is; nothing for what an answer cannot make us pay here.
fn factor(base: &str, mode: &str) -> Result<Option<(Kind, u32)>, &'static str> {
    const MILLION: u32 = 1_000_000;
    Ok(Some(match base {
        "input_cost_per_token" => (Kind::Input, MILLION),
        "output_cost_per_token" => (Kind::Output, MILLION),
        "cache_read_input_token_cost" | "input_cost_per_token_cache_hit" => (Kind::CacheRead, MILLION),
        "cache_creation_input_token_cost" => (Kind::CacheWrite, MILLION),
        "cache_creation_input_token_cost_above_1hr" => (Kind::CacheWrite1h, MILLION),
        "output_cost_per_reasoning_token" => (Kind::Reasoning, MILLION),
        "input_cost_per_audio_token" => (Kind::InputAudio, MILLION),
        "cache_read_input_audio_token_cost" => (Kind::CacheReadAudio, MILLION),
        "output_cost_per_audio_token" => (Kind::OutputAudio, MILLION),
        "input_cost_per_image_token" => (Kind::InputImage, MILLION),
        "output_cost_per_image_token" => (Kind::OutputImage, MILLION),
        "input_cost_per_character" => (Kind::Characters, MILLION),
        "input_cost_per_second" if mode == "audio_transcription" => (Kind::Audio, 3600),
        "output_cost_per_image" | "input_cost_per_image" if mode == "image_generation" => (Kind::Image, 1),
        "input_cost_per_query" if mode == "rerank" => (Kind::SearchUnit, 1),
        "citation_cost_per_token" => return Err("it is charged by citations, which are not counted"),
        "input_cost_per_request" => return Err("its fee for a request depends on what is not told"),
        // Time of a machine, pixels, videos, maps, storage.
        _ => return Ok(None),
    }))
}

fn text_of(fields: &Fields, key: &str) -> Option<String> {
    serde_json::from_str(fields.get(key)?.get()).ok()
}
