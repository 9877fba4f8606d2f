//! The most that a call may use, told before it is sent: what budgets and limits set aside for it.

use crate::call::{Api, Call, Operation};
use crate::estimate::{Sample, estimate_highly};
use crate::request::RequestFacts;

/// What an image is, in tokens, where it is read: the most that Claude takes one for before its models of 2026, and more than most of
/// OpenAI's and Google's do (platform.claude.com/docs/en/build-with-claude/vision, 2026-11).
const IMAGE: u64 = 1_600;

/// What an image is, in tokens, where it is made: the largest of gpt-image-1 in high quality
/// (platform.openai.com/docs/guides/image-generation, 2026-11).
const MADE_IMAGE: u64 = 6_240;

/// What a sound, film or document is at least, in tokens, as it may be named and not be in the request.
const FILE: u64 = 4_096;

/// How many bytes of a file in base64 are a token. Documents are the densest: a page is some 3 000 tokens and 50 kB.
const FILE_BYTES: u64 = 20;

/// How many bytes of a body that was not read as text are a token. No script needs fewer in o200k's eyes.
const BODY_BYTES: u64 = 2;

/// How many bytes of sound are a token, at 6 kbit/s and the ten tokens a second of gpt-4o-transcribe.
const SOUND_BYTES: u64 = 64;

/// The most that a request for images is read to be: a prompt of 32 000 characters, and the sixteen images that can be edited at once.
const IMAGE_REQUEST: u64 = 16 * IMAGE + 16_000;

/// How many tokens a call reads, at most, by what was seen of it: `text` is what the model is given to read.
///
/// It is meant to be too high rather than too low, by two fifths for most texts: of those that it was fitted to, 99 in 100 are fewer
/// tokens to OpenAI's o200k_base. Claude's vocabularies count more, so for Claude it is a quarter more. What the provider adds of its
/// own cannot be seen: an earlier conversation that the request names, what its tools bring in, prompts it keeps.
pub fn estimate_input(text: &Sample, facts: &RequestFacts) -> u64 {
    let has_else = facts.images > 0 || facts.files > 0;
    let text_bytes = text.bytes();
    let words = if text.is_empty() && !has_else { facts.body_bytes / BODY_BYTES } else { estimate_highly(text) };
    let is_claude = facts.model.as_deref().is_some_and(|model| model.contains("claude"));
    let words = if is_claude { words.saturating_add(words / 4) } else { words };
    let images = u64::from(facts.images).saturating_mul(IMAGE);
    let files = match u64::from(facts.files) {
        0 => 0,
        files => files.saturating_mul(FILE).max(facts.body_bytes.saturating_sub(text_bytes) / FILE_BYTES),
    };
    words.saturating_add(images).saturating_add(files)
}

/// The same, for what is not text as well.
pub(crate) fn estimate_input_of(api: Api, text: &Sample, facts: &RequestFacts) -> u64 {
    match api {
        Api::Transcription => facts.body_bytes / SOUND_BYTES,
        Api::Images => (facts.body_bytes / BODY_BYTES).min(IMAGE_REQUEST),
        _ => estimate_input(text, facts),
    }
}

/// How many tokens the answers to a call have at most, all choices together. `assumed` is for an answer of a model whose largest is not
/// known, where the request does not say either. A server that does not go by what the request says may write more.
pub fn largest_output(call: &Call, facts: &RequestFacts, assumed: u64) -> u64 {
    let choices = u64::from(facts.choices.unwrap_or(1).max(1));
    let each = match call.operation {
        Operation::Chat | Operation::TextCompletion | Operation::GenerateContent | Operation::Realtime => {
            let known = facts.model.as_deref().and_then(largest_answer);
            match (facts.max_output_tokens, known) {
                // A server refuses what its model cannot do, or gives what it can.
                (Some(asked), Some(known)) => asked.min(known),
                (asked, known) => asked.or(known).unwrap_or(assumed),
            }
        }
        Operation::Image if call.api == Api::Images => MADE_IMAGE,
        Operation::Speech | Operation::Transcription => {
            facts.model.as_deref().and_then(largest_answer).unwrap_or(assumed)
        }
        _ => 0,
    };
    each.saturating_mul(choices)
}

/// The largest answers of models, in tokens, reasoning included: of the names that a model's begins with, the longest counts. From the
/// pages of models at platform.openai.com/docs/models, platform.claude.com/docs/en/about-claude/models, ai.google.dev/gemini-api/docs/models
/// and docs.aws.amazon.com/nova, as of 2026-11-23; models that are not certain are left out.
const LARGEST: &[(&str, u64)] = &[
    ("gpt-5", 128_000),
    ("gpt-5-pro", 272_000),
    ("gpt-5-chat", 16_384),
    ("gpt-5.1-chat", 16_384),
    ("gpt-5.2-chat", 16_384),
    ("gpt-4.1", 32_768),
    ("gpt-4o", 16_384),
    ("gpt-4o-2024-05-13", 4_096),
    ("gpt-4o-transcribe", 2_000),
    ("gpt-4o-mini-transcribe", 2_000),
    ("chatgpt-4o", 16_384),
    ("gpt-4-turbo", 4_096),
    ("gpt-4", 8_192),
    ("gpt-3.5-turbo", 4_096),
    ("gpt-oss", 131_072),
    ("o1", 100_000),
    ("o1-preview", 32_768),
    ("o1-mini", 65_536),
    ("o3", 100_000),
    ("o4-mini", 100_000),
    ("claude-3-haiku", 4_096),
    ("claude-3-opus", 4_096),
    ("claude-3-sonnet", 4_096),
    ("claude-3-5-haiku", 8_192),
    ("claude-3-5-sonnet", 8_192),
    // With a beta of theirs.
    ("claude-3-7-sonnet", 128_000),
    ("claude-sonnet-4", 64_000),
    ("claude-opus-4", 32_000),
    ("claude-opus-4-5", 64_000),
    ("claude-opus-4-6", 128_000),
    ("claude-opus-4-7", 128_000),
    ("claude-haiku-4-5", 64_000),
    ("gemini-1.5", 8_192),
    ("gemini-2.0-flash", 8_192),
    ("gemini-2.5-pro", 65_536),
    ("gemini-2.5-flash", 65_536),
    ("gemini-3-pro", 65_536),
    ("gemini-3-flash", 65_536),
    ("nova-micro", 10_000),
    ("nova-lite", 10_000),
    ("nova-pro", 10_000),
];

/// The makers whose names stand before those of their models in Bedrock's.
const MAKERS: [&str; 3] = ["anthropic.", "amazon.", "openai."];

/// The largest answer of a model, where it is known.
fn largest_answer(model: &str) -> Option<u64> {
    let model = model.rsplit('/').next().unwrap_or(model);
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let maker = MAKERS.iter().find_map(|maker| Some(model.find(maker)? + maker.len()));
    let model = &model[maker.unwrap_or(0)..];
    let is_of = |name: &str| {
        let (own, rest) = model.split_at_checked(name.len())?;
        let ends = rest.bytes().next().is_none_or(|byte| byte.is_ascii_punctuation());
        (own.eq_ignore_ascii_case(name) && ends).then_some(name.len())
    };
    LARGEST.iter().filter_map(|(name, most)| Some((is_of(name)?, *most))).max().map(|(_, most)| most)
}

#[cfg(test)]
mod tests;
