//! Frames of one direction (RFC 6455, § 5), cut anywhere: what their messages hold, unmasked and inflated.

use super::{Sender, Stop, inflate::Inflate};

/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;
/// How much is unmasked at once. A multiple of a mask's length.
pub(super) const BLOCK: usize = 4096;
/// Control frames hold no more (§ 5.5).
const MAX_CONTROL: u64 = 125;

/// Takes the messages.
pub(super) trait Messages {
    /// A piece of a message; more may follow. Text and binary are not told apart, as servers read JSON from both.
    fn part(&mut self, bytes: &[u8]);

    /// The message is complete.
    fn end(&mut self);
}

/// The state between two pieces of a direction.
pub(super) struct Frames {
    from: Sender,
    /// permessage-deflate was agreed on for this direction.
    inflate: Option<Inflate>,
    head: Head,
    at: At,
    message: Message,
}

#[derive(Clone, Copy)]
enum At {
    Header,
    Payload {
        left: u64,
        mask: [u8; 4],
        /// The frame after which the message is complete; `None` in a control frame.
        is_last: Option<bool>,
    },
    /// A Close frame was seen, after which nothing counts (§ 5.5.1).
    Closed,
}

#[derive(Clone, Copy, PartialEq)]
enum Message {
    None,
    Plain,
    Compressed,
}

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

/// A frame's header (§ 5.2), as it comes.
#[derive(Clone, Copy, Default)]
pub(super) struct Head {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: u8,
    /// The last of its message.
    pub(super) is_final: bool,
    pub(super) is_compressed: bool,
    /// Of what follows the header.
    pub(super) length: u64,
    /// Zeros in a server's frame, which has none.
    pub(super) mask: [u8; 4],
}

impl Head {
    /// Takes what of `bytes` belongs to it, and tells how much that is. Once it is whole, see [`Self::end`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let missing = needed(&self.bytes[..self.length]) - self.length;
            if missing == 0 {
                break;
            }
            let taken = missing.min(bytes.len() - used);
            self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[used..used + taken]);
            self.length += taken;
            used += taken;
        }
        used
    }

    /// As it came so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// What it says, if it is whole. Then the next one begins.
    pub(super) fn end(&mut self, from: Sender) -> Result<Option<Frame>, Stop> {
        if self.length != needed(self.as_bytes()) {
            return Ok(None);
        }
        let frame = Frame::read(self.as_bytes(), from)?;
        self.length = 0;
        Ok(Some(frame))
    }
}

impl Frame {
    fn read(header: &[u8], from: Sender) -> Result<Self, Stop> {
        let (first, second) = (header[0], header[1]);
        let (is_final, is_reserved, is_compressed) = (first & 0x80 != 0, first & 0x30 != 0, first & 0x40 != 0);
        let is_masked = second & 0x80 != 0;
        let (length, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), &header[4..]),
            127 => {
                let (length, mask) = header[2..].split_at(8);
                (u64::from_be_bytes(length.try_into().expect("it was split there")), mask)
            }
            length => (u64::from(length), &header[2..]),
        };
        // Clients mask, servers do not (§ 5.1), and lengths have 63 bits (§ 5.2).
        if is_reserved || is_masked != (from == Sender::Client) || length > i64::MAX as u64 {
            return Err(Stop::Violation);
        }
        let mask = mask.try_into().unwrap_or_default();
        Ok(Self { opcode: first & 0x0f, is_final, is_compressed, length, mask })
    }

    /// Whether it may stand between a message's.
    pub(super) fn is_control(&self) -> bool {
        matches!(self.opcode, CLOSE | PING | PONG) && self.is_final && !self.is_compressed && self.length <= MAX_CONTROL
    }
}

impl Frames {
    pub(super) fn new(from: Sender, inflate: Option<Inflate>) -> Self {
        Self { from, inflate, head: Head::default(), at: At::Header, message: Message::None }
    }

    /// Whether this side has said that it sends no more.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], messages: &mut impl Messages) -> Result<(), Stop> {
        while !bytes.is_empty() {
            match self.at {
                At::Closed => return Ok(()),
                At::Header => {
                    bytes = &bytes[self.head.push(bytes)..];
                    if let Some(frame) = self.head.end(self.from)? {
                        self.begin(frame)?;
                        self.end_if_empty(messages)?;
                    }
                }
                At::Payload { left, mask, is_last } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, rest) = bytes.split_at(taken);
                    let mut mask = mask;
                    if is_last.is_some() {
                        self.payload(piece, mask, messages)?;
                        mask.rotate_left(taken % 4);
                    }
                    self.at = At::Payload { left: left - taken as u64, mask, is_last };
                    self.end_if_empty(messages)?;
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, frame: Frame) -> Result<(), Stop> {
        let Frame { opcode, is_final, is_compressed, length, mask } = frame;
        let is_last = match opcode {
            TEXT | BINARY if self.message == Message::None && (!is_compressed || self.inflate.is_some()) => {
                self.message = if is_compressed { Message::Compressed } else { Message::Plain };
                Some(is_final)
            }
            CONTINUATION if self.message != Message::None && !is_compressed => Some(is_final),
            _ if frame.is_control() => None,
            _ => return Err(Stop::Violation),
        };
        self.at = if opcode == CLOSE { At::Closed } else { At::Payload { left: length, mask, is_last } };
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8], mask: [u8; 4], messages: &mut impl Messages) -> Result<(), Stop> {
        if self.from == Sender::Server {
            return self.unmasked(bytes, messages);
        }
        let mut block = [0; BLOCK];
        // A block's length is a multiple of the mask's.
        for piece in bytes.chunks(BLOCK) {
            let block = &mut block[..piece.len()];
            block.copy_from_slice(piece);
            unmask(block, mask);
            self.unmasked(block, messages)?;
        }
        Ok(())
    }

    fn unmasked(&mut self, bytes: &[u8], messages: &mut impl Messages) -> Result<(), Stop> {
        if let (Some(inflate), Message::Compressed) = (&mut self.inflate, self.message) {
            return inflate.push(bytes, |text| messages.part(text));
        }
        messages.part(bytes);
        Ok(())
    }

    fn end_if_empty(&mut self, messages: &mut impl Messages) -> Result<(), Stop> {
        let At::Payload { left: 0, is_last, .. } = self.at else { return Ok(()) };
        self.at = At::Header;
        if is_last == Some(true) {
            if let (Some(inflate), Message::Compressed) = (&mut self.inflate, self.message) {
                inflate.end(|text| messages.part(text))?;
            }
            self.message = Message::None;
            messages.end();
        }
        Ok(())
    }
}

/// How long the header is that begins so.
fn needed(header: &[u8]) -> usize {
    let Some(second) = header.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 != 0 { 4 } else { 0 }
}

pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let plain = u64::from_ne_bytes((&*word).try_into().expect("chunks are of eight")) ^ wide;
        word.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}
