//! models.dev: providers, each with models, each with a `cost` in dollars per million tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Import, drop_headless, scaled, set_above};
use crate::price::Kind;
use crate::price::file::{Entry, LongPrompt, Rates};

#[derive(Deserialize)]
struct Provider {
    #[serde(default)]
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    cost: Option<BTreeMap<String, Box<RawValue>>>,
}

pub(super) fn read(text: &str, import: &mut Import) -> serde_json::Result<()> {
    let providers: BTreeMap<String, Provider> = serde_json::from_str(text)?;
    for (id, provider) in providers {
        let Some(ours) = ours(&id) else {
            import.skip("the provider is not in the catalogue", id);
            continue;
        };
        for (model, said) in provider.models {
            let label = format!("{id}/{model}");
            let Some(cost) = said.cost else {
                import.skip("it has no price", label);
                continue;
            };
            match entry(ours, &model, &cost) {
                Ok(entry) => import.file.push(entry),
                Err(reason) => import.skip(reason, label),
            }
        }
    }
    Ok(())
}

/// Our names for its providers.
fn ours(id: &str) -> Option<&'static str> {
    Some(match id {
        "alibaba" => "alibaba",
        "amazon-bedrock" => "aws.bedrock",
        "anthropic" => "anthropic",
        "azure" => "azure.ai.openai",
        "azure-cognitive-services" => "azure.ai.inference",
        "baseten" => "baseten",
        "cerebras" => "cerebras",
        "cloudflare-workers-ai" => "cloudflare",
        "cohere" => "cohere",
        "deepinfra" => "deepinfra",
        "deepseek" => "deepseek",
        "fireworks-ai" => "fireworks",
        "friendli" => "friendli",
        "github-copilot" => "github.copilot",
        "github-models" => "github.models",
        "google" => "gcp.gemini",
        "google-vertex" | "google-vertex-anthropic" => "gcp.vertex_ai",
        "groq" => "groq",
        "huggingface" => "huggingface",
        "inference" => "inference.net",
        "llama" => "meta",
        "minimax" => "minimax",
        "mistral" => "mistral_ai",
        "moonshotai" => "moonshot",
        "nebius" => "nebius",
        "novita-ai" => "novita",
        "nvidia" => "nvidia",
        "openai" => "openai",
        "openrouter" => "openrouter",
        "perplexity" => "perplexity",
        "poe" => "poe",
        "siliconflow" => "siliconflow",
        "stepfun" => "stepfun",
        "togetherai" => "together",
        "upstage" => "upstage",
        "venice" => "venice",
        "vercel" => "vercel",
        "xai" => "x_ai",
        "zai" | "zhipuai" => "zai",
        _ => return None,
    })
}

fn entry(provider: &str, model: &str, cost: &BTreeMap<String, Box<RawValue>>) -> Result<Entry, &'static str> {
    let mut entry = Entry { provider: provider.into(), model: model.into(), ..Entry::default() };
    entry.rates = rates(cost)?;
    if entry.rates.iter().all(|(_, rate)| rate.0.is_zero()) {
        return Err("all its prices are zero, which mostly means that they are not known");
    }
    if let Some(tiers) = cost.get("tiers") {
        let tiers: Vec<BTreeMap<String, Box<RawValue>>> =
            serde_json::from_str(tiers.get()).ok().ok_or("its tiers have an unknown shape")?;
        for tier in &tiers {
            let over = tier.get("tier").and_then(|tier| serde_json::from_str::<Size>(tier.get()).ok());
            let over = over.filter(|over| over.r#type == "context").ok_or("its tiers have an unknown shape")?;
            above(&mut entry.tiers, over.size, &rates(tier)?);
        }
    } else if let Some(long) = cost.get("context_over_200k") {
        let long = serde_json::from_str(long.get()).ok().ok_or("its price for long prompts has an unknown shape")?;
        above(&mut entry.tiers, 200_000, &rates(&long)?);
    }
    drop_headless(&entry.rates, &mut entry.tiers);
    Ok(entry)
}

#[derive(Deserialize)]
struct Size {
    r#type: String,
    size: u64,
}

fn above(tiers: &mut Vec<LongPrompt>, over: u64, rates: &Rates) {
    rates.iter().for_each(|(kind, rate)| set_above(tiers, over, kind, rate));
}

fn rates(cost: &BTreeMap<String, Box<RawValue>>) -> Result<Rates, &'static str> {
    let mut rates = Rates::default();
    for (key, raw) in cost {
        let kind = match key.as_str() {
            "input" => Kind::Input,
            "output" => Kind::Output,
            "cache_read" => Kind::CacheRead,
            "cache_write" => Kind::CacheWrite,
            "reasoning" => Kind::Reasoning,
            "input_audio" => Kind::InputAudio,
            "output_audio" => Kind::OutputAudio,
            "tier" | "tiers" | "context_over_200k" => continue,
            _ => return Err("it is charged by something that has no name here"),
        };
        if raw.get() != "null" {
            rates.set(kind, scaled(raw, 1).ok_or("one of its prices is no number")?);
        }
    }
    Ok(rates)
}
