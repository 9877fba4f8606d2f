//! Cohere, Ollama, and rerankers.

use std::sync::LazyLock;

use super::{
    Counter::{BilledInput, BilledOutput, CacheRead, Images, Input, Output, SearchUnits, Total},
    ERROR,
    Field::{Count, ErrorName, Finish, Model, Type},
    Reader, Table, build,
};

/// docs.cohere.com/reference: what is billed is not what was processed. As of 2026-11-23.
const BILLED: Table = &[
    ("billed_units.input_tokens", Count(BilledInput)),
    ("billed_units.output_tokens", Count(BilledOutput)),
    ("billed_units.search_units", Count(SearchUnits)),
    ("billed_units.images", Count(Images)),
    ("tokens.input_tokens", Count(Input)),
    ("tokens.output_tokens", Count(Output)),
    ("cached_tokens", Count(CacheRead)),
];

/// Both versions, streamed and not.
pub(super) static COHERE: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("type", Type), ("event_type", Type), ("finish_reason", Finish)]),
            ("", &[("delta.finish_reason", Finish)]),
            ("usage.", BILLED),
            ("delta.usage.", BILLED),
            ("meta.", BILLED),
            ("response.meta.", BILLED),
            ("", ERROR),
            ("delta.", ERROR),
        ],
        &["\"usage\"", "\"finish_reason\"", "\"error\"", "\"meta\"", "\"message-end\"", "\"stream-end\""],
        None,
    )
});

/// docs.cohere.com/reference/rerank, jina.ai/reranker, docs.voyageai.com/reference/reranker-api. As of 2026-11-23.
pub(super) static RERANK: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            ("", &[("model", Model)]),
            ("meta.", BILLED),
            (
                "usage.",
                &[
                    ("prompt_tokens", Count(Input)),
                    ("completion_tokens", Count(Output)),
                    ("total_tokens", Count(Total)),
                    ("search_units", Count(SearchUnits)),
                ],
            ),
            ("", ERROR),
        ],
        &["\"usage\"", "\"meta\"", "\"error\""],
        Some("\"model\""),
    )
});

/// docs.ollama.com/api: one object a line, of which the last has the numbers. As of 2026-11-23.
pub(super) static OLLAMA: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            (
                "",
                &[
                    ("model", Model),
                    ("done", Finish),
                    ("done_reason", Finish),
                    ("prompt_eval_count", Count(Input)),
                    ("eval_count", Count(Output)),
                    ("code", ErrorName),
                ],
            ),
            ("", ERROR),
        ],
        &["_count\"", "\"done", "\"error\""],
        Some("\"model\""),
    )
});

/// Answers that say nothing of what they consumed: who answered, and what went wrong.
pub(super) static ERRORS: LazyLock<Reader> = LazyLock::new(|| build(&[("", ERROR)], &["\"error\""], None));
