//! Where each API's answers say what they consumed. A new dialect is a table here, a rule in `total.rs` and a corpus.

mod anthropic;
mod bedrock;
mod google;
mod openai;
mod others;

use memchr::memmem::Finder;

use crate::{call::Api, json::Paths};

/// What a place in an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The kind of an event or object.
    Type,
    /// The model that answered.
    Model,
    /// The billed service tier.
    Tier,
    /// How fast it was made, where that is a tier of its own.
    Speed,
    /// Why generation ended; once said, the numbers are final.
    Finish,
    /// An error, whatever it holds.
    Error,
    /// The error's type, code or status.
    ErrorName,
    /// A count, of which the latest is right.
    Count(Counter),
    /// A count that stands once per element of a list, whose sum is right.
    Share(Counter),
    /// Something that counts by being there; so many in one event or document.
    Each(Counter),
    /// A length of time in seconds, kept in milliseconds.
    Seconds(Counter),
    /// What the provider charges, in its own unit.
    Bill(Price),
    /// The user's own key at another provider was used, who charges as well.
    IsByok,
    /// In a list of what was put out: its kind, what a tool did, and the end of an element.
    Tool,
    ToolAction,
    ToolEnd,
    /// A count by someone else than the model, for where the model gives none.
    Fallback(Counter),
    /// An object that stands with the final numbers only.
    Final,
    /// In a list of cache writes by time to live: the time, the count, and the end of an element.
    Ttl,
    TtlCount,
    TtlEnd,
    /// In a list of counts by modality: the modality, the count, and the end of an element.
    Modality,
    ModalityCount,
    ModalityEnd(Side),
}

/// The numbers that are kept, as the providers name them, before any conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Input,
    Output,
    Total,
    CacheRead,
    /// Cache reads that the input holds, where others of the same API are beside it.
    CacheReadWithin,
    CacheWrite,
    CacheWrite5m,
    CacheWrite1h,
    Reasoning,
    ToolInput,
    InputAudio,
    CacheReadAudio,
    OutputAudio,
    OutputImage,
    InputImage,
    WebSearches,
    /// Searches told by what was put out.
    SearchCalls,
    ToolCalls,
    ServerTools,
    WebFetches,
    CodeRuns,
    /// Input that is not in the rest: what was cited.
    Citations,
    /// Reasoning that is not in the output.
    HiddenReasoning,
    /// What is billed, where that is not what was processed.
    BilledInput,
    BilledOutput,
    SearchUnits,
    Images,
    Characters,
    AudioMs,
    /// How long the sound was, whether or not that is billed.
    Duration,
}

impl Counter {
    pub(super) const COUNT: usize = Self::Duration as usize + 1;
}

/// Which part of a bill, and in what unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Price {
    /// All that is charged, in US dollars.
    Charged,
    /// The same, in units of 10⁻¹⁰ dollars.
    Ticks,
    /// What another provider charged, in US dollars.
    Upstream,
}

/// What a list of counts by modality is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Cache,
    Output,
}

/// How to read the answers of one API.
pub(super) struct Reader {
    pub(super) paths: Paths<Field>,
    /// Keys and words of which at least one is in every event that matters. `model` counts until it is known.
    needles: Vec<Finder<'static>>,
    model: Option<Finder<'static>>,
}

impl Reader {
    /// Whether an event may say anything worth reading. Cheap, and never wrong about no.
    pub(super) fn concerns(&self, event: &[u8], is_model_known: bool) -> bool {
        let model = self.model.as_ref().filter(|_| !is_model_known);
        self.needles
            .iter()
            .chain(model)
            .any(|needle| needle.find_iter(event).any(|at| !is_null(&event[at + needle.needle().len()..])))
    }
}

/// Whether `"key"` is followed by `: null`, as every event of some providers has it for `usage` or `error`.
fn is_null(after_key: &[u8]) -> bool {
    let Some(value) = after_key.trim_ascii_start().strip_prefix(b":") else { return false };
    value.trim_ascii_start().starts_with(b"null")
}

/// The reader for an API.
pub(super) fn reader(api: Api) -> &'static Reader {
    match api {
        Api::ChatCompletions | Api::Completions => &openai::CHAT,
        // Over a WebSocket, each of its messages is read on its own.
        Api::Responses | Api::Realtime => &openai::RESPONSES,
        // Pages are all that is told of reading them, and they are no tokens.
        Api::Embeddings | Api::Moderations | Api::Ocr => &openai::EMBEDDINGS,
        Api::Conversations => &openai::CONVERSATIONS,
        Api::Images => &openai::IMAGES,
        Api::Speech | Api::Transcription => &openai::AUDIO,
        Api::Messages => &anthropic::MESSAGES,
        Api::GenerateContent | Api::EmbedContent => &google::GEMINI,
        Api::Predict => &google::PREDICT,
        Api::BedrockConverse | Api::BedrockConverseStream => &bedrock::CONVERSE,
        Api::BedrockInvoke | Api::BedrockInvokeStream => &bedrock::INVOKE,
        Api::CohereChat | Api::CohereEmbed => &others::COHERE,
        Api::Rerank => &others::RERANK,
        Api::Ollama => &others::OLLAMA,
        Api::CountTokens | Api::Unknown => &others::ERRORS,
    }
}

type Table = &'static [(&'static str, Field)];

/// Errors look alike enough to be read the same everywhere.
const ERROR: Table = &[
    ("error", Field::Error),
    ("error.type", Field::ErrorName),
    ("error.code", Field::ErrorName),
    ("error.status", Field::ErrorName),
];

fn build(tables: &[(&str, Table)], needles: &[&'static str], model: Option<&'static str>) -> Reader {
    let rows = tables
        .iter()
        .flat_map(|(prefix, table)| table.iter().map(move |(path, field)| (format!("{prefix}{path}"), *field)));
    // A key may be written with escapes, `\u0075sage`; then nothing can be told without reading.
    let needles = needles.iter().chain(&["\\u00"]).map(|needle| Finder::new(*needle)).collect();
    Reader { paths: Paths::new(rows), needles, model: model.map(Finder::new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_news_are_passed_over() {
        let chat = reader(Api::ChatCompletions);
        let delta = br#"{"id":"x","model":"gpt","choices":[{"index":0,"delta":{"content":"say \"usage\" and \"error\":"},"finish_reason":null}],"usage": null}"#;
        assert!(chat.concerns(delta, false), "the model is still to be learned");
        assert!(!chat.concerns(delta, true));
        assert!(chat.concerns(br#"{"usage":null,"x_groq":{"usage":{"prompt_tokens":1}}}"#, true));
        assert!(chat.concerns(br#"{"us\u0061ge":{}}"#, true));
        let messages = reader(Api::Messages);
        assert!(!messages.concerns(br#"{"type":"content_block_delta","delta":{"text":"hi"}}"#, true));
        assert!(messages.concerns(br#"{"type":"message_stop"}"#, true));
        let responses = reader(Api::Responses);
        assert!(responses.concerns(br#"{"type":"error","code":"server_error","message":"m"}"#, true));
        assert!(!responses.concerns(br#"{"type":"response.created","response":{"error":null,"usage":null}}"#, true));
    }

    /// An event that says something must be read when it comes in one piece, as it is when it comes in several.
    #[test]
    fn whatever_ends_or_counts_is_never_passed_over() {
        for (api, event) in [
            (Api::CohereChat, r#"{"type":"message-end"}"#),
            (Api::Transcription, r#"{"type":"transcript.text.done"}"#),
            (Api::Transcription, r#"{"duration":1.5}"#),
            (Api::Speech, r#"{"type":"speech.audio.done"}"#),
            (Api::Images, r#"{"type":"image_edit.completed"}"#),
            (Api::Images, r#"{"data":[{}]}"#),
            (Api::Conversations, r#"{"type":"conversation.response.done"}"#),
            (Api::Conversations, r#"{"type":"conversation.response.error"}"#),
            (Api::Ollama, r#"{"done_reason":"stop"}"#),
            (Api::Predict, r#"{"predictions":[{"mimeType":"image/png"}]}"#),
            (Api::GenerateContent, r#"{"candidates":[{"groundingMetadata":{"webSearchQueries":["q"]}}]}"#),
            (Api::ChatCompletions, r#"{"object":"error","code":400}"#),
        ] {
            assert!(reader(api).concerns(event.as_bytes(), true), "{api:?} {event}");
        }
    }
}
