//! genai-prices (github.com/pydantic/genai-prices), the data of version 2.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Import, number, set_above};
use crate::price::Kind;
use crate::price::file::{Amount, Day, Entry, Hours, LongPrompt, Period, ProviderEntry, Rates, Tier, Variant};

#[derive(Deserialize)]
struct Provider {
    id: String,
    models: Vec<Model>,
    #[serde(default)]
    pricing_urls: Vec<String>,
    #[serde(default)]
    fallback_model_providers: Vec<String>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    r#match: Match,
    prices: Box<RawValue>,
    #[serde(default)]
    price_variants: Vec<Special>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Match {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(String),
    Or(Vec<Match>),
    And(Vec<Match>),
}

type Prices = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Conditional {
    #[serde(default)]
    constraint: Option<Constraint>,
    prices: Prices,
}

#[derive(Deserialize)]
struct Special {
    when: BTreeMap<String, String>,
    prices: Prices,
    #[serde(default)]
    constraint: Option<Constraint>,
}

#[derive(Deserialize)]
struct Constraint {
    start_date: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

#[derive(Deserialize)]
struct Tiered {
    base: Box<RawValue>,
    tiers: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    start: u64,
    price: Box<RawValue>,
}

pub(super) fn read(text: &str, import: &mut Import) -> serde_json::Result<()> {
    let providers: Vec<Provider> = serde_json::from_str(text)?;
    for provider in providers {
        // What Hugging Face passes on to others is named after them.
        let backend = provider.id.strip_prefix("huggingface_");
        let suffix = backend.map(|backend| format!(":{backend}")).unwrap_or_default();
        let Some(names) = backend.map(|_| "huggingface").or_else(|| ours(&provider.id)) else {
            import.skip("the provider is not in the catalogue", &provider.id);
            continue;
        };
        let settings = settings(names, &provider);
        if !import.providers.contains(&settings) {
            import.providers.push(settings);
        }
        for model in provider.models {
            let label = format!("{}/{}", provider.id, model.id);
            match entry(names, &suffix, &model) {
                Ok(entry) => import.file.push(entry),
                Err(reason) => import.skip(reason, label),
            }
        }
    }
    Ok(())
}

/// Our names for its providers; OpenTelemetry's where it has one.
fn ours(id: &str) -> Option<&'static str> {
    Some(match id {
        "anthropic" => "anthropic",
        "aws" => "aws.bedrock",
        "azure" => "azure.ai.openai",
        "baseten" => "baseten",
        "cerebras" => "cerebras",
        "cloudflare" => "cloudflare",
        "cohere" => "cohere",
        "databricks" => "databricks",
        "deepseek" => "deepseek",
        "elevenlabs" => "elevenlabs",
        "fireworks" => "fireworks",
        "github-copilot" => "github.copilot",
        "google" => "gcp.gemini",
        "groq" => "groq",
        "meta" => "meta",
        "minimax" => "minimax",
        "mistral" => "mistral_ai",
        "moonshotai" => "moonshot",
        "novita" => "novita",
        "openai" => "openai",
        "openrouter" => "openrouter",
        "perplexity" => "perplexity",
        "together" => "together",
        "voyageai" => "voyage",
        "x-ai" => "x_ai",
        "zai" => "zai",
        _ => return None,
    })
}

/// Servers of others' models list one price for input, and charge what was in their cache as such unless they list another.
/// The model makers' own lists have prices for their caches; where one is missing there, it is not known.
fn settings(name: &str, provider: &Provider) -> ProviderEntry {
    let serves_others = matches!(
        name,
        "baseten"
            | "cerebras"
            | "cloudflare"
            | "databricks"
            | "fireworks"
            | "groq"
            | "huggingface"
            | "novita"
            | "together"
    );
    ProviderEntry {
        provider: name.into(),
        also: provider.fallback_model_providers.iter().filter_map(|id| ours(id)).map(str::to_owned).collect(),
        cached_as_input: serves_others,
        page: provider.pricing_urls.first().cloned(),
        ..ProviderEntry::default()
    }
}

fn entry(provider: &str, suffix: &str, model: &Model) -> Result<Entry, &'static str> {
    let mut entry = Entry { provider: provider.into(), model: format!("{}{suffix}", model.id), ..Entry::default() };
    let mut names = Names::default();
    names.add(&model.r#match)?;
    entry.names = names.names.into_iter().map(|name| format!("{name}{suffix}")).collect();
    entry.except = names.except;
    if entry.names.len() == 1 && entry.names[0] == entry.model.to_lowercase() {
        entry.names.clear();
    }
    let conditional: Vec<Conditional> = if model.prices.get().starts_with('[') {
        serde_json::from_str(model.prices.get()).ok().ok_or("its prices have an unknown shape")?
    } else {
        let prices = serde_json::from_str(model.prices.get()).ok().ok_or("its prices have an unknown shape")?;
        vec![Conditional { constraint: None, prices }]
    };
    for one in &conditional {
        let (rates, tiers) = rates(&one.prices)?;
        match &one.constraint {
            None => (entry.rates, entry.tiers) = (rates, tiers),
            Some(constraint) => {
                let hours = hours(constraint)?;
                entry.periods.push(Period { from: from(constraint)?, until: None, hours, rates, tiers });
            }
        }
    }
    if entry.rates.is_empty() && provider == "openrouter" && model.id.ends_with(":free") {
        let nothing = Some(Amount(Decimal::ZERO));
        entry.rates =
            Rates { input: nothing, output: nothing, cache_read: nothing, cache_write: nothing, ..Rates::default() };
    }
    for special in &model.price_variants {
        let Some(tier) = tier(&special.when) else { continue };
        let from = special.constraint.as_ref().map(from).transpose()?.flatten();
        let (rates, tiers) = rates(&special.prices)?;
        // The first of its variants counts, the last of ours.
        entry.variants.insert(0, Variant { tier, from, until: None, rates, tiers });
    }
    if provider == "groq" && entry.rates.audio_hour.is_some() {
        // Their code has it, not their data: console.groq.com/docs/speech-to-text.
        entry.minimum_audio_seconds = Some(10);
    }
    if entry.rates.is_empty() { Err("it has no rates") } else { Ok(entry) }
}

fn from(constraint: &Constraint) -> Result<Option<Day>, &'static str> {
    constraint.start_date.as_ref().map(|date| date.parse().ok().ok_or("one of its dates is none")).transpose()
}

fn hours(constraint: &Constraint) -> Result<Option<Hours>, &'static str> {
    let (Some(start), Some(end)) = (&constraint.start_time, &constraint.end_time) else { return Ok(None) };
    let minutes = |time: &str| time.strip_suffix(":00Z").map(str::to_owned);
    let hours = minutes(start).zip(minutes(end)).and_then(|(start, end)| format!("{start}-{end}").parse().ok());
    hours.map(Some).ok_or("its hours are not whole minutes of UTC")
}

/// Which tier of ours a context is. Others are of no use, because answers do not tell them.
fn tier(when: &BTreeMap<String, String>) -> Option<Tier> {
    let mut pairs = when.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    match (pairs.next()?, pairs.next()) {
        (("processing", "batch"), None) => Some(Tier::Batch),
        (("service_tier", "flex"), None) => Some(Tier::Flex),
        (("service_tier", "priority"), None) => Some(Tier::Priority),
        (("service_tier", "fast"), None) => Some(Tier::Fast),
        _ => None,
    }
}

fn rates(prices: &Prices) -> Result<(Rates, Vec<LongPrompt>), &'static str> {
    let (mut rates, mut tiers) = (Rates::default(), Vec::new());
    for (key, price) in prices {
        // Their searches of files are calls of tools here, among others whose price is another.
        if key == "storage_searches_kcount" {
            continue;
        }
        let (kind, per) = kind(key)?;
        let rate = |raw: &RawValue| {
            let amount = number(raw).ok_or("one of its prices is no number")?;
            amount
                .checked_div(Decimal::from(per))
                .map(|amount| Amount(amount.normalize()))
                .ok_or("a price is too large")
        };
        if price.get().starts_with('{') {
            let tiered: Tiered = serde_json::from_str(price.get()).ok().ok_or("its tiers have an unknown shape")?;
            rates.set(kind, rate(&tiered.base)?);
            for step in &tiered.tiers {
                set_above(&mut tiers, step.start, kind, rate(&step.price)?);
            }
        } else {
            rates.set(kind, rate(price)?);
        }
    }
    Ok((rates, tiers))
}

/// Our kind, and how many of our units its price is for.
fn kind(key: &str) -> Result<(Kind, u32), &'static str> {
    Ok(match key {
        "input_mtok" => (Kind::Input, 1),
        "output_mtok" => (Kind::Output, 1),
        "cache_read_mtok" => (Kind::CacheRead, 1),
        "cache_write_mtok" => (Kind::CacheWrite, 1),
        "cache_write_1h_mtok" => (Kind::CacheWrite1h, 1),
        "output_reasoning_mtok" => (Kind::Reasoning, 1),
        "input_audio_mtok" => (Kind::InputAudio, 1),
        "cache_audio_read_mtok" => (Kind::CacheReadAudio, 1),
        "output_audio_mtok" => (Kind::OutputAudio, 1),
        "input_image_mtok" => (Kind::InputImage, 1),
        "cache_image_read_mtok" => (Kind::CacheReadImage, 1),
        "output_image_mtok" => (Kind::OutputImage, 1),
        "web_searches_kcount" => (Kind::WebSearch, 1000),
        "audio_hours" | "input_audio_hours" => (Kind::Audio, 1),
        "input_mchars" => (Kind::Characters, 1),
        "rerank_searches_kcount" => (Kind::SearchUnit, 1000),
        "requests_kcount" => return Err("its fee for a request depends on what is not told"),
        _ => return Err("it is charged by something that is not counted: pages, video, citations or messages"),
    })
}

#[derive(Default)]
struct Names {
    names: Vec<String>,
    except: Vec<String>,
}

impl Names {
    fn add(&mut self, rule: &Match) -> Result<(), &'static str> {
        let mut push = |name: String| self.names.push(name.to_lowercase());
        match rule {
            Match::Equals(text) => push(text.clone()),
            Match::StartsWith(text) => push(format!("{text}*")),
            Match::EndsWith(text) => push(format!("*{text}")),
            Match::Contains(text) => push(format!("*{text}*")),
            Match::Regex(text) => globs(text)?.into_iter().for_each(push),
            Match::Or(rules) => rules.iter().try_for_each(|rule| self.add(rule))?,
            Match::And(rules) => match &rules[..] {
                [rule, Match::Regex(text)] if text == NOT_SPEECH => {
                    self.add(rule)?;
                    self.except = vec!["*-tts".into(), "*-tts-*".into()];
                }
                _ => return Err("its names are a combination that has no pattern"),
            },
        }
        Ok(())
    }
}

/// The one look-ahead that is used.
const NOT_SPEECH: &str = "^(?!.*-[tT][tT][sS](?:$|-))";

/// The patterns for a regular expression, of the few forms that are used: `^name-\d{8}$`.
fn globs(regex: &str) -> Result<Vec<String>, &'static str> {
    const NO: &str = "its names are an expression that has no pattern";
    let mut rest = regex.strip_prefix('^').ok_or(NO)?;
    let mut globs = vec![String::new()];
    while let Some(first) = rest.chars().next() {
        let mut all = |text: &str| globs.iter_mut().for_each(|glob| glob.push_str(text));
        if rest == "$" {
            return Ok(globs);
        } else if let Some(after) = rest.strip_prefix("\\d") {
            let (times, after) = match after.strip_prefix('{').and_then(|after| after.split_once('}')) {
                Some((times, after)) => (times.parse().ok().filter(|times| *times < 20).ok_or(NO)?, after),
                None => (1, after),
            };
            all(&"#".repeat(times));
            rest = after;
        } else if let Some(after) = rest.strip_prefix("[-@]") {
            globs = globs.iter().flat_map(|glob| [format!("{glob}-"), format!("{glob}@")]).collect();
            rest = after;
        } else if let Some(escaped) = rest.strip_prefix('\\') {
            let one = escaped.chars().next().filter(|one| ".[]-".contains(*one)).ok_or(NO)?;
            all(&one.to_string());
            rest = &escaped[one.len_utf8()..];
        } else if first.is_ascii_alphanumeric() || "-/=_:@".contains(first) {
            all(&first.to_string());
            rest = &rest[first.len_utf8()..];
        } else {
            return Err(NO);
        }
    }
    for glob in &mut globs {
        glob.push('*');
    }
    Ok(globs)
}
