//! AWS event streams as lines that people can read, put on the wire by Amazon's own library.
//!
//! A line is `event TYPE JSON`, `exception TYPE JSON`, `error CODE`, or `chunk JSON`: an event of a model's own, in base64. `damaged` before
//! it breaks its checksum, `cut` leaves out its end; lines that begin with `#` are comments.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(crate) const TYPE: &str = "application/vnd.amazon.eventstream";

pub(crate) fn encode(lines: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).flat_map(message).collect()
}

fn message(line: &str) -> Vec<u8> {
    let (word, rest) = line.split_once(' ').unwrap();
    let (name, payload) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "damaged" => {
            let mut bytes = message(rest);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        }
        "cut" => {
            let mut bytes = message(rest);
            bytes.truncate(bytes.len() - 5);
            bytes
        }
        "event" => written(&[(":event-type", name), JSON, (":message-type", "event")], payload.to_owned()),
        "exception" => written(&[(":exception-type", name), JSON, (":message-type", "exception")], payload.to_owned()),
        "error" => {
            written(&[(":error-code", name), (":error-message", "SECRET"), (":message-type", "error")], String::new())
        }
        "chunk" => {
            let payload = format!(r#"{{"bytes":"{}","p":"abcdefghijk"}}"#, STANDARD.encode(rest));
            written(&[(":event-type", "chunk"), JSON, (":message-type", "event")], payload)
        }
        other => panic!("{other} is no kind of line"),
    }
}

const JSON: (&str, &str) = (":content-type", "application/json");

fn written(headers: &[(&'static str, &str)], payload: String) -> Vec<u8> {
    let message = headers.iter().fold(Message::new(payload), |message, (name, value)| {
        message.add_header(Header::new(*name, HeaderValue::String((*value).to_owned().into())))
    });
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}
