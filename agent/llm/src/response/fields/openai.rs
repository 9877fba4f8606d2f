//! OpenAI and who follow it: platform.openai.com/docs/api-reference, and the references of those named below. As of 2026-11-23.

use std::sync::LazyLock;

use super::{
    Counter::{
        AudioMs, CacheRead, CacheWrite, Citations, Duration, HiddenReasoning, Images, Input, InputAudio, InputImage,
        Output, OutputAudio, OutputImage, Reasoning, SearchUnits, ServerTools, ToolInput, Total, WebSearches,
    },
    ERROR,
    Field::{
        Bill, Count, Each, ErrorName, Finish, IsByok, Model, Seconds, Share, Tier, Tool, ToolAction, ToolEnd, Type,
    },
    Price, Reader, Table, build,
};

const USAGE: Table = &[
    ("prompt_tokens", Count(Input)),
    ("completion_tokens", Count(Output)),
    ("total_tokens", Count(Total)),
    ("prompt_tokens_details.cached_tokens", Count(CacheRead)),
    ("prompt_tokens_details.cache_write_tokens", Count(CacheWrite)),
    ("prompt_tokens_details.audio_tokens", Count(InputAudio)),
    ("prompt_tokens_details.image_tokens", Count(InputImage)),
    ("completion_tokens_details.reasoning_tokens", Count(Reasoning)),
    ("completion_tokens_details.audio_tokens", Count(OutputAudio)),
    ("completion_tokens_details.image_tokens", Count(OutputImage)),
    // Moonshot, DeepSeek and Mistral name what their caches gave in their own way.
    ("cached_tokens", Count(CacheRead)),
    ("prompt_cache_hit_tokens", Count(CacheRead)),
    ("num_cached_tokens", Count(CacheRead)),
    // docs.perplexity.ai: deep research bills these beside the rest.
    ("citation_tokens", Count(Citations)),
    ("reasoning_tokens", Count(HiddenReasoning)),
    ("num_search_queries", Count(WebSearches)),
    ("cost.total_cost", Bill(Price::Charged)),
    // docs.x.ai
    ("num_sources_used", Count(SearchUnits)),
    ("cost_in_usd_ticks", Bill(Price::Ticks)),
    // openrouter.ai/docs: with the user's own key at a provider, that provider charges too.
    ("cost", Bill(Price::Charged)),
    ("cost_details.upstream_inference_cost", Bill(Price::Upstream)),
    ("is_byok", IsByok),
    // docs.mistral.ai/api: what its tools brought in, and how often they were called.
    ("connector_tokens", Count(ToolInput)),
    ("connectors.web_search", Share(WebSearches)),
    ("connectors.web_search_premium", Share(WebSearches)),
    ("connectors.code_interpreter", Count(ServerTools)),
    ("prompt_audio_seconds", Seconds(AudioMs)),
];

/// Errors at the top, as vLLM and Mistral have them.
const BARE_ERROR: Table = &[("object", Type), ("type", ErrorName), ("code", ErrorName)];

pub(super) static CHAT: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("model", Model), ("service_tier", Tier), ("choices[].finish_reason", Finish)]),
            ("usage.", USAGE),
            // Groq's place for it in a stream, Moonshot's, and that of Cloudflare's models.
            ("x_groq.usage.", USAGE),
            ("choices[].usage.", USAGE),
            ("result.usage.", USAGE),
            ("", BARE_ERROR),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"finish_reason\""],
        Some("\"model\""),
    )
});

/// Embeddings and moderations, also of Voyage and Jina, which give the total alone.
pub(super) static EMBEDDINGS: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[("", &[("model", Model)]), ("usage.", USAGE), ("", BARE_ERROR), ("", ERROR)],
        &["\"usage\"", "\"error\""],
        Some("\"model\""),
    )
});

const RESPONSES_USAGE: Table = &[
    ("input_tokens", Count(Input)),
    ("output_tokens", Count(Output)),
    ("input_tokens_details.cached_tokens", Count(CacheRead)),
    ("input_tokens_details.cache_write_tokens", Count(CacheWrite)),
    ("output_tokens_details.reasoning_tokens", Count(Reasoning)),
    ("num_sources_used", Count(SearchUnits)),
    ("cost_in_usd_ticks", Bill(Price::Ticks)),
    ("cost", Bill(Price::Charged)),
    ("cost_details.upstream_inference_cost", Bill(Price::Upstream)),
    ("is_byok", IsByok),
];

/// Calls of tools that are billed by the piece are told by what they put out.
const TOOLS: Table = &[("output[].type", Tool), ("output[].action.type", ToolAction), ("output[]", ToolEnd)];

pub(super) static RESPONSES: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("code", ErrorName), ("model", Model), ("service_tier", Tier)]),
            ("usage.", RESPONSES_USAGE),
            ("", TOOLS),
            ("", ERROR),
            ("response.", &[("model", Model), ("service_tier", Tier)]),
            ("response.usage.", RESPONSES_USAGE),
            ("response.", TOOLS),
            ("response.", ERROR),
        ],
        &["\"usage\"", "\"error\""],
        Some("\"model\""),
    )
});

/// Mistral's conversations: docs.mistral.ai/api.
pub(super) static CONVERSATIONS: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("code", ErrorName), ("model", Model), ("outputs[].model", Model)]),
            ("usage.", USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"conversation.response."],
        Some("\"model\""),
    )
});

/// What sounds and images count in.
const MEDIA_USAGE: Table = &[
    ("input_tokens", Count(Input)),
    ("output_tokens", Count(Output)),
    ("total_tokens", Count(Total)),
    ("input_tokens_details.image_tokens", Count(InputImage)),
    ("input_tokens_details.cached_tokens", Count(CacheRead)),
    ("output_tokens_details.image_tokens", Count(OutputImage)),
    // Sound says it without the s.
    ("input_token_details.audio_tokens", Count(InputAudio)),
    ("output_token_details.audio_tokens", Count(OutputAudio)),
    ("seconds", Seconds(AudioMs)),
    ("cost_in_usd_ticks", Bill(Price::Ticks)),
];

/// Images: by the token, or by the piece when no tokens are told.
pub(super) static IMAGES: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("model", Model), ("data[]", Each(Images))]),
            ("usage.", MEDIA_USAGE),
            ("usage.", USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"data\"", ".completed\""],
        Some("\"model\""),
    )
});

/// Speech and transcription. Whisper's `verbose_json` has its length as a number or, earlier, as text.
pub(super) static AUDIO: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("model", Model), ("duration", Seconds(Duration))]),
            ("usage.", MEDIA_USAGE),
            ("usage.", USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"duration\"", ".done\""],
        Some("\"model\""),
    )
});
