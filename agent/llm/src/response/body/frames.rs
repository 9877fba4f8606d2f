//! Bedrock's streams: events in AWS's frames, and those of `InvokeModel` in base64 within.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::{memchr, memmem};

use super::EventReader;
use crate::{
    eventstream::{Decoder, Kind, Message, Messages},
    sse::Events as _,
};

/// What the buffer may keep from one event to the next.
const KEPT: usize = 4 << 10;

/// The state between two pieces of a stream.
#[derive(Default)]
pub(super) struct Frames {
    decoder: Decoder,
    /// What came out of base64; kept to be filled again.
    inner: Vec<u8>,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut EventReader) {
        let mut reader = Reader { inner: &mut self.inner, events };
        if self.decoder.push(bytes, &mut reader).is_err() {
            events.tally.is_corrupt = true;
        }
    }
}

struct Reader<'a> {
    inner: &'a mut Vec<u8>,
    events: &'a mut EventReader,
}

impl Messages for Reader<'_> {
    fn message(&mut self, message: Message<'_>) {
        match (message.kind, message.name) {
            (Kind::Exception | Kind::Error, name) => self.events.tally.fail(name),
            (Kind::Event, "chunk") => self.chunk(message.payload),
            (Kind::Event, name) => {
                self.events.event(message.payload);
                // The last event of a conversation, and the only one with numbers.
                self.events.is_done |= name == "metadata";
            }
            (Kind::Other, _) => {}
        }
    }
}

impl Reader<'_> {
    /// `{"bytes":"…"}`, and padding beside it.
    fn chunk(&mut self, payload: &[u8]) {
        let Some(base64) = text_after(payload, b"\"bytes\"") else { return };
        self.inner.clear();
        let decoded = if memchr(b'\\', base64).is_none() {
            STANDARD.decode_vec(base64, self.inner)
        } else {
            // Of the characters of base64, JSON may escape the solidus alone.
            let plain: Vec<u8> = base64.iter().copied().filter(|byte| *byte != b'\\').collect();
            STANDARD.decode_vec(plain, self.inner)
        };
        if decoded.is_ok() {
            self.events.event(self.inner);
        }
        self.inner.shrink_to(KEPT);
    }
}

/// The string that is the value of `key`, as written.
fn text_after<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let value = json[memmem::find(json, key)? + key.len()..].trim_ascii_start().strip_prefix(b":")?;
    let text = value.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&text[..memchr(b'"', text)?])
}
