//! Asks for the usage of a stream in OpenAI's dialect, and takes the extra chunk that comes of it out of the answer.
//!
//! A stream there ends without its usage unless the request says `"stream_options":{"include_usage":true}`. [`Splicer`] finds
//! the one span of a request to edit for that, while its bytes pass; it never writes JSON. [`ChunkRemover`] takes out the one
//! event that the client did not ask for. All other bytes stay as they are, on both ways.

mod chunk;
pub(crate) mod grammar;

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem;

pub use self::chunk::ChunkRemover;
use self::grammar::{Grammar, Kind, Token};
use crate::edit::Edit;

const WHOLE: &str = r#","stream_options":{"include_usage":true}"#;
const OPTIONS: &str = r#"{"include_usage":true}"#;
const FIRST: &str = r#""include_usage":true"#;
const NEXT: &str = r#","include_usage":true"#;
const TRUE: &str = "true";

static STREAM: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\"stream\""));

/// Whether a request's whole body so much as mentions a stream. In most there is nothing to edit for that they do not, which is found
/// out sooner than by reading them.
pub fn mentions_stream(body: &[u8]) -> bool {
    STREAM.find(body).is_some()
}

/// Whether an error's body is about the option: a server that does not know it names it.
pub fn names_stream_options(body: &[u8]) -> bool {
    ["stream_options", "include_usage"].iter().any(|name| memmem::find(body, name.as_bytes()).is_some())
}

/// Looks for the place to ask for usage, in a body cut anywhere. Memory is bounded whatever the body's size.
///
/// Whatever is odd about the body lets it go as it is: what is not an object, not JSON, too deep, or says something twice.
/// Bytes of strings are not checked to be UTF-8; a provider that does so refuses the body with the edit or without.
#[derive(Default)]
pub struct Splicer {
    grammar: Grammar,
    key: Key,
    streams: Option<bool>,
    options: Option<Options>,
    /// Where the top object's closing brace stands.
    end: Option<usize>,
    hopeless: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Key {
    Stream,
    Options,
    Include,
    #[default]
    Other,
}

/// The value of `stream_options`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Options {
    Null { start: usize, end: usize },
    Object { is_empty: bool, include: Option<(usize, usize)>, close: Option<usize> },
}

impl Splicer {
    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.hopeless {
            return;
        }
        let mut grammar = std::mem::take(&mut self.grammar);
        let is_json = grammar.push(bytes, |token| self.token(token));
        self.grammar = grammar;
        self.hopeless |= !is_json;
    }

    /// Whether it is certain that there is nothing to edit, whatever follows.
    pub fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// The body is complete: what to edit, if anything.
    pub fn finish(self) -> Option<Edit> {
        let end = self.end.filter(|_| !self.hopeless && self.grammar.is_complete())?;
        self.streams.filter(|streams| *streams)?;
        let edit = |start, end, text: &'static str| Some(Edit { start, end, text: text.into() });
        match self.options {
            None => edit(end, end, WHOLE),
            Some(Options::Null { start, end }) => edit(start, end, OPTIONS),
            Some(Options::Object { include: Some((start, end)), .. }) => edit(start, end, TRUE),
            Some(Options::Object { is_empty, close: Some(close), .. }) => {
                edit(close, close, if is_empty { FIRST } else { NEXT })
            }
            Some(Options::Object { close: None, .. }) => None,
        }
    }

    fn token(&mut self, token: Token<'_>) {
        let is_in_options = matches!(self.options, Some(Options::Object { close: None, .. }));
        match token {
            Token::Key { depth: 1, name } => self.top_key(name),
            Token::Key { depth: 2, name } if is_in_options => self.options_key(name),
            Token::Begin { depth: 0, kind, .. } => self.hopeless |= kind != Kind::Object,
            Token::End { depth: 0, at } => self.end = Some(at),
            Token::Begin { depth: 1, at, kind } => self.top_value(at, kind),
            Token::End { depth: 1, at } => self.top_end(at),
            Token::Begin { depth: 2, at, kind } if is_in_options && self.key == Key::Include => self.include(at, kind),
            Token::End { depth: 2, at } if is_in_options && self.key == Key::Include => {
                if let Some(Options::Object { include: Some((_, end)), .. }) = &mut self.options {
                    *end = at;
                }
            }
            _ => {}
        }
    }

    fn top_key(&mut self, name: Option<&[u8]>) {
        self.key = match name {
            Some(b"stream") => Key::Stream,
            Some(b"stream_options") => Key::Options,
            // Written with an escape, it may be any.
            None => return self.hopeless = true,
            _ => Key::Other,
        };
        let again =
            (self.key == Key::Stream && self.streams.is_some()) || (self.key == Key::Options && self.options.is_some());
        self.hopeless |= again;
    }

    fn top_value(&mut self, start: usize, kind: Kind) {
        match (self.key, kind) {
            (Key::Stream, Kind::True) => self.streams = Some(true),
            (Key::Options, Kind::Null) => self.options = Some(Options::Null { start, end: start }),
            (Key::Options, Kind::Object) => {
                self.options = Some(Options::Object { is_empty: true, include: None, close: None });
            }
            (Key::Stream | Key::Options, _) => self.hopeless = true,
            _ => {}
        }
    }

    /// `at` is the closing brace of an object, and the byte after a word.
    fn top_end(&mut self, at: usize) {
        match &mut self.options {
            Some(Options::Null { end, .. }) if self.key == Key::Options => *end = at,
            Some(Options::Object { close: close @ None, .. }) => *close = Some(at),
            _ => {}
        }
        self.key = Key::Other;
    }

    fn options_key(&mut self, name: Option<&[u8]>) {
        let Some(Options::Object { is_empty, include, .. }) = &mut self.options else { return };
        *is_empty = false;
        self.hopeless |= name.is_none();
        let is_include = name == Some(b"include_usage");
        self.hopeless |= is_include && include.is_some();
        self.key = if is_include { Key::Include } else { Key::Options };
    }

    fn include(&mut self, start: usize, kind: Kind) {
        match (&mut self.options, kind) {
            (Some(Options::Object { include, .. }), Kind::False | Kind::Null) => *include = Some((start, start)),
            // The client asked for it itself, or says something odd.
            _ => self.hopeless = true,
        }
    }
}

impl fmt::Debug for Splicer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splicer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
