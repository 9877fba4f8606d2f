//! Where each API's answers say what they consumed. A new dialect is a table here, a rule in `total.rs` and a corpus.

mod bedrock;

use std::sync::LazyLock;

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
    WebSearches,
}

impl Counter {
    pub(super) const COUNT: usize = Self::WebSearches as usize + 1;
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
        Api::ChatCompletions | Api::Completions => &CHAT,
        Api::Responses => &RESPONSES,
        Api::Messages => &MESSAGES,
        Api::GenerateContent | Api::EmbedContent => &GEMINI,
        Api::Embeddings => &EMBEDDINGS,
        Api::BedrockConverse | Api::BedrockConverseStream => &bedrock::CONVERSE,
        Api::BedrockInvoke | Api::BedrockInvokeStream => &bedrock::INVOKE,
        _ => &ERRORS,
    }
}

use Counter::{
    CacheRead, CacheWrite, CacheWrite1h, CacheWrite5m, Input, InputAudio, Output, OutputAudio, Reasoning, ToolInput,
    Total, WebSearches,
};
use Field::{Count, Error, ErrorName, Finish, Modality, ModalityCount, ModalityEnd, Model, Share, Tier, Type};

type Table = &'static [(&'static str, Field)];

/// Errors look alike enough to be read the same everywhere.
const ERROR: Table =
    &[("error", Error), ("error.type", ErrorName), ("error.code", ErrorName), ("error.status", ErrorName)];

/// platform.openai.com/docs/api-reference/chat; `cached_tokens` and `prompt_cache_hit_tokens` are Moonshot's and
/// DeepSeek's, who else follow it.
const CHAT_USAGE: Table = &[
    ("prompt_tokens", Count(Input)),
    ("completion_tokens", Count(Output)),
    ("total_tokens", Count(Total)),
    ("cached_tokens", Count(CacheRead)),
    ("prompt_cache_hit_tokens", Count(CacheRead)),
    ("prompt_tokens_details.cached_tokens", Count(CacheRead)),
    ("prompt_tokens_details.cache_write_tokens", Count(CacheWrite)),
    ("prompt_tokens_details.audio_tokens", Count(InputAudio)),
    ("completion_tokens_details.reasoning_tokens", Count(Reasoning)),
    ("completion_tokens_details.audio_tokens", Count(OutputAudio)),
];

/// platform.openai.com/docs/api-reference/responses.
const RESPONSES_USAGE: Table = &[
    ("input_tokens", Count(Input)),
    ("output_tokens", Count(Output)),
    ("input_tokens_details.cached_tokens", Count(CacheRead)),
    ("input_tokens_details.cache_write_tokens", Count(CacheWrite)),
    ("output_tokens_details.reasoning_tokens", Count(Reasoning)),
];

/// platform.claude.com/docs/en/api/messages, …/streaming, and …/compaction for the iterations.
const MESSAGES_USAGE: Table = &[
    ("input_tokens", Count(Input)),
    ("output_tokens", Count(Output)),
    ("cache_read_input_tokens", Count(CacheRead)),
    ("cache_creation_input_tokens", Count(CacheWrite)),
    ("cache_creation.ephemeral_5m_input_tokens", Count(CacheWrite5m)),
    ("cache_creation.ephemeral_1h_input_tokens", Count(CacheWrite1h)),
    ("output_tokens_details.thinking_tokens", Count(Reasoning)),
    ("server_tool_use.web_search_requests", Count(WebSearches)),
    ("service_tier", Tier),
    ("iterations[].input_tokens", Share(Input)),
    ("iterations[].output_tokens", Share(Output)),
    ("iterations[].cache_read_input_tokens", Share(CacheRead)),
    ("iterations[].cache_creation_input_tokens", Share(CacheWrite)),
    ("iterations[].cache_creation.ephemeral_5m_input_tokens", Share(CacheWrite5m)),
    ("iterations[].cache_creation.ephemeral_1h_input_tokens", Share(CacheWrite1h)),
];

/// ai.google.dev/api/generate-content, `UsageMetadata`.
const GEMINI_USAGE: Table = &[
    ("promptTokenCount", Count(Input)),
    ("candidatesTokenCount", Count(Output)),
    ("thoughtsTokenCount", Count(Reasoning)),
    ("toolUsePromptTokenCount", Count(ToolInput)),
    ("cachedContentTokenCount", Count(CacheRead)),
    ("totalTokenCount", Count(Total)),
    ("promptTokensDetails[]", ModalityEnd(Side::Input)),
    ("promptTokensDetails[].modality", Modality),
    ("promptTokensDetails[].tokenCount", ModalityCount),
    ("cacheTokensDetails[]", ModalityEnd(Side::Cache)),
    ("cacheTokensDetails[].modality", Modality),
    ("cacheTokensDetails[].tokenCount", ModalityCount),
    ("candidatesTokensDetails[]", ModalityEnd(Side::Output)),
    ("candidatesTokensDetails[].modality", Modality),
    ("candidatesTokensDetails[].tokenCount", ModalityCount),
];

static CHAT: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("model", Model), ("service_tier", Tier), ("choices[].finish_reason", Finish)]),
            ("usage.", CHAT_USAGE),
            // Groq's place for it in a stream.
            ("x_groq.usage.", CHAT_USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"finish_reason\""],
        Some("\"model\""),
    )
});

static EMBEDDINGS: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[("", &[("model", Model)]), ("usage.", CHAT_USAGE), ("", ERROR)],
        &["\"usage\"", "\"error\""],
        Some("\"model\""),
    )
});

static RESPONSES: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("code", ErrorName), ("model", Model), ("service_tier", Tier)]),
            ("usage.", RESPONSES_USAGE),
            ("", ERROR),
            ("response.", &[("model", Model), ("service_tier", Tier)]),
            ("response.usage.", RESPONSES_USAGE),
            ("response.", ERROR),
        ],
        &["\"usage\"", "\"error\""],
        Some("\"model\""),
    )
});

static MESSAGES: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("model", Model), ("stop_reason", Finish), ("delta.stop_reason", Finish)]),
            ("usage.", MESSAGES_USAGE),
            ("message.", &[("model", Model)]),
            ("message.usage.", MESSAGES_USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"stop_reason\"", "\"message_stop\""],
        Some("\"model\""),
    )
});

static GEMINI: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            (
                "",
                &[
                    ("modelVersion", Model),
                    ("candidates[].finishReason", Finish),
                    ("promptFeedback.blockReason", Finish),
                ],
            ),
            ("usageMetadata.", GEMINI_USAGE),
            ("", ERROR),
        ],
        &["\"usageMetadata\"", "\"error\"", "\"finishReason\"", "\"blockReason\""],
        Some("\"modelVersion\""),
    )
});

static ERRORS: LazyLock<Reader> = LazyLock::new(|| build(&[("", ERROR)], &["\"error\""], None));

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
}
