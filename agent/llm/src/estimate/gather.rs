//! Gathers the text in a JSON value that passes by, cut anywhere, into a [`Sampler`].
//!
//! Text is every string but those under keys that name something else, such as an identifier or the bytes of an image.

use super::Sampler;
use crate::call::Operation;
use crate::json::closing_quote;

/// Deeper containers than this are passed over.
const MAX_DEPTH: u32 = 64;
/// Longer keys are none of those that matter.
const MAX_KEY: usize = 24;

/// What is not text, wherever it stands: identifiers, words of the protocol, and encoded images, sounds and files.
fn is_opaque(key: &[u8]) -> bool {
    matches!(
        key,
        b"audio"
            | b"b64_json"
            | b"bytes"
            | b"cache_control"
            | b"call_id"
            | b"citation"
            | b"data"
            | b"detail"
            | b"encrypted_content"
            | b"file_data"
            | b"file_id"
            | b"file_url"
            | b"fileData"
            | b"finish_reason"
            | b"format"
            | b"id"
            | b"image_url"
            | b"images"
            | b"inlineData"
            | b"inline_data"
            | b"input_audio"
            | b"media_type"
            | b"mimeType"
            | b"mime_type"
            | b"object"
            | b"obfuscation"
            | b"reasoning_details"
            | b"redacted_content"
            | b"role"
            | b"signature"
            | b"status"
            | b"stop_reason"
            | b"stop_sequence"
            | b"thoughtSignature"
            | b"tool_call_id"
            | b"tool_use_id"
            | b"type"
            | b"url"
    )
}

/// Where a request keeps what the model reads.
fn is_prompt(key: &[u8]) -> bool {
    matches!(
        key,
        b"content"
            | b"contents"
            | b"documents"
            | b"functions"
            | b"input"
            | b"inputText"
            | b"instructions"
            | b"message"
            | b"messages"
            | b"prompt"
            | b"query"
            | b"requests"
            | b"suffix"
            | b"system"
            | b"systemInstruction"
            | b"system_instruction"
            | b"texts"
            | b"toolConfig"
            | b"tools"
    )
}

/// What is being read.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// One value.
    Value,
    /// A whole request, of which only some members are read by the model.
    Request,
    /// A request that is made of messages.
    Conversation,
}

/// In which member of a request.
#[derive(Clone, Copy, PartialEq)]
enum Member {
    /// Its elements are messages.
    Messages,
    /// Its keys are read by the model too: they name the parameters.
    Tools,
    Other,
}

impl Member {
    fn of(key: &[u8]) -> Self {
        match key {
            b"contents" | b"input" | b"messages" => Self::Messages,
            b"functions" | b"toolConfig" | b"tools" => Self::Tools,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Text {
    /// Not in a string.
    Out,
    Key,
    Taken,
    PassedOver,
}

/// The state between two pieces of a value.
pub(crate) struct Gather {
    source: Source,
    member: Member,
    depth: u32,
    /// A bit for each open container, the innermost lowest: whether it is an object.
    objects: u64,
    /// The next string in the innermost object is a key.
    at_key: bool,
    text: Text,
    escaping: bool,
    /// The value of the last key is not text.
    is_opaque: bool,
    /// The depth of the outermost container whose content is not text; zero if there is none.
    opaque_from: u32,
    key: [u8; MAX_KEY],
    key_length: u8,
}

impl Gather {
    fn new(source: Source) -> Self {
        Self {
            source,
            member: Member::Other,
            depth: 0,
            objects: 0,
            at_key: false,
            text: Text::Out,
            escaping: false,
            is_opaque: false,
            opaque_from: 0,
            key: [0; MAX_KEY],
            key_length: 0,
        }
    }

    /// For the body of a request: what the model is given to read, text by text.
    pub(crate) fn request(operation: Operation) -> Self {
        Self::new(match operation {
            Operation::Chat | Operation::GenerateContent => Source::Conversation,
            _ => Source::Request,
        })
    }

    /// For one value: all the text in it, as one.
    pub(crate) fn value() -> Self {
        Self::new(Source::Value)
    }

    /// Takes the next piece. Gives how much of it belongs to the value where that ends in it.
    pub(crate) fn push(&mut self, bytes: &[u8], sampler: &mut Sampler) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.text == Text::Out {
                let byte = bytes[at];
                if let Some(used) = self.outside(byte, sampler) {
                    return Some(at + used);
                }
                at += 1;
            } else {
                at += self.inside(&bytes[at..], sampler);
                if self.text == Text::Out && self.depth == 0 && !self.is_request() {
                    return Some(at);
                }
            }
        }
        None
    }

    fn is_request(&self) -> bool {
        self.source != Source::Value
    }

    fn is_object(&self) -> bool {
        self.depth > 0 && self.depth <= MAX_DEPTH && self.objects & 1 == 1
    }

    /// Takes a byte that is in no string; tells whether the value has ended with it (1) or before it (0).
    fn outside(&mut self, byte: u8, sampler: &mut Sampler) -> Option<usize> {
        match byte {
            b'"' => self.begin_text(sampler),
            b'{' => self.open(true, sampler),
            b'[' => self.open(false, sampler),
            b'}' | b']' => return self.close(),
            b',' if self.depth > 0 => self.at_key = self.is_object(),
            b':' if self.depth > 0 => self.at_key = false,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            // A number or a word that is the whole value, or what follows a value that is missing.
            _ if self.depth == 0 && !self.is_request() => return Some(0),
            _ => {}
        }
        None
    }

    fn begin_text(&mut self, sampler: &mut Sampler) {
        self.text = if self.is_object() && self.at_key {
            self.key_length = 0;
            Text::Key
        } else if self.opaque_from > 0
            || self.depth > MAX_DEPTH
            || self.is_opaque && self.is_object()
            || self.is_request() && self.depth == 0
        {
            Text::PassedOver
        } else {
            Text::Taken
        };
        // A text instead of messages, or beside them, makes one.
        if self.text == Text::Taken && self.depth == 1 && self.source == Source::Conversation {
            sampler.message();
        }
    }

    fn open(&mut self, is_object: bool, sampler: &mut Sampler) {
        if is_object
            && self.depth == 2
            && self.source == Source::Conversation
            && self.member == Member::Messages
            && self.opaque_from == 0
        {
            sampler.message();
        }
        let is_opaque = self.is_opaque && (self.is_object() || self.depth == 0);
        self.depth = self.depth.saturating_add(1);
        if is_opaque && self.opaque_from == 0 {
            self.opaque_from = self.depth;
        }
        if self.depth <= MAX_DEPTH {
            self.objects = self.objects << 1 | u64::from(is_object);
        }
        self.at_key = is_object;
        self.is_opaque = false;
    }

    fn close(&mut self) -> Option<usize> {
        let Some(depth) = self.depth.checked_sub(1) else { return (!self.is_request()).then_some(0) };
        if self.depth <= MAX_DEPTH {
            self.objects >>= 1;
        }
        self.depth = depth;
        if self.opaque_from > depth {
            self.opaque_from = 0;
        }
        self.is_opaque = false;
        (depth == 0 && !self.is_request()).then_some(1)
    }

    /// Takes what is here of a string; gives how much that is.
    fn inside(&mut self, bytes: &[u8], sampler: &mut Sampler) -> usize {
        let end = closing_quote(bytes, &mut self.escaping);
        self.take(&bytes[..end.unwrap_or(bytes.len())], sampler);
        let Some(end) = end else { return bytes.len() };
        self.end_text(sampler);
        end + 1
    }

    fn take(&mut self, bytes: &[u8], sampler: &mut Sampler) {
        match self.text {
            Text::Taken => sampler.push(bytes),
            Text::Key => {
                if self.member == Member::Tools && self.depth > 1 {
                    sampler.push(bytes);
                }
                let room = MAX_KEY - usize::from(self.key_length);
                let kept = &bytes[..bytes.len().min(room)];
                let start = usize::from(self.key_length);
                self.key[start..start + kept.len()].copy_from_slice(kept);
                self.key_length += kept.len() as u8;
            }
            Text::PassedOver | Text::Out => {}
        }
    }

    fn end_text(&mut self, sampler: &mut Sampler) {
        let text = std::mem::replace(&mut self.text, Text::Out);
        if text == Text::Key {
            let key = &self.key[..usize::from(self.key_length)];
            if self.is_request() && self.depth == 1 {
                self.is_opaque = !is_prompt(key);
                self.member = Member::of(key);
            } else {
                // Of an item of OpenAI's Responses it is an image that was made; deeper, it is what a tool of Gemini's said.
                let is_image = key == b"result" && self.depth <= 3;
                self.is_opaque = self.member != Member::Tools && (is_opaque(key) || is_image);
            }
        }
        if self.is_request()
            && (text == Text::Taken || text == Text::Key && self.member == Member::Tools && self.depth > 1)
        {
            sampler.separate();
        }
    }
}

#[cfg(test)]
mod tests;
