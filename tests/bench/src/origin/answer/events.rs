//! Streamed answers: as many events as the request's `max_tokens`, one frame each, then usage if asked, and the end.

use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Deserialize;

/// A stream that is being sent.
pub(in crate::origin) struct Events {
    left: u32,
    usage: bool,
    done: bool,
}

/// What of a request decides.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    stream: bool,
    max_tokens: Option<u32>,
    stream_options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    include_usage: bool,
}

impl Events {
    /// The events that a request asks for; none where it asks for a whole answer, or is longer than was kept.
    pub(super) fn asked_by(body: &[u8]) -> Option<Self> {
        // Most requests of the benchmark do not say the word, and those are the ones that must be cheap.
        memchr::memmem::find(body, b"\"stream\"")?;
        let asked: Asked = serde_json::from_slice(body).ok()?;
        let usage = asked.stream_options.is_some_and(|options| options.include_usage);
        asked.stream.then_some(Self { left: asked.max_tokens.unwrap_or(500), usage, done: false })
    }

    /// The next event.
    pub(super) fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let event = if self.left > 0 {
            self.left -= 1;
            r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":" gate"},"finish_reason":null}]}"#
        } else if self.usage {
            self.usage = false;
            r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{"prompt_tokens":219,"completion_tokens":500,"total_tokens":719}}"#
        } else if self.done {
            return Poll::Ready(None);
        } else {
            self.done = true;
            "data: [DONE]"
        };
        Poll::Ready(Some(Bytes::from(format!("{event}\n\n"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_sent_only_when_it_is_asked_for() {
        assert!(Events::asked_by(br#"{"model":"m","stream":false}"#).is_none());
        assert!(Events::asked_by(br#"{"model":"m"}"#).is_none());
        let events =
            Events::asked_by(br#"{"model":"m","stream":true,"max_tokens":7,"stream_options":{"include_usage":true}}"#);
        let events = events.expect("it asks");
        assert_eq!((events.left, events.usage), (7, true));
    }
}
