//! Takes the chunk that tells the usage out of an event stream.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memmem};

use super::grammar::{Grammar, Kind, Token};

/// A chunk that tells usage is about 500 bytes long. What is much larger is not held back.
const LONGEST: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Takes the events out of a stream whose data is a chunk without choices but with usage, as the providers send it because
/// the request was edited. To be used on such answers only.
///
/// No byte is held back beyond the end of its own event, and comments that precede an event, which keep connections alive,
/// not at all. Memory is bounded.
#[derive(Default)]
pub struct ChunkRemover {
    /// The event that is not complete, as far as it came with earlier pieces.
    pub(super) held: BytesMut,
    line: Line,
    event: Event,
    /// The last byte was CR, so an LF right here belongs to that line's end.
    after_cr: Option<Fate>,
    is_begun: bool,
    /// The open event begins the stream.
    is_first: bool,
    removed: u32,
}

/// The event that has begun and not ended.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Event {
    #[default]
    None,
    /// It may be the one.
    Held,
    /// It is too long to be.
    Released,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Line {
    #[default]
    Start,
    Rest,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Passed,
    Removed,
}

impl ChunkRemover {
    /// Takes the next piece of the stream, and gives what may be passed on, which may be nothing yet.
    pub fn push(&mut self, piece: &Bytes) -> Bytes {
        let mut passed = Passed::default();
        // What of the piece is settled, and where in it the open event begins.
        let (mut settled, mut event) = (0, 0);
        let mut at = 0;
        while at < piece.len() {
            let byte = piece[at];
            if let Some(fate) = self.after_cr.take()
                && byte == b'\n'
            {
                at += 1;
                if fate == Fate::Removed {
                    settled = at;
                }
                continue;
            }
            if self.line == Line::Rest {
                let Some(end) = memchr2(b'\r', b'\n', &piece[at..]) else { break };
                at += end;
                self.line = Line::Start;
                self.line_end(piece, &mut at);
            } else if matches!(byte, b'\r' | b'\n') {
                self.line_end(piece, &mut at);
                if let Some(fate) = self.end_event(piece, settled..event, at, &mut passed) {
                    settled = at;
                    self.after_cr = self.after_cr.map(|_| fate);
                }
            } else {
                // A comment before an event is no part of it.
                if self.event == Event::None && byte != b':' {
                    event = at;
                    self.event = Event::Held;
                    self.is_first = !self.is_begun && at == 0;
                }
                self.line = Line::Rest;
            }
        }
        self.is_begun |= !piece.is_empty();
        self.keep(piece, settled..event, &mut passed);
        passed.finish()
    }

    /// The stream has ended: what was held back.
    pub fn finish(&mut self) -> Bytes {
        let held = self.held.split().freeze();
        // An event without its blank line counts for clients that read line by line.
        if self.event == Event::Held && self.is_usage_chunk(&held) { held.slice(..self.mark(&held)) } else { held }
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many events were taken out.
    pub fn removed(&self) -> u32 {
        self.removed
    }

    /// Steps over the end of a line that stands at `at`.
    fn line_end(&mut self, piece: &[u8], at: &mut usize) {
        let is_cr = piece[*at] == b'\r';
        *at += 1;
        if is_cr {
            match piece.get(*at) {
                Some(b'\n') => *at += 1,
                Some(_) => {}
                None => self.after_cr = Some(Fate::Passed),
            }
        }
    }

    /// The open event, if any, ends at `end`. `before` is what precedes it in the piece. Gives what became of both, or `None` where they
    /// are left to be passed on with what follows.
    fn end_event(&mut self, piece: &Bytes, before: Range<usize>, end: usize, passed: &mut Passed) -> Option<Fate> {
        if std::mem::take(&mut self.event) != Event::Held {
            return None;
        }
        let rest = piece.slice(before.end..end);
        if self.held.len() + rest.len() > LONGEST {
            passed.push(self.held.split().freeze());
            return None;
        }
        let event = if self.held.is_empty() {
            rest
        } else {
            self.held.extend_from_slice(&rest);
            self.held.split().freeze()
        };
        if !self.is_usage_chunk(&event) {
            // The piece itself, where it can be: then nothing is copied.
            if event.len() == end - before.end {
                return None;
            }
            passed.push(event);
            return Some(Fate::Passed);
        }
        passed.push(piece.slice(before));
        passed.push(event.slice(..self.mark(&event)));
        Some(Fate::Removed)
    }

    /// The piece ends: holds back the open event.
    fn keep(&mut self, piece: &Bytes, before: Range<usize>, passed: &mut Passed) {
        let Range { start: settled, end: event } = before.clone();
        if self.event != Event::Held {
            return passed.push(piece.slice(settled..));
        }
        let rest = &piece[event..];
        if self.held.len() + rest.len() > LONGEST {
            self.event = Event::Released;
            passed.push(self.held.split().freeze());
            return passed.push(piece.slice(settled..));
        }
        self.held.extend_from_slice(rest);
        passed.push(piece.slice(before));
    }

    fn is_usage_chunk(&mut self, event: &[u8]) -> bool {
        let is_chunk = seems_usage_chunk(event) && is_usage_chunk(&data(&event[self.mark(event)..]));
        self.removed += u32::from(is_chunk);
        is_chunk
    }

    /// The length of the byte order mark before the open event, which is the stream's and not the event's.
    fn mark(&self, event: &[u8]) -> usize {
        if self.is_first && event.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

impl fmt::Debug for ChunkRemover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkRemover").field("removed", &self.removed).finish_non_exhaustive()
    }
}

/// The pieces that are passed on. Nearly always there is one, and it is the one that came.
#[derive(Default)]
struct Passed {
    first: Bytes,
    rest: BytesMut,
}

impl Passed {
    fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
        } else {
            self.rest.extend_from_slice(&bytes);
        }
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut all = BytesMut::with_capacity(self.first.len() + self.rest.len());
        all.extend_from_slice(&self.first);
        all.extend_from_slice(&self.rest);
        all.freeze()
    }
}

/// Whether an event holds an empty list of choices. Cheap; nearly no other event does.
fn seems_usage_chunk(event: &[u8]) -> bool {
    let is_empty_list = |rest: &[u8]| {
        let list = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        list.and_then(|list| list.strip_prefix(b"[")).is_some_and(|list| list.trim_ascii_start().starts_with(b"]"))
    };
    let key = b"\"choices\"";
    memmem::find_iter(event, key).any(|at| is_empty_list(&event[at + key.len()..]))
}

/// The data of an event, its lines joined (HTML Living Standard, § 9.2.6).
fn data(event: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(event.len());
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some(value) = line.strip_prefix(b"data:") {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    data
}

/// Whether the data is an object whose `choices` are an empty list and whose `usage` is an object. What says either twice is
/// nothing that a provider sends, and stays.
fn is_usage_chunk(data: &[u8]) -> bool {
    let mut grammar = Grammar::default();
    let mut chunk = Chunk::default();
    grammar.push(data, |token| chunk.token(token)) && grammar.is_complete() && chunk.is_it()
}

#[derive(Default)]
struct Chunk {
    key: Key,
    /// Whether they are an empty list.
    choices: Option<bool>,
    /// Whether it is an object.
    usage: Option<bool>,
    is_odd: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Key {
    Choices,
    Usage,
    #[default]
    Other,
}

impl Chunk {
    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Begin { depth: 0, kind, .. } => self.is_odd |= kind != Kind::Object,
            Token::Key { depth: 1, name } => {
                self.key = match name {
                    Some(b"choices") => Key::Choices,
                    Some(b"usage") => Key::Usage,
                    _ => Key::Other,
                };
                let is_again = (self.key == Key::Choices && self.choices.is_some())
                    || (self.key == Key::Usage && self.usage.is_some());
                // Written with an escape, it may be any.
                self.is_odd |= is_again || name.is_none();
            }
            Token::Begin { depth: 1, kind, .. } => match self.key {
                Key::Choices => self.choices = Some(kind == Kind::Array),
                Key::Usage => self.usage = Some(kind == Kind::Object),
                Key::Other => {}
            },
            Token::Begin { depth: 2, .. } if self.key == Key::Choices => self.choices = Some(false),
            _ => {}
        }
    }

    fn is_it(&self) -> bool {
        !self.is_odd && self.choices == Some(true) && self.usage == Some(true)
    }
}
