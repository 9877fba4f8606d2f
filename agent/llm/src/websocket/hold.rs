//! Holds what a client sends back until it is whole, so that it can be decided on: each message with its frames as they came.
//!
//! Control frames may overtake a message's fragments, as they may anywhere (RFC 6455, § 5.4), and are not held back. What cannot
//! be read, compressed messages among it, is not passed on: see [`SocketHold::push`].

use std::fmt;

use super::Sender;
use super::asked::{PLACES, Place, SocketAsk};
use super::frames::{BINARY, BLOCK, CLOSE, CONTINUATION, Frame, Head, TEXT, unmask};
use super::words;
use crate::call::{Api, Call};
use crate::clamp::{Clamp, ClampError};
use crate::estimate::{Gather, Sampler};
use crate::json::Scanner;
use crate::request::RequestMeter;
use crate::response::Unmetered;

/// What came of a client's frames.
pub enum Held {
    /// A control frame.
    Control(Vec<u8>),
    /// A whole message.
    Message(Box<HeldMessage>),
    /// A message is larger than may be held. The rest of it will be swallowed.
    TooLarge,
}

impl fmt::Debug for Held {
    /// Without its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(frame) => f.debug_tuple("Control").field(&frame.len()).finish(),
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::TooLarge => f.write_str("TooLarge"),
        }
    }
}

/// A client's message, in its frames.
pub struct HeldMessage {
    /// As they came.
    pub frames: Vec<u8>,
    /// What it asks for.
    pub ask: SocketAsk,
}

impl HeldMessage {
    /// Makes it ask for no more tokens than `limit` where it does not already, by the change of one span of its text. Then it is
    /// one frame.
    pub fn clamp(&mut self, call: &Call, limit: u64) -> Result<(), ClampError> {
        let is_wrapped = call.api == Api::Realtime || self.ask.is_wrapped();
        let (first, text) = payload(&self.frames);
        let mut clamp = Clamp::for_message(call, is_wrapped, &self.ask.facts, limit);
        clamp.push(&text);
        let edits = clamp.finish()?;
        if !edits.is_empty() {
            let mut edited = Vec::new();
            edits.write(&text, &mut edited);
            self.frames = words::frame(first.opcode, Some(first.mask), &edited);
        }
        Ok(())
    }
}

impl fmt::Debug for HeldMessage {
    /// Without its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldMessage").field("bytes", &self.frames.len()).field("ask", &self.ask).finish()
    }
}

/// The text in the frames of a client's message, which are whole, and what the first of them says.
fn payload(mut frames: &[u8]) -> (Frame, Vec<u8>) {
    let (mut first, mut text) = (None, Vec::with_capacity(frames.len()));
    while !frames.is_empty() {
        let mut head = Head::default();
        let used = head.push(frames);
        let frame = head.end(Sender::Client).ok().flatten().expect("it was read before");
        let (piece, rest) = frames[used..].split_at(frame.length as usize);
        let start = text.len();
        text.extend_from_slice(piece);
        unmask(&mut text[start..], frame.mask);
        first.get_or_insert(frame);
        frames = rest;
    }
    (first.expect("a message has a frame"), text)
}

/// Takes a client's frames, cut anywhere, and gives them back one message at a time.
pub struct SocketHold {
    call: Call,
    limit: usize,
    head: Head,
    at: At,
    /// The message that has begun, if one has.
    message: Option<Box<Message>>,
    control: Vec<u8>,
}

#[derive(Clone, Copy)]
enum At {
    Header,
    Payload {
        left: u64,
        mask: [u8; 4],
        role: Role,
    },
    /// After a Close frame nothing counts (§ 5.5.1), and nothing is passed on.
    Closed,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Fragment,
    Last,
    Control,
    Close,
}

struct Message {
    /// As they came; empty once they are too many.
    frames: Vec<u8>,
    is_too_large: bool,
    scanner: Scanner<Place>,
    meter: RequestMeter,
    /// None after the end of the message's value.
    gather: Option<Gather>,
    text: Sampler,
    asked: SocketAsk,
}

impl Message {
    fn new(call: &Call) -> Box<Self> {
        Box::new(Self {
            frames: Vec::new(),
            is_too_large: false,
            scanner: Scanner::new(&PLACES),
            meter: RequestMeter::for_message(call),
            gather: Some(Gather::value()),
            text: Sampler::default(),
            asked: SocketAsk::default(),
        })
    }

    fn read(&mut self, bytes: &[u8], mask: [u8; 4]) {
        let mut block = [0; BLOCK];
        for piece in bytes.chunks(BLOCK) {
            let block = &mut block[..piece.len()];
            block.copy_from_slice(piece);
            unmask(block, mask);
            self.asked.bytes += block.len() as u64;
            self.scanner.push(block, &mut self.asked);
            self.meter.push(block);
            if let Some(gather) = &mut self.gather
                && gather.push(block, &mut self.text).is_some()
            {
                self.gather = None;
            }
        }
    }
}

impl SocketHold {
    /// For a WebSocket that was opened by `call`. Holds at most `limit` bytes of a message, frames and all.
    pub fn new(call: &Call, limit: usize) -> Self {
        Self { call: call.clone(), limit, head: Head::default(), at: At::Header, message: None, control: Vec::new() }
    }

    /// Takes bytes up to the end of a message or of a control frame, and tells how many it took. The error says why the client
    /// can be followed no further: nothing more of it may be passed on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Held>), Unmetered> {
        let mut used = 0;
        while used < bytes.len() {
            let held = match self.at {
                At::Closed => return Ok((bytes.len(), None)),
                At::Header => {
                    used += self.head.push(&bytes[used..]);
                    let written = self.head;
                    match self.head.end(Sender::Client).map_err(Unmetered::from)? {
                        Some(frame) => self.begin(frame, written.as_bytes())?,
                        None => None,
                    }
                }
                At::Payload { left, mask, role } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - used);
                    self.payload(&bytes[used..used + taken], mask, role);
                    used += taken;
                    let mut mask = mask;
                    mask.rotate_left(taken % 4);
                    self.at = At::Payload { left: left - taken as u64, mask, role };
                    self.end_if_empty()
                }
            };
            if held.is_some() {
                return Ok((used, held));
            }
        }
        Ok((used, None))
    }

    /// Whether the client has said that it sends no more.
    pub fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    /// A frame's header is whole.
    fn begin(&mut self, frame: Frame, written: &[u8]) -> Result<Option<Held>, Unmetered> {
        let Frame { opcode, is_final, is_compressed, length, mask } = frame;
        let role = match opcode {
            // Nothing that would compress was agreed on.
            _ if is_compressed => return Err(Unmetered::Framing),
            TEXT | BINARY if self.message.is_none() => {
                if is_final {
                    Role::Last
                } else {
                    Role::Fragment
                }
            }
            CONTINUATION if self.message.is_some() => {
                if is_final {
                    Role::Last
                } else {
                    Role::Fragment
                }
            }
            CLOSE if frame.is_control() => Role::Close,
            _ if frame.is_control() => Role::Control,
            _ => return Err(Unmetered::Framing),
        };
        self.at = At::Payload { left: length, mask, role };
        let mut held = None;
        if matches!(role, Role::Control | Role::Close) {
            self.control.extend_from_slice(written);
        } else {
            let message = self.message.get_or_insert_with(|| Message::new(&self.call));
            let room = self.limit.saturating_sub(message.frames.len() + written.len()) as u64;
            if !message.is_too_large && length > room {
                message.is_too_large = true;
                message.frames = Vec::new();
                held = Some(Held::TooLarge);
            }
            if !message.is_too_large {
                message.frames.extend_from_slice(written);
            }
        }
        let ended = self.end_if_empty();
        Ok(held.or(ended))
    }

    fn payload(&mut self, bytes: &[u8], mask: [u8; 4], role: Role) {
        match (role, &mut self.message) {
            (Role::Control | Role::Close, _) => self.control.extend_from_slice(bytes),
            (_, Some(message)) if !message.is_too_large => {
                message.frames.extend_from_slice(bytes);
                message.read(bytes, mask);
            }
            _ => {}
        }
    }

    fn end_if_empty(&mut self) -> Option<Held> {
        let At::Payload { left: 0, role, .. } = self.at else { return None };
        self.at = if role == Role::Close { At::Closed } else { At::Header };
        match role {
            Role::Fragment => None,
            Role::Control | Role::Close => Some(Held::Control(std::mem::take(&mut self.control))),
            Role::Last => {
                let Message { frames, is_too_large, meter, text, mut asked, .. } = *self.message.take()?;
                asked.end(meter.finish(), text.finish());
                (!is_too_large).then(|| Held::Message(Box::new(HeldMessage { frames, ask: asked })))
            }
        }
    }
}

impl fmt::Debug for SocketHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHold").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
