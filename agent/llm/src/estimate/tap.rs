//! Finds the text of an answer in its events or documents, without parsing them.
//!
//! A key is looked for at the speed of `memmem`, and the value behind it is gathered. A text that contains the key cannot be
//! mistaken for it, because JSON escapes quotation marks in strings.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{Gather, Sample, Sampler};
use crate::call::Api;

/// Where the text of an answer is found.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    streamed: Option<&'static LazyLock<Finder<'static>>>,
    whole: Option<&'static LazyLock<Finder<'static>>>,
}

macro_rules! key {
    ($name:ident, $key:literal) => {
        static $name: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(concat!("\"", $key, "\"")));
    };
}

key!(CONTENT, "content");
key!(DELTA, "delta");
key!(MESSAGE, "message");
key!(OUTPUT, "output");
key!(PARTS, "parts");
key!(TEXT, "text");

impl Places {
    pub(crate) fn of(api: Api) -> Self {
        let at = |streamed, whole| Self { streamed: Some(streamed), whole: Some(whole) };
        match api {
            Api::ChatCompletions | Api::CohereChat => at(&DELTA, &MESSAGE),
            Api::Completions => at(&TEXT, &TEXT),
            Api::Responses => at(&DELTA, &OUTPUT),
            Api::Messages
            | Api::BedrockInvoke
            | Api::BedrockInvokeStream
            | Api::BedrockConverse
            | Api::BedrockConverseStream => at(&DELTA, &CONTENT),
            Api::GenerateContent => at(&PARTS, &PARTS),
            Api::Conversations => at(&CONTENT, &CONTENT),
            Api::Ollama => at(&MESSAGE, &MESSAGE),
            _ => Self { streamed: None, whole: None },
        }
    }

    /// Whether such answers are text at all.
    pub(crate) fn exist(self) -> bool {
        self.whole.is_some()
    }
}

/// The state between two pieces of an answer.
pub(crate) struct Tap {
    places: Places,
    state: State,
    sampler: Sampler,
}

enum State {
    /// So many bytes of the key have just been seen.
    Looking(usize),
    /// After the key, before the colon.
    Colon,
    Value(Gather),
}

impl Tap {
    pub(crate) fn new(places: Places) -> Self {
        Self { places, state: State::Looking(0), sampler: Sampler::default() }
    }

    /// Whether any text was found.
    pub(crate) fn has_text(&self) -> bool {
        !self.sampler.is_empty()
    }

    /// How much was found, in bytes as they are written in JSON.
    pub(crate) fn bytes(&self) -> u64 {
        self.sampler.so_far().bytes()
    }

    pub(crate) fn finish(self) -> Sample {
        self.sampler.finish()
    }

    /// Takes a piece of an event's data.
    pub(crate) fn event(&mut self, data: &[u8]) {
        if let Some(key) = self.places.streamed {
            self.push(key, data);
        }
    }

    /// The event is complete.
    pub(crate) fn end_event(&mut self) {
        self.state = State::Looking(0);
    }

    /// Takes a piece of a document.
    pub(crate) fn document(&mut self, bytes: &[u8]) {
        if let Some(key) = self.places.whole {
            self.push(key, bytes);
        }
    }

    fn push(&mut self, key: &Finder<'_>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Looking(seen) => {
                    let (used, is_found) = look(key, seen, bytes);
                    if is_found {
                        self.state = State::Colon;
                    }
                    used
                }
                State::Colon => match bytes[0] {
                    b':' => {
                        self.state = State::Value(Gather::value());
                        1
                    }
                    b' ' | b'\t' | b'\r' | b'\n' => 1,
                    _ => {
                        self.state = State::Looking(0);
                        0
                    }
                },
                State::Value(value) => match value.push(bytes, &mut self.sampler) {
                    Some(used) => {
                        self.state = State::Looking(0);
                        used
                    }
                    None => bytes.len(),
                },
            };
            bytes = &bytes[used..];
        }
    }
}

/// Looks for the key, of which `seen` bytes came before. Gives how many bytes were used up, and whether it ends there.
///
/// A key is a quotation mark, letters, and a quotation mark. So where one breaks off, another can only begin right there.
fn look(key: &Finder<'_>, seen: &mut usize, bytes: &[u8]) -> (usize, bool) {
    let needle = key.needle();
    if *seen > 0 {
        let rest = &needle[*seen..];
        let same = rest.iter().zip(bytes).take_while(|(wanted, byte)| wanted == byte).count();
        if same == rest.len() {
            *seen = 0;
            return (same, true);
        }
        *seen = if same == bytes.len() { *seen + same } else { 0 };
        return (same, false);
    }
    if let Some(at) = key.find(bytes) {
        return (at + needle.len(), true);
    }
    // It may begin at the very end.
    let tail = bytes.len().saturating_sub(needle.len() - 1);
    let begun = memchr::memrchr(b'"', &bytes[tail..]).filter(|at| needle.starts_with(&bytes[tail + at..]));
    *seen = begun.map_or(0, |at| bytes.len() - tail - at);
    (bytes.len(), false)
}

#[cfg(test)]
mod tests;
