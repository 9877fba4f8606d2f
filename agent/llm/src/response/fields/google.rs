//! Gemini and Vertex: ai.google.dev/api/generate-content, `UsageMetadata`, and cloud.google.com/vertex-ai/generative-ai/docs. As of
//! 2026-11-23.

use std::sync::LazyLock;

use super::{
    Counter::{CacheRead, Characters, Images, Input, Output, Reasoning, ToolInput, Total, WebSearches},
    ERROR,
    Field::{Count, Each, Finish, Modality, ModalityCount, ModalityEnd, Model, Share, Tier},
    Reader, Side, Table, build,
};

const USAGE: Table = &[
    ("promptTokenCount", Count(Input)),
    ("candidatesTokenCount", Count(Output)),
    // The live API's and Vertex's name for it.
    ("responseTokenCount", Count(Output)),
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
    ("responseTokensDetails[]", ModalityEnd(Side::Output)),
    ("responseTokensDetails[].modality", Modality),
    ("responseTokensDetails[].tokenCount", ModalityCount),
    // Gemini's word, and Vertex's.
    ("serviceTier", Tier),
    ("trafficType", Tier),
];

pub(super) static GEMINI: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            (
                "",
                &[
                    ("modelVersion", Model),
                    ("candidates[].finishReason", Finish),
                    ("candidates[].groundingMetadata.webSearchQueries[]", Each(WebSearches)),
                    ("promptFeedback.blockReason", Finish),
                ],
            ),
            ("usageMetadata.", USAGE),
            ("", ERROR),
        ],
        &["\"usageMetadata\"", "\"error\"", "\"finishReason\"", "\"blockReason\"", "\"webSearchQueries\""],
        Some("\"modelVersion\""),
    )
});

/// Vertex's `predict`: vectors say the tokens of each text, images are as many as there are predictions with a type.
pub(super) static PREDICT: LazyLock<Reader> = LazyLock::new(|| {
    build(
        &[
            (
                "",
                &[
                    ("predictions[].embeddings.statistics.token_count", Share(Input)),
                    ("predictions[].mimeType", Each(Images)),
                    ("metadata.billableCharacterCount", Count(Characters)),
                ],
            ),
            ("", ERROR),
        ],
        &["\"predictions\"", "\"metadata\"", "\"error\""],
        None,
    )
});
