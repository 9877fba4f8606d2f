//! From the providers' numbers to [`Usage`]: each dialect's rule of what contains what.

use super::fields::Counter;
use crate::{call::Api, usage::Usage};

/// The latest value of each number; `None` for what was never said, which is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts([Option<u64>; Counter::COUNT]);

impl Counts {
    pub(super) fn get(&self, counter: Counter) -> Option<u64> {
        self.0[counter as usize]
    }

    pub(super) fn set(&mut self, counter: Counter, value: u64) {
        self.0[counter as usize] = Some(value);
    }

    pub(super) fn add(&mut self, counter: Counter, value: u64) {
        self.set(counter, self.or_zero(counter).saturating_add(value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Field by field, what is said later wins, and what is not said again stays.
    pub(super) fn update(&mut self, later: &Self) {
        for (kept, later) in self.0.iter_mut().zip(later.0) {
            *kept = later.or(*kept);
        }
    }

    /// These, and where they say nothing, what `fallback` says. Zeros alone are nothing where it knows better: Nova has reported them for
    /// answers that Bedrock counted and billed.
    pub(super) fn or(&self, fallback: &Self) -> Self {
        let knows_nothing = self.0.iter().all(|count| count.unwrap_or(0) == 0);
        let [mut counts, stronger] = if knows_nothing { [*self, *fallback] } else { [*fallback, *self] };
        counts.update(&stronger);
        counts
    }

    fn or_zero(&self, counter: Counter) -> u64 {
        self.get(counter).unwrap_or(0)
    }
}

/// What the numbers amount to; `None` if they say nothing about tokens.
pub(super) fn total(api: Api, counts: &Counts) -> Option<Usage> {
    use Counter::{
        CacheRead, CacheReadAudio, CacheReadWithin, CacheWrite, CacheWrite1h, CacheWrite5m, Input, InputAudio, Output,
        OutputAudio, OutputImage, Reasoning, ToolInput, WebSearches,
    };
    if [Input, Output, CacheRead, CacheWrite].iter().all(|&counter| counts.get(counter).is_none()) {
        return None;
    }
    let n = |counter| counts.or_zero(counter);
    let split = n(CacheWrite5m).saturating_add(n(CacheWrite1h));
    let usage = Usage {
        input: n(Input),
        output: n(Output),
        cache_read: n(CacheRead),
        cache_write: counts.get(CacheWrite).unwrap_or(split),
        cache_write_1h: n(CacheWrite1h),
        reasoning: n(Reasoning),
        input_audio: n(InputAudio),
        cache_read_audio: n(CacheReadAudio),
        output_audio: n(OutputAudio),
        output_image: n(OutputImage),
        web_searches: n(WebSearches),
        ..Usage::default()
    };
    Some(match api {
        // Input leaves out whatever the cache had a part in.
        Api::Messages => {
            Usage { input: usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write), ..usage }
        }
        Api::BedrockConverse | Api::BedrockConverseStream | Api::BedrockInvoke | Api::BedrockInvokeStream => Usage {
            input: usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write),
            cache_read: usage.cache_read.saturating_add(n(CacheReadWithin)),
            ..usage
        },
        // Output leaves out thoughts, input what tools brought.
        Api::GenerateContent | Api::EmbedContent => Usage {
            input: usage.input.saturating_add(n(ToolInput)),
            output: usage.output.saturating_add(usage.reasoning),
            ..usage
        },
        Api::ChatCompletions | Api::Completions => with_hidden_reasoning(usage, counts),
        _ => usage,
    })
}

/// OpenAI's total is input and output. xAI's and that of Gemini's OpenAI endpoint hold reasoning as well, which their
/// output leaves out and their bill does not.
fn with_hidden_reasoning(usage: Usage, counts: &Counts) -> Usage {
    let Some(total) = counts.get(Counter::Total) else { return usage };
    let hidden = total.saturating_sub(usage.input.saturating_add(usage.output));
    Usage {
        output: usage.output.saturating_add(hidden),
        reasoning: counts.get(Counter::Reasoning).unwrap_or(hidden),
        ..usage
    }
}
