//! Events on the wire of AWS, written by Amazon's own library.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::answer::Event;
use crate::json::{Object, Raw, obj};
use crate::seed::Seed;

/// The type of a stream.
pub(super) const TYPE: &str = "application/vnd.amazon.eventstream";

/// An event of a type, with these fields and padding that hides its length.
pub(super) fn event(name: &str, fields: Object, seed: Seed) -> Event {
    let mut fields = fields;
    fields.field("p", &padding(seed));
    Event::new(message(":event-type", name, "event", fields.end().0))
}

/// An event of a model's own, in base64 within.
pub(super) fn chunk(json: &str, seed: Seed) -> Event {
    let body = obj! { "bytes" => STANDARD.encode(json), "p" => padding(seed) };
    Event::new(message(":event-type", "chunk", "event", body.0))
}

/// What ends a stream in the place of an event.
pub(super) fn exception(name: &str, body: Raw) -> Bytes {
    message(":exception-type", name, "exception", body.0)
}

fn message(kind: &'static str, name: &str, message_type: &'static str, body: String) -> Bytes {
    let text = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(body)
        .add_header(text(kind, name))
        .add_header(text(":content-type", "application/json"))
        .add_header(text(":message-type", message_type));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("its headers are short");
    bytes.into()
}

fn padding(seed: Seed) -> &'static str {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    &LETTERS[..(seed.number("padding") % LETTERS.len() as u64) as usize]
}
