//! Counts tokens where the provider did not: text is sampled as it passes, and counted when the exchange has ended.
//!
//! [`Sample`] is a bounded part of the text of one side. [`Tokenizers`] count it: with the model's own vocabulary where that
//! is public, which is OpenAI's, else by [`classes`](self::classes). Images, audio, files and reasoning that is
//! not shown cannot be seen in the text, so an estimate is rather too low than too high.

mod classes;
mod gather;
mod sample;
mod tap;
mod vocabulary;

pub use self::sample::Sample;
pub use self::vocabulary::Tokenizers;
pub(crate) use self::{
    gather::Gather,
    sample::Sampler,
    tap::{Places, Tap},
};

use self::vocabulary::Vocabulary;

/// What OpenAI adds to each message of a conversation (its delimiters and its role), and once to begin the answer, in tokens.
/// From github.com/openai/openai-cookbook, `How_to_count_tokens_with_tiktoken.ipynb`, as of 2025-01.
const PER_MESSAGE: u64 = 4;
const PER_CONVERSATION: u64 = 3;

/// Counts at once and without a vocabulary, for when there is no time for one.
pub fn estimate_roughly(sample: &Sample) -> u64 {
    count(sample, classes::tokens)
}

/// Counts at once, too high rather than too low.
pub(crate) fn estimate_highly(sample: &Sample) -> u64 {
    count(sample, classes::most_tokens)
}

impl Tokenizers {
    /// How many tokens the sampled text is for `model`. The first call for a vocabulary reads it in, which takes some
    /// tenths of a second; the others count some megabytes a second. Not for threads that serve.
    pub fn estimate(&mut self, model: Option<&str>, sample: &Sample) -> u64 {
        match model.and_then(Vocabulary::of) {
            Some(vocabulary) => count(sample, |text| self.count(vocabulary, text)),
            None => estimate_roughly(sample),
        }
    }
}

fn count(sample: &Sample, tokens: impl FnMut(&str) -> u64) -> u64 {
    let conversation = if sample.messages() > 0 { PER_CONVERSATION } else { 0 };
    sample.scale(tokens).saturating_add(sample.messages() * PER_MESSAGE).saturating_add(conversation)
}
