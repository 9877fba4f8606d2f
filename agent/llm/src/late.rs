//! Ends a stream that has begun, in its own form: where its events end, and the words for it there.
//!
//! What SDKs make of an error inside of a stream was read in their sources, as of 2026-11-23: openai-python and openai-node raise on a
//! chunk with `error`, also in Responses; anthropic-sdk-* on an event called `error`; google-genai (Python, Go, JavaScript) on a bare
//! object with `error` between the events, which is how Google sends it, and in JavaScript only if one read of the body gave it and
//! nothing else; AWS's on a frame that is an exception; ollama-python on a line with `error`. Cohere (`finish_reason`) and Mistral
//! (`conversation.response.error`) say it in an event.

mod elements;
mod lines;

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use self::elements::Elements;
use self::lines::Lines;
use crate::call::{Api, Call};
use crate::catalogue::Dialect;
use crate::eventstream;
use crate::refusal::PolicyRefusal;

/// Follows the bytes of a stream, cut anywhere, and knows where its events end: only there can it be ended. Costs next to nothing,
/// and holds nothing of the stream.
pub struct Boundary {
    api: Api,
    dialect: Dialect,
    form: Form,
}

enum Form {
    /// Server-sent events.
    Events(Lines),
    /// A JSON text a line.
    Lines(Lines),
    /// One JSON array, with an element for each event.
    Array(Elements),
    /// AWS's frames.
    Frames(Frames),
}

impl Boundary {
    /// For the body of an answer to `call`, with the values of its `content-type` and `content-encoding` headers. `None` for what
    /// cannot be ended before its end: a single document, or what is compressed.
    pub fn new(call: &Call, content_type: Option<&str>, content_encoding: Option<&str>) -> Option<Self> {
        if content_encoding.is_some_and(|coding| !matches!(coding.trim(), "" | "identity")) {
            return None;
        }
        let essence = content_type?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let form = match &*essence {
            "text/event-stream" => Form::Events(Lines::of_events()),
            "application/vnd.amazon.eventstream" => Form::Frames(Frames::default()),
            "application/x-ndjson" | "application/stream+json" | "application/jsonl" => {
                Form::Lines(Lines::one_a_line())
            }
            "application/json" if call.api == Api::GenerateContent && call.stream_in_path == Some(true) => {
                Form::Array(Elements::default())
            }
            _ => return None,
        };
        Some(Self { api: call.api, dialect: call.dialect, form })
    }

    /// Takes what is passed on.
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // An end may be found before the first of the bytes, but then not again.
        while let Some(used) = self.seek(rest) {
            rest = &rest[used..];
        }
    }

    /// Whether all that came ends with an event's end, or nothing came yet.
    pub fn is_here(&self) -> bool {
        match &self.form {
            Form::Events(lines) | Form::Lines(lines) => lines.is_between(),
            Form::Array(elements) => elements.is_between(),
            Form::Frames(frames) => frames.left == 0 && frames.prelude_seen == 0,
        }
    }

    /// How many of these bytes are still to be passed on until an event has ended, of those that were taken before or of these. `None`
    /// where none ends in them; all of them were taken then.
    pub fn seek(&mut self, bytes: &[u8]) -> Option<usize> {
        match &mut self.form {
            Form::Events(lines) | Form::Lines(lines) => lines.seek(bytes),
            Form::Array(elements) => elements.seek(bytes),
            Form::Frames(frames) => frames.seek(bytes),
        }
    }

    /// What to send instead of the rest, at an event's end. Nothing where the stream is over already.
    pub fn end(&self, refusal: &PolicyRefusal<'_>) -> Bytes {
        match &self.form {
            Form::Events(lines) => self.event(lines, refusal),
            Form::Lines(lines) => format!("{}{}", self.line(refusal), lines.line_end()).into(),
            Form::Array(elements) => elements.end(&refusal.body(Dialect::Gemini).to_string()).into(),
            Form::Frames(_) => exception(refusal),
        }
    }

    fn event(&self, lines: &Lines, refusal: &PolicyRefusal<'_>) -> Bytes {
        let end = lines.line_end();
        let (name, data) = match (self.api, self.dialect) {
            (Api::Messages, _) | (_, Dialect::Anthropic) => (Some("error"), refusal.body(Dialect::Anthropic)),
            (Api::Responses, _) => {
                // The reference has its fields at the top, the servers in an object, and SDKs read either.
                let mut data = refusal.openai();
                data["error"] = refusal.openai();
                data["type"] = "error".into();
                data["sequence_number"] = lines.events().into();
                (Some("error"), data)
            }
            // Not as data: so it is how SDKs know it. They also want it to be the last thing.
            (Api::GenerateContent, _) => {
                return format!("{}{end}", without_braces(&refusal.body(Dialect::Gemini).to_string())).into();
            }
            (Api::CohereChat, _) => (Some("message-end"), cohere(refusal)),
            (Api::Conversations, _) => {
                let code = refusal.status.as_u16();
                let name = "conversation.response.error";
                (Some(name), json!({"type": name, "message": refusal.message, "code": code}))
            }
            (_, dialect) => (None, refusal.body(dialect)),
        };
        let name = name.map(|name| format!("event: {name}{end}")).unwrap_or_default();
        format!("{name}data: {data}{end}{end}").into()
    }

    fn line(&self, refusal: &PolicyRefusal<'_>) -> String {
        match self.dialect {
            // docs.cohere.com/v1/docs/streaming
            Dialect::Cohere => json!({
                "is_finished": true, "event_type": "stream-end", "finish_reason": "ERROR", "error": refusal.message,
            }),
            dialect => refusal.body(dialect),
        }
        .to_string()
    }
}

impl fmt::Debug for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boundary").field("api", &self.api).finish_non_exhaustive()
    }
}

/// The same JSON with the braces in its strings escaped: google-genai finds the end of an error by counting braces.
fn without_braces(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    let (mut in_text, mut escaping) = (false, false);
    for character in json.chars() {
        let is_quote = character == '"' && !escaping;
        escaping = character == '\\' && !escaping;
        in_text ^= is_quote;
        match character {
            '{' if in_text => written.push_str("\\u007b"),
            '}' if in_text => written.push_str("\\u007d"),
            other => written.push(other),
        }
    }
    written
}

/// docs.cohere.com/v2/docs/streaming
fn cohere(refusal: &PolicyRefusal<'_>) -> serde_json::Value {
    json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": refusal.message}})
}

/// One of the exceptions that Bedrock's streams are described to have.
fn exception(refusal: &PolicyRefusal<'_>) -> Bytes {
    let name = match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => "throttlingException",
        StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailableException",
        status if status.is_server_error() => "internalServerException",
        _ => "validationException",
    };
    let headers = [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    eventstream::frame(&headers, refusal.body(Dialect::Bedrock).to_string().as_bytes()).into()
}

/// Counts bytes from frame to frame.
#[derive(Default)]
struct Frames {
    length: [u8; 4],
    prelude_seen: usize,
    /// How much of the frame is still to come, once its length is known.
    left: usize,
}

impl Frames {
    fn seek(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left == 0 {
                self.length[self.prelude_seen] = bytes[at];
                self.prelude_seen += 1;
                at += 1;
                if self.prelude_seen == self.length.len() {
                    // What is shorter than its own length is no frame, and is never at its end.
                    let rest = (u32::from_be_bytes(self.length) as usize).checked_sub(self.length.len());
                    self.left = rest.filter(|rest| *rest > 0).unwrap_or(usize::MAX);
                    self.prelude_seen = 0;
                }
                continue;
            }
            let taken = self.left.min(bytes.len() - at);
            at += taken;
            if self.left != usize::MAX {
                self.left -= taken;
            }
            if self.left == 0 {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
