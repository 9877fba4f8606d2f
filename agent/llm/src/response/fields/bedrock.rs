//! Amazon Bedrock: docs.aws.amazon.com/bedrock, `TokenUsage` of Converse, and the answers of each vendor's models in "Inference request
//! parameters and response fields". `InvokeModel` passes on what the model says, so one table reads all of them: no two give one name
//! two meanings. As of 2026-11-23.

use std::sync::LazyLock;

use super::{
    Counter::{CacheRead, CacheReadWithin, CacheWrite, Input, InputAudio, Output, OutputAudio, Reasoning},
    ERROR,
    Field::{Count, Fallback, Final, Finish, Model, Share, Tier, Ttl, TtlCount, TtlEnd, Type},
    Reader, Table,
    anthropic::USAGE as MESSAGES_USAGE,
    build,
};

/// Converse's own, which Nova answers with as well. Both spellings of the cache are seen, and mean the same.
const USAGE: Table = &[
    ("inputTokens", Count(Input)),
    ("outputTokens", Count(Output)),
    ("cacheReadInputTokens", Count(CacheRead)),
    ("cacheReadInputTokenCount", Count(CacheRead)),
    ("cacheWriteInputTokens", Count(CacheWrite)),
    ("cacheWriteInputTokenCount", Count(CacheWrite)),
    ("cacheDetails[]", TtlEnd),
    ("cacheDetails[].ttl", Ttl),
    ("cacheDetails[].inputTokens", TtlCount),
];

pub(super) static CONVERSE: LazyLock<Reader> = LazyLock::new(|| {
    build(&[("", &[("serviceTier.type", Tier)]), ("usage.", USAGE), ("", ERROR)], &["\"usage\"", "\"error\""], None)
});

/// OpenAI's shape, as gpt-oss, Qwen, DeepSeek, Jamba and Mistral's newer models answer. Its input holds what the cache gave.
const CHAT: Table = &[
    ("prompt_tokens", Count(Input)),
    ("completion_tokens", Count(Output)),
    ("prompt_tokens_details.cached_tokens", Count(CacheReadWithin)),
    ("completion_tokens_details.reasoning_tokens", Count(Reasoning)),
];

/// What Bedrock itself counted, in a stream's last event. It stands where the model says nothing.
const METRICS: Table = &[
    ("inputTokenCount", Fallback(Input)),
    ("outputTokenCount", Fallback(Output)),
    ("cacheReadInputTokenCount", Fallback(CacheRead)),
    ("cacheWriteInputTokenCount", Fallback(CacheWrite)),
];

/// Llama, Titan and the older models of Mistral and Cohere.
const OTHERS: Table = &[
    ("prompt_token_count", Count(Input)),
    ("generation_token_count", Count(Output)),
    ("inputTextTokenCount", Count(Input)),
    ("totalOutputTextTokenCount", Count(Output)),
    ("results[].tokenCount", Share(Output)),
];

/// Nova Sonic's, in a stream of both directions; cumulative.
const SPEECH: Table = &[
    ("totalInputTokens", Count(Input)),
    ("totalOutputTokens", Count(Output)),
    ("details.total.input.speechTokens", Count(InputAudio)),
    ("details.total.output.speechTokens", Count(OutputAudio)),
];

/// A stream is over when Bedrock has given its own numbers, or Claude its last event. Why a model stopped says nothing of that: what follows
/// may hold more.
pub(super) static INVOKE: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("model", Model), ("message.model", Model), ("service_tier", Tier)]),
            // Claude's.
            ("usage.", MESSAGES_USAGE),
            ("message.usage.", MESSAGES_USAGE),
            // Nova's.
            ("usage.", USAGE),
            ("metadata.usage.", USAGE),
            ("", &[("event.completionEnd.stopReason", Finish)]),
            ("event.usageEvent.", SPEECH),
            // OpenAI's.
            ("usage.", CHAT),
            ("", OTHERS),
            ("", &[("amazon-bedrock-invocationMetrics", Final)]),
            ("amazon-bedrock-invocationMetrics.", METRICS),
            ("", ERROR),
        ],
        // The ends of keys, each of several.
        &[
            "\"usage\"",
            "oken_count\"",
            "okenCount\"",
            "\"message_stop\"",
            "\"usageEvent\"",
            "\"completionEnd\"",
            "\"error\"",
        ],
        Some("\"model\""),
    )
});
