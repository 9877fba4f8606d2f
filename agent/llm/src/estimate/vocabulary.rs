//! OpenAI's vocabularies, and a guard for the tokenizer.
//!
//! tiktoken splits text with a backtracking pattern: a million spaces take it seconds and then its stack. So it is never handed a
//! long run of one kind of character. A run is cut at [`RUN`], which costs the count a few tokens at most, and what
//! follows a cut is counted like the beginning of a text.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiktoken_rs::{CoreBPE, tokenizer};

use super::classes;

/// The longest run of one kind of character that is handed over whole. Words are much shorter.
const RUN: usize = 256;
/// The longest text that is handed over at once.
const TEXT: usize = 8 * 1024;

/// A public vocabulary of OpenAI's. The older ones belong to models that were switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    Cl100k,
    O200k,
}

impl Vocabulary {
    /// The vocabulary of a model of OpenAI's, whoever serves it; `None` for the models of others.
    pub(super) fn of(model: &str) -> Option<Self> {
        // Aggregators name the maker first.
        let model = model.rsplit('/').next().unwrap_or(model);
        match tokenizer::get_tokenizer(model) {
            Some(tokenizer::Tokenizer::O200kBase | tokenizer::Tokenizer::O200kHarmony) => Some(Self::O200k),
            Some(_) => Some(Self::Cl100k),
            // What is newer than the list follows the latest vocabulary that is known.
            None => {
                let base = model.strip_prefix("ft:").unwrap_or(model);
                let is_chat =
                    ["gpt-", "chatgpt-", "codex-", "o1", "o3", "o4", "o5"].iter().any(|name| base.starts_with(name));
                is_chat.then_some(Self::O200k)
            }
        }
    }
}

/// The vocabularies, each read in when it is first needed. They take some tens of megabytes each.
#[derive(Default)]
pub struct Tokenizers {
    cl100k: Option<Box<CoreBPE>>,
    o200k: Option<Box<CoreBPE>>,
}

impl Tokenizers {
    /// Whether any vocabulary is in memory.
    pub fn is_loaded(&self) -> bool {
        self.cl100k.is_some() || self.o200k.is_some()
    }

    /// Counts any text in a time that depends on its length alone.
    pub(super) fn count(&mut self, vocabulary: Vocabulary, text: &str) -> u64 {
        let Some(tokenizer) = self.get(vocabulary) else { return classes::tokens(text) };
        pieces(text)
            .map(|piece| {
                // The guard keeps it from panicking. Should there be a way around the guard, one count is off, and nothing else.
                let counted = catch_unwind(AssertUnwindSafe(|| tokenizer.count_ordinary(piece) as u64));
                counted.unwrap_or_else(|_| classes::tokens(piece))
            })
            .sum()
    }

    fn get(&mut self, vocabulary: Vocabulary) -> Option<&CoreBPE> {
        let (slot, load): (_, fn() -> _) = match vocabulary {
            Vocabulary::Cl100k => (&mut self.cl100k, tiktoken_rs::cl100k_base),
            Vocabulary::O200k => (&mut self.o200k, tiktoken_rs::o200k_base),
        };
        if slot.is_none() {
            // It is compiled in and tested, so this does not fail; if it did, the rough count would do.
            *slot = load().ok().map(Box::new);
        }
        slot.as_deref()
    }
}

impl std::fmt::Debug for Tokenizers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizers").field("is_loaded", &self.is_loaded()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Space,
    Letter,
    Digit,
    Other,
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            _ if character.is_whitespace() => Self::Space,
            _ if character.is_alphabetic() => Self::Letter,
            _ if character.is_numeric() => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// The text in pieces that the tokenizer can be handed: without long runs, and not too long.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(piece_end(rest));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn piece_end(text: &str) -> usize {
    let (mut kind, mut run) = (Kind::Other, 0);
    for (at, character) in text.char_indices() {
        let now = Kind::of(character);
        run = if now == kind { run + 1 } else { 1 };
        // A piece that is long enough ends where a word begins, which is where the tokenizer would cut as well.
        let is_between = now == Kind::Space && kind != Kind::Space;
        if run > RUN || at >= TEXT || at >= TEXT / 2 && is_between {
            return at;
        }
        kind = now;
    }
    text.len()
}

#[cfg(test)]
mod tests;
