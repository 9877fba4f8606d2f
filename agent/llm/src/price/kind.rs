use std::fmt;

use rust_decimal::Decimal;

/// What a rate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Input tokens that no other kind is for.
    Input,
    /// Output tokens that no other kind is for.
    Output,
    /// Input tokens read from the prompt cache.
    CacheRead,
    /// Input tokens written to the prompt cache, for five minutes where there is a choice.
    CacheWrite,
    /// Input tokens written to the prompt cache for an hour.
    CacheWrite1h,
    /// Output tokens of reasoning.
    Reasoning,
    /// Input tokens of audio.
    InputAudio,
    /// Input tokens of audio, read from the prompt cache.
    CacheReadAudio,
    /// Output tokens of audio.
    OutputAudio,
    /// Input tokens of images.
    InputImage,
    /// Input tokens of images, read from the prompt cache.
    CacheReadImage,
    /// Output tokens of images.
    OutputImage,
    /// Web searches.
    WebSearch,
    /// Other calls of the provider's tools.
    ServerTool,
    /// Images made.
    Image,
    /// Time of sound.
    Audio,
    /// Characters read.
    Characters,
    /// Searches of a reranker.
    SearchUnit,
    /// Requests, whatever is in them.
    Request,
}

impl Kind {
    /// All of them, in the order of the format.
    pub const ALL: [Self; 19] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::Reasoning,
        Self::InputAudio,
        Self::CacheReadAudio,
        Self::OutputAudio,
        Self::InputImage,
        Self::CacheReadImage,
        Self::OutputImage,
        Self::WebSearch,
        Self::ServerTool,
        Self::Image,
        Self::Audio,
        Self::Characters,
        Self::SearchUnit,
        Self::Request,
    ];

    /// Its key in a price file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
            Self::InputAudio => "input_audio",
            Self::CacheReadAudio => "cache_read_audio",
            Self::OutputAudio => "output_audio",
            Self::InputImage => "input_image",
            Self::CacheReadImage => "cache_read_image",
            Self::OutputImage => "output_image",
            Self::WebSearch => "web_search",
            Self::ServerTool => "server_tool",
            Self::Image => "image",
            Self::Audio => "audio_hour",
            Self::Characters => "characters",
            Self::SearchUnit => "search_unit",
            Self::Request => "request",
        }
    }

    /// What its rate is the price of, in words.
    pub fn unit(self) -> &'static str {
        match self {
            Self::WebSearch | Self::SearchUnit => "a search",
            Self::ServerTool => "a call",
            Self::Image => "an image",
            Self::Request => "a request",
            Self::Audio => "an hour",
            Self::Characters => "1M characters",
            _ => "1M tokens",
        }
    }

    /// The price of one of what is counted, tokens, milliseconds or pieces, at a rate.
    pub(super) fn each(self, rate: Decimal) -> Decimal {
        match self {
            Self::WebSearch | Self::SearchUnit | Self::ServerTool | Self::Image | Self::Request => rate,
            Self::Audio => rate / Decimal::from(3_600_000),
            _ => millionth(rate),
        }
    }

    /// The more general kind that is charged where this one has no rate of its own, as price pages mean it.
    /// Nothing for caches: whether a cached token costs as much as a fresh one is to be said, not assumed.
    pub(super) fn general(self) -> Option<Self> {
        match self {
            Self::Reasoning | Self::OutputAudio | Self::OutputImage => Some(Self::Output),
            Self::InputAudio | Self::InputImage => Some(Self::Input),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A division that only moves the point, which is many times as fast.
fn millionth(rate: Decimal) -> Decimal {
    let mut moved = rate;
    match moved.set_scale(rate.scale() + 6) {
        Ok(()) => moved,
        Err(_too_many_decimals) => rate / Decimal::from(1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moving_the_point_is_dividing(mantissa in any::<i64>(), scale in 0_u32..=28) {
            let rate = Decimal::new(mantissa, scale);
            prop_assert_eq!(millionth(rate), rate / Decimal::from(1_000_000));
        }
    }
}
