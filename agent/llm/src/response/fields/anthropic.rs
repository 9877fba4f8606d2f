//! Anthropic: platform.claude.com/docs/en/api/messages, …/streaming, and …/compaction for the iterations. As of 2026-11-23.

use std::sync::LazyLock;

use super::{
    Counter::{
        CacheRead, CacheWrite, CacheWrite1h, CacheWrite5m, CodeRuns, Input, Output, Reasoning, WebFetches, WebSearches,
    },
    ERROR,
    Field::{Count, Finish, Model, Share, Speed, Tier, Type},
    Reader, Table, build,
};

pub(super) const USAGE: Table = &[
    ("input_tokens", Count(Input)),
    ("output_tokens", Count(Output)),
    ("cache_read_input_tokens", Count(CacheRead)),
    ("cache_creation_input_tokens", Count(CacheWrite)),
    ("cache_creation.ephemeral_5m_input_tokens", Count(CacheWrite5m)),
    ("cache_creation.ephemeral_1h_input_tokens", Count(CacheWrite1h)),
    ("output_tokens_details.thinking_tokens", Count(Reasoning)),
    ("server_tool_use.web_search_requests", Count(WebSearches)),
    ("server_tool_use.web_fetch_requests", Count(WebFetches)),
    ("server_tool_use.code_execution_requests", Count(CodeRuns)),
    ("service_tier", Tier),
    ("speed", Speed),
    ("iterations[].input_tokens", Share(Input)),
    ("iterations[].output_tokens", Share(Output)),
    ("iterations[].cache_read_input_tokens", Share(CacheRead)),
    ("iterations[].cache_creation_input_tokens", Share(CacheWrite)),
    ("iterations[].cache_creation.ephemeral_5m_input_tokens", Share(CacheWrite5m)),
    ("iterations[].cache_creation.ephemeral_1h_input_tokens", Share(CacheWrite1h)),
];

pub(super) static MESSAGES: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("model", Model), ("stop_reason", Finish), ("delta.stop_reason", Finish)]),
            ("usage.", USAGE),
            ("message.", &[("model", Model)]),
            ("message.usage.", USAGE),
            ("", ERROR),
        ],
        &["\"usage\"", "\"error\"", "\"stop_reason\"", "\"message_stop\""],
        Some("\"model\""),
    )
});
