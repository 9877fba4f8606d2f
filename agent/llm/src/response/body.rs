//! A decoded body: which framing it has, and what its events or documents say.

mod frames;

use std::sync::Arc;

use http::StatusCode;

use self::frames::Frames;
use super::{
    fields::{self, Field, Reader},
    tally::Tally,
};
use crate::{
    call::Api,
    coding::Consume,
    estimate::{Places, Sample, Tap},
    json::Scanner,
    price::{Pointed, PointerReader, Pointers},
    sse::{self, Events},
};

pub(super) struct Body {
    framing: Framing,
    events: EventReader,
}

/// What came of an answer.
pub(super) struct Finished {
    pub(super) tally: Tally,
    /// Whether the numbers are.
    pub(super) is_final: bool,
    /// It was no stream of events, and came to its end.
    pub(super) is_whole_document: bool,
    /// What the model wrote.
    pub(super) text: Sample,
    /// What pointers pointed to.
    pub(super) pointed: Pointed,
}

/// About how long a token is, in bytes. Only for streams that are under way.
const BYTES_OF_A_TOKEN: u64 = 4;

enum Framing {
    /// Not known before the first byte that is not white space; what no first byte tells, as for AWS's very large messages, the header may.
    Undecided {
        is_aws: bool,
    },
    Events(sse::Parser),
    /// AWS's.
    Frames(Box<Frames>),
    /// A JSON object, an array of them, or one after the other.
    Documents,
}

impl Body {
    /// The header is believed about a stream unless the answer is an error, which some servers send as plain JSON under
    /// the stream's type. All else is told by the first byte: no JSON begins as an event does.
    pub(super) fn new(api: Api, status: StatusCode, content_type: Option<&str>) -> Self {
        let is_type = |name| content_type.is_some_and(|kind| essence(kind).eq_ignore_ascii_case(name));
        let framing = if is_type("text/event-stream") && status.is_success() {
            Framing::Events(sse::Parser::default())
        } else {
            Framing::Undecided { is_aws: is_type("application/vnd.amazon.eventstream") && status.is_success() }
        };
        let reader = fields::reader(api);
        let events = EventReader {
            reader,
            scanner: Scanner::new(&reader.paths),
            tally: Tally::new(api),
            tap: Tap::new(Places::of(api)),
            pointers: None,
            head: Head::default(),
            is_done: false,
        };
        Self { framing, events }
    }

    /// Whether any text that the model wrote was seen.
    pub(super) fn has_text(&self) -> bool {
        self.events.tap.has_text()
    }

    /// Input and output tokens so far.
    pub(super) fn so_far(&self) -> (Option<u64>, Option<u64>) {
        let EventReader { tally, tap, .. } = &self.events;
        let usage = tally.usage();
        let input = usage.filter(|_| tally.has_input()).map(|usage| usage.input);
        let told = usage.filter(|_| tally.has_output()).map(|usage| usage.output);
        let seen = tap.has_text().then(|| tap.bytes().div_ceil(BYTES_OF_A_TOKEN));
        // What was told before the end may be old.
        (input, if tally.is_final(false) { told.or(seen) } else { told.max(seen) })
    }

    /// Reads these from what passes from now on.
    pub(super) fn watch(&mut self, pointers: &Arc<Pointers>) {
        self.events.pointers = Some(Box::new(PointerReader::new(Arc::clone(pointers))));
    }

    pub(super) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.events.tally
    }

    /// The answer is over.
    pub(super) fn finish(mut self) -> Finished {
        if let Framing::Events(parser) = &mut self.framing {
            parser.finish(&mut self.events);
        }
        let EventReader { scanner, mut tally, tap, pointers, is_done, .. } = self.events;
        let is_whole_document =
            matches!(self.framing, Framing::Documents) && scanner.is_at_top() && tally.documents > 0;
        tally.abandon_item();
        let is_final = tally.is_final(is_done || is_whole_document);
        let pointed = pointers.map(|reader| reader.finish()).unwrap_or_default();
        Finished { tally, is_final, is_whole_document, text: tap.finish(), pointed }
    }
}

impl Consume for Body {
    fn consume(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if let Framing::Undecided { is_aws } = self.framing {
            // A byte order mark may stand before either.
            let is_blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf);
            let Some(start) = bytes.iter().position(|byte| !is_blank(byte)) else { return };
            bytes = &bytes[start..];
            self.framing = match bytes[0] {
                b'{' | b'[' => Framing::Documents,
                // The length of a message below 16 MiB.
                0 => Framing::Frames(Box::default()),
                _ if is_aws => Framing::Frames(Box::default()),
                _ => Framing::Events(sse::Parser::default()),
            };
        }
        match &mut self.framing {
            Framing::Events(parser) => parser.push(bytes, &mut self.events),
            Framing::Frames(frames) => frames.push(bytes, &mut self.events),
            Framing::Documents => {
                self.events.tap.document(bytes);
                if let Some(pointers) = &mut self.events.pointers {
                    pointers.push(bytes);
                }
                self.events.scanner.push(bytes, &mut self.events.tally);
            }
            Framing::Undecided { .. } => {}
        }
    }
}

struct EventReader {
    reader: &'static Reader,
    scanner: Scanner<Field>,
    tally: Tally,
    tap: Tap,
    /// Where the operator's prices ask for numbers of their own.
    pointers: Option<Box<PointerReader>>,
    head: Head,
    /// `[DONE]` was seen.
    is_done: bool,
}

/// The first bytes of an event that comes in parts, to recognise OpenAI's end mark.
#[derive(Default)]
struct Head {
    bytes: [u8; DONE.len() + 1],
    length: usize,
}

const DONE: &[u8] = b"[DONE]";

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }
}

impl Events for EventReader {
    fn event(&mut self, data: &[u8]) {
        if data == DONE {
            self.is_done = true;
            return;
        }
        self.tap.event(data);
        self.tap.end_event();
        if let Some(pointers) = &mut self.pointers {
            pointers.event(data);
        }
        if self.reader.concerns(data, self.tally.model.is_some()) {
            self.scanner.push(data, &mut self.tally);
            self.end();
        }
    }

    fn part(&mut self, data: &[u8]) {
        self.tap.event(data);
        if let Some(pointers) = &mut self.pointers {
            pointers.push(data);
        }
        self.head.push(data);
        self.scanner.push(data, &mut self.tally);
    }

    fn end(&mut self) {
        self.tap.end_event();
        if let Some(pointers) = &mut self.pointers {
            pointers.end();
        }
        self.is_done |= &self.head.bytes[..self.head.length] == DONE;
        self.head.length = 0;
        self.tally.abandon_item();
        self.scanner.reset();
    }
}

/// A media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
