//! What an exchange consumed, in one convention for all providers, and how far the numbers can be trusted.

use std::fmt;

/// Tokens and billed tool calls of one exchange, as the provider counted them.
///
/// The convention is inclusive: `input` contains everything that was read (fresh, from a cache, written to a cache,
/// audio, tool results), `output` everything that was generated (text, reasoning, audio, images); the other fields
/// are parts of those two. Dialects that count differently are converted when their answer is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// All output tokens.
    pub output: u64,
    /// Input tokens that came from the provider's prompt cache.
    pub cache_read: u64,
    /// Input tokens that were written to the provider's prompt cache, whatever their time to live.
    pub cache_write: u64,
    /// The part of `cache_write` that is kept for an hour, which costs more; the rest lives for five minutes.
    pub cache_write_1h: u64,
    /// The part of `output` that was reasoning and is not shown.
    pub reasoning: u64,
    /// The part of `input` that was audio.
    pub input_audio: u64,
    /// The part of `cache_read` that was audio.
    pub cache_read_audio: u64,
    /// The part of `cache_read` that was images.
    pub cache_read_image: u64,
    /// The part of `output` that is audio.
    pub output_audio: u64,
    /// The part of `output` that is images.
    pub output_image: u64,
    /// The part of `input` that was images.
    pub input_image: u64,
    /// The part of `input` that tools of the provider brought in, such as what a search found.
    pub input_tool: u64,
    /// Web searches the provider ran and bills by the piece.
    pub web_searches: u64,
    /// Other calls of tools that the provider runs and bills by the piece: fetches, file searches, code.
    pub server_tools: u64,
    /// Images made, where they are billed by the piece.
    pub images: u64,
    /// Sound that was transcribed or made, in milliseconds, where it is billed by its length.
    pub audio_ms: u64,
    /// Characters read, where text is billed by its length, as for speech.
    pub characters: u64,
    /// Units of search, as rerankers bill them.
    pub search_units: u64,
    /// The tier the provider says it billed.
    pub tier: ServiceTier,
}

/// The service tier an answer was billed at, which decides the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// The list price; also what is assumed when a provider names no tier or one that is not known here.
    #[default]
    Standard,
    /// Cheaper and slower.
    Flex,
    /// Dearer and faster.
    Priority,
    /// OpenAI's name for a still faster tier.
    Fast,
    /// Asynchronous batches.
    Batch,
}

impl ServiceTier {
    /// Reads a provider's own word; unknown words are the standard tier.
    pub(crate) fn named(word: &str) -> Self {
        match word {
            // The second word of each is Vertex's.
            "flex" | "ON_DEMAND_FLEX" => Self::Flex,
            "priority" | "ON_DEMAND_PRIORITY" => Self::Priority,
            "fast" => Self::Fast,
            "batch" => Self::Batch,
            _ => Self::Standard,
        }
    }

    /// The tier's name for records and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
            Self::Batch => "batch",
        }
    }
}

/// Where a count comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider's final numbers arrived.
    Provider,
    /// The provider had reported something, but the answer ended before its final numbers, or the agent before the answer.
    Partial,
    /// Counted or guessed by us, at least in part, because the provider did not say.
    Estimated,
    /// The provider reported nothing.
    #[default]
    None,
}

impl UsageSource {
    /// The source's name for records and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Partial => "partial",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

impl fmt::Display for UsageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
