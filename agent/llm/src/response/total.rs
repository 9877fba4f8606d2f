//! From the providers' numbers to [`Usage`]: each dialect's rule of what contains what.

use super::fields::Counter;
use crate::{call::Api, usage::Usage};

/// The latest value of each number, and which were said at all: what was never said is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// A bit for each counter.
    said: u64,
    values: [u64; Counter::COUNT],
}

const _: () = assert!(Counter::COUNT <= 64, "a bit for each counter");

impl Counts {
    pub(super) fn get(&self, counter: Counter) -> Option<u64> {
        (self.said & 1 << counter as usize != 0).then_some(self.values[counter as usize])
    }

    pub(super) fn set(&mut self, counter: Counter, value: u64) {
        self.said |= 1 << counter as usize;
        self.values[counter as usize] = value;
    }

    pub(super) fn add(&mut self, counter: Counter, value: u64) {
        self.set(counter, self.or_zero(counter).saturating_add(value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.said == 0
    }

    /// Field by field, what is said later wins, and what is not said again stays.
    pub(super) fn update(&mut self, later: &Self) {
        let mut left = later.said;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            self.values[index] = later.values[index];
            left &= left - 1;
        }
        self.said |= later.said;
    }

    /// Forgets all. What was never said keeps its zero.
    pub(super) fn clear(&mut self) {
        let mut left = std::mem::take(&mut self.said);
        while left != 0 {
            self.values[left.trailing_zeros() as usize] = 0;
            left &= left - 1;
        }
    }

    /// These, and where they say nothing, what `fallback` says. Zeros alone are nothing where it knows better: Nova has reported them for
    /// answers that Bedrock counted and billed.
    pub(super) fn or(&self, fallback: &Self) -> Self {
        let knows_nothing = self.values.iter().all(|&count| count == 0);
        let [mut counts, stronger] = if knows_nothing { [*self, *fallback] } else { [*fallback, *self] };
        counts.update(&stronger);
        counts
    }

    fn or_zero(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}

/// What the numbers amount to; `None` if they say nothing that is billed.
pub(super) fn total(api: Api, counts: &Counts) -> Option<Usage> {
    use Counter::{
        AudioMs, BilledInput, BilledOutput, CacheRead, CacheReadWithin, CacheWrite, Characters, Duration, Images,
        Input, Output, Reasoning, SearchUnits, ToolInput,
    };
    let knows = |counters: &[Counter]| counters.iter().any(|&counter| counts.get(counter).is_some());
    let has_tokens = knows(&[Input, Output, CacheRead, CacheWrite, BilledInput, BilledOutput]);
    let is_input_only = matches!(api, Api::Embeddings | Api::Moderations | Api::Rerank);
    let has_units = knows(&[Images, AudioMs, Duration, Characters, SearchUnits]);
    let has_total = is_input_only && knows(&[Counter::Total]);
    if !(has_tokens || has_units || has_total) {
        return None;
    }
    let n = |counter| counts.or_zero(counter);
    let usage = as_said(counts);
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
        Api::ChatCompletions | Api::Completions => chat(usage, counts),
        Api::Conversations => Usage { input: usage.input.saturating_add(n(ToolInput)), ..usage },
        // The total is all that some say.
        _ if has_total && !knows(&[Input, Output]) => Usage { input: n(Counter::Total), ..usage },
        // What is billed counts, whatever was processed.
        Api::CohereChat | Api::CohereEmbed | Api::Rerank => Usage {
            input: counts.get(BilledInput).unwrap_or(usage.input),
            output: counts.get(BilledOutput).unwrap_or(usage.output),
            images: n(Images),
            ..usage
        },
        Api::Images if has_tokens => {
            Usage { output_image: counts.get(Counter::OutputImage).unwrap_or(usage.output), ..usage }
        }
        Api::Images | Api::Predict => Usage { images: n(Images), ..usage },
        Api::Speech => Usage { output_audio: counts.get(Counter::OutputAudio).unwrap_or(usage.output), ..usage },
        Api::Transcription if !has_tokens => {
            Usage { audio_ms: counts.get(AudioMs).unwrap_or_else(|| n(Duration)), ..usage }
        }
        _ => Usage { reasoning: n(Reasoning), ..usage },
    })
}

/// The numbers with one meaning everywhere.
fn as_said(counts: &Counts) -> Usage {
    use Counter::{
        AudioMs, CacheRead, CacheReadAudio, CacheWrite, CacheWrite1h, CacheWrite5m, Characters, CodeRuns, Input,
        InputAudio, InputImage, Output, OutputAudio, OutputImage, Reasoning, SearchCalls, SearchUnits, ServerTools,
        ToolCalls, ToolInput, WebFetches, WebSearches,
    };
    let n = |counter| counts.or_zero(counter);
    let split = n(CacheWrite5m).saturating_add(n(CacheWrite1h));
    Usage {
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
        input_image: n(InputImage),
        input_tool: n(ToolInput),
        web_searches: counts.get(WebSearches).unwrap_or_else(|| n(SearchCalls)),
        server_tools: [ServerTools, WebFetches, CodeRuns, ToolCalls].into_iter().map(n).fold(0, u64::saturating_add),
        characters: n(Characters),
        search_units: n(SearchUnits),
        audio_ms: n(AudioMs),
        ..Usage::default()
    }
}

/// OpenAI's total is input and output. xAI's and that of Gemini's OpenAI endpoint hold reasoning as well, which their
/// output leaves out and their bill does not. Perplexity's leaves out what was cited and reasoned, which it bills.
fn chat(usage: Usage, counts: &Counts) -> Usage {
    use Counter::{Citations, HiddenReasoning, Output, Reasoning, ToolInput, Total};
    let n = |counter| counts.or_zero(counter);
    let (cited, brought) = (n(Citations), n(ToolInput));
    let input = usage.input.saturating_add(brought);
    let hidden = n(Total).saturating_sub(input.saturating_add(usage.output));
    let (apart, reasoning) = match counts.get(HiddenReasoning) {
        Some(reasoning) if counts.get(Citations).is_some() => (reasoning, reasoning),
        Some(reasoning) => (hidden, n(Reasoning).max(reasoning)),
        // A total without an output tells the output, not what it is made of.
        None if counts.get(Output).is_none() => (hidden, usage.reasoning),
        None => (hidden, counts.get(Reasoning).unwrap_or(hidden)),
    };
    Usage {
        input: input.saturating_add(cited),
        input_tool: brought.saturating_add(cited),
        output: usage.output.saturating_add(apart),
        reasoning,
        ..usage
    }
}
