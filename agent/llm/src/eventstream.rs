//! AWS event streams (`application/vnd.amazon.eventstream`), after the Smithy specification "Amazon Event Stream", cut anywhere.
//!
//! A message is a prelude (its length, its headers' length, a CRC-32 of the two), headers, a payload, and a CRC-32 of all before it. One
//! that arrives whole is read where it lies; of one that arrives in pieces at most [`MAX_MESSAGE`] bytes are gathered, and a larger one is
//! passed over, its checksum checked all the same. What is corrupt ends the reading: nothing after it can be told from noise.

use crc32fast::Hasher;

/// The largest message that is read, in bytes. Bedrock's are some hundred; only those that repeat a guardrail's findings are larger.
pub(crate) const MAX_MESSAGE: usize = 256 << 10;
/// The most bytes of headers that the specification allows.
const MAX_HEADERS: usize = 128 << 10;
/// The longest message that the specification allows is of 24 MiB; more is no event stream.
const MAX_LENGTH: usize = 32 << 20;

/// Two lengths and their CRC.
const PRELUDE: usize = 12;
const CRC: usize = 4;
/// What the buffer may keep from one message to the next.
const KEPT: usize = 4 << 10;

/// Takes the messages of a stream.
pub(crate) trait Messages {
    /// A whole message whose checksums hold.
    fn message(&mut self, message: Message<'_>);
}

/// One message, as far as Bedrock's clients and meters need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    /// The event's or exception's type, or the error's code; empty where it is not said.
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

/// What `:message-type` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    /// An error that the service's model describes.
    Exception,
    /// Any other error.
    Error,
    #[default]
    Other,
}

/// The bytes are no event stream, or were damaged on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The state between two pieces of a stream.
#[derive(Default)]
pub(crate) struct Decoder {
    state: State,
    /// The beginning of the message being gathered.
    buffer: Vec<u8>,
}

#[derive(Default)]
enum State {
    /// At the start of a message, or within one that is gathered.
    #[default]
    Gathering,
    /// Within a message that is too large.
    PassingOver(Box<PassingOver>),
    Corrupt,
}

struct PassingOver {
    hasher: Hasher,
    /// How many bytes are still to come, the CRC's own four not counted.
    left: usize,
    crc: [u8; CRC],
    /// How many bytes of the CRC have come.
    crc_seen: usize,
}

impl Decoder {
    /// Takes the next bytes. After an error it stays one.
    pub(crate) fn push(&mut self, mut bytes: &[u8], messages: &mut impl Messages) -> Result<(), Corrupt> {
        loop {
            let used = match &mut self.state {
                State::Corrupt => Err(Corrupt),
                _ if bytes.is_empty() => return Ok(()),
                State::Gathering => self.gather(bytes, messages),
                State::PassingOver(over) => over.take(bytes).map(|(used, is_over)| {
                    if is_over {
                        self.state = State::Gathering;
                    }
                    used
                }),
            };
            bytes = match used {
                Ok(used) => &bytes[used..],
                Err(corrupt) => {
                    *self = Self { state: State::Corrupt, buffer: Vec::new() };
                    return Err(corrupt);
                }
            };
        }
    }

    /// Takes some bytes of one message and tells how many.
    fn gather(&mut self, bytes: &[u8], messages: &mut impl Messages) -> Result<usize, Corrupt> {
        // The usual case: all of the message is here.
        if self.buffer.is_empty()
            && let Some(lengths) = Lengths::of(bytes)?
            && lengths.total <= bytes.len().min(MAX_MESSAGE)
        {
            messages.message(lengths.read(&bytes[..lengths.total])?);
            return Ok(lengths.total);
        }
        let missing = PRELUDE.saturating_sub(self.buffer.len()).min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..missing]);
        let Some(lengths) = Lengths::of(&self.buffer)? else { return Ok(missing) };
        if lengths.total > MAX_MESSAGE {
            let mut hasher = Hasher::new();
            hasher.update(&self.buffer);
            let left = lengths.total - self.buffer.len() - CRC;
            self.state = State::PassingOver(Box::new(PassingOver { hasher, left, crc: [0; CRC], crc_seen: 0 }));
            self.buffer.clear();
            return Ok(missing);
        }
        // The buffer grows with what arrives, never by what a length promises.
        let taken = (lengths.total - self.buffer.len()).min(bytes.len() - missing);
        self.buffer.extend_from_slice(&bytes[missing..missing + taken]);
        if self.buffer.len() == lengths.total {
            messages.message(lengths.read(&self.buffer)?);
            self.buffer.clear();
            self.buffer.shrink_to(KEPT);
        }
        Ok(missing + taken)
    }
}

impl PassingOver {
    /// How many of `bytes` belong to the message, and whether it is over.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Corrupt> {
        let body = self.left.min(bytes.len());
        self.hasher.update(&bytes[..body]);
        self.left -= body;
        let crc = (CRC - self.crc_seen).min(bytes.len() - body);
        self.crc[self.crc_seen..self.crc_seen + crc].copy_from_slice(&bytes[body..body + crc]);
        self.crc_seen += crc;
        let is_over = self.crc_seen == CRC;
        if is_over && self.hasher.clone().finalize() != u32::from_be_bytes(self.crc) {
            return Err(Corrupt);
        }
        Ok((body + crc, is_over))
    }
}

/// What a prelude says.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    total: usize,
    headers: usize,
}

impl Lengths {
    /// Reads the prelude that `bytes` begin with; `None` while it is not all there.
    fn of(bytes: &[u8]) -> Result<Option<Self>, Corrupt> {
        let Some((prelude, _)) = bytes.split_first_chunk::<PRELUDE>() else { return Ok(None) };
        let number = |at: usize| {
            let field = prelude[at..at + 4].try_into().expect("the prelude has three numbers of four bytes");
            u32::from_be_bytes(field)
        };
        let (total, headers) = (number(0) as usize, number(4) as usize);
        let is_sound = headers <= MAX_HEADERS && total <= MAX_LENGTH && total >= PRELUDE + headers + CRC;
        if !is_sound || crc32fast::hash(&prelude[..8]) != number(8) {
            return Err(Corrupt);
        }
        Ok(Some(Self { total, headers }))
    }

    /// Reads a message of these lengths, all of which is here.
    fn read(self, message: &[u8]) -> Result<Message<'_>, Corrupt> {
        let (checked, crc) = message.split_last_chunk::<CRC>().ok_or(Corrupt)?;
        if crc32fast::hash(checked) != u32::from_be_bytes(*crc) {
            return Err(Corrupt);
        }
        let (headers, payload) = checked[PRELUDE..].split_at(self.headers);
        let (kind, name) = read_headers(headers).ok_or(Corrupt)?;
        Ok(Message { kind, name, payload })
    }
}

/// The kind and name among the headers; `None` where they are malformed.
fn read_headers(mut headers: &[u8]) -> Option<(Kind, &str)> {
    let (mut kind, mut name) = (Kind::Other, "");
    while !headers.is_empty() {
        let (key, rest) = split(headers, 1)?;
        let (value_type, rest) = rest.split_first()?;
        let size = match value_type {
            // Two booleans without a value, a byte, three integers, a time, and a UUID.
            0 | 1 => Size::Fixed(0),
            2 => Size::Fixed(1),
            3 => Size::Fixed(2),
            4 => Size::Fixed(4),
            5 | 8 => Size::Fixed(8),
            9 => Size::Fixed(16),
            // Bytes and text, after their length.
            6 | 7 => Size::Prefixed,
            _ => return None,
        };
        let (value, rest) = match size {
            Size::Fixed(size) => rest.split_at_checked(size)?,
            Size::Prefixed => split(rest, 2)?,
        };
        headers = rest;
        if *value_type != TEXT {
            continue;
        }
        match key {
            b":message-type" => kind = Kind::of(value),
            b":event-type" | b":exception-type" | b":error-code" => name = std::str::from_utf8(value).ok()?,
            _ => {}
        }
    }
    Some((kind, name))
}

/// The type of a header's value that is text.
const TEXT: u8 = 7;

enum Size {
    Fixed(usize),
    Prefixed,
}

/// Splits off what a length of `prefix` bytes stands before.
fn split(bytes: &[u8], prefix: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(prefix)?;
    rest.split_at_checked(length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

/// Writes a message whose headers are all text.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        fields.push(u8::try_from(name.len()).expect("the names are ours"));
        fields.extend_from_slice(name.as_bytes());
        fields.push(TEXT);
        fields.extend_from_slice(&u16::try_from(value.len()).expect("the values are ours").to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    let length = |length: usize| u32::try_from(length).expect("our messages are short").to_be_bytes();
    let mut frame = Vec::with_capacity(PRELUDE + fields.len() + payload.len() + CRC);
    frame.extend_from_slice(&length(PRELUDE + fields.len() + payload.len() + CRC));
    frame.extend_from_slice(&length(fields.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&fields);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

impl Kind {
    fn of(value: &[u8]) -> Self {
        match value {
            b"event" => Self::Event,
            b"exception" => Self::Exception,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests;
