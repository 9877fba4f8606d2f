//! OpenAI's Responses over a WebSocket: what an event stream would carry, message by message.

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Line, Plan, Session, Wrote};
use crate::answer::{Content, Event};
use crate::dialect::Ask;
use crate::json::{Null, Raw, obj};

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    pub(super) async fn responses(&mut self, message: &Value) -> Wrote {
        if message["type"] != "response.create" {
            return self.refuse(message, "invalid_type", "this type of message is not known here").await;
        }
        // Both shapes are in use.
        let mut request = if message["response"].is_object() { message["response"].clone() } else { message.clone() };
        if let Value::Object(fields) = &mut request {
            fields.remove("type");
            fields.insert("stream".to_owned(), true.into());
        }
        let seed = self.seed(&request);
        let body = request.to_string();
        let dialect = self.dialect();
        let ask = Ask::new(dialect, &Method::POST, "/v1/responses", body.as_bytes(), seed, false);
        let Ok(mut ask) = ask.with_faults(self.faults.clone()) else {
            return self.refuse(message, "invalid_value", "this fault is not known here").await;
        };
        // They are this session's, not an HTTP response's.
        let faults = std::mem::take(&mut ask.faults);
        (ask.faults.words, ask.faults.no_usage) = (faults.words, faults.no_usage);
        if let Some(status) = faults.status {
            return self.say(&[error(status)]).await;
        }
        let answer = dialect.answer(&ask);
        let Content::Events(events) = &answer.content else {
            return self.say(&[error(StatusCode::BAD_REQUEST)]).await;
        };
        let exchange = self.exchange(
            ask.model.as_deref().unwrap_or_default(),
            answer.model.as_deref().unwrap_or_default(),
            answer.usage.unwrap_or_default(),
        );
        let plan = Plan {
            exchange,
            faults,
            events: events.iter().map(line).collect(),
            failed: data(&answer.error_event),
            cancelled: None,
        };
        self.play(plan).await
    }
}

fn line(event: &Event) -> Line {
    Line { text: data(&event.bytes), usage: event.usage, said: event.said }
}

/// The data of one server-sent event.
fn data(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

fn error(status: StatusCode) -> Raw {
    let (kind, code) = match status.as_u16() {
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let error = obj! { "type" => kind, "code" => code, "message" => "a fault was asked for", "param" => Null };
    obj! { "type" => "error", "status" => u64::from(status.as_u16()), "error" => error }
}
