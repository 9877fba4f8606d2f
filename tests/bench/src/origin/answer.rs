//! What the provider for load answers: one JSON document of about 1 KB, or events.

mod events;

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use events::Events;

/// An answer that was chosen.
pub(super) enum Answer {
    /// A whole chat answer.
    Whole(Bytes),
    /// A stream of events.
    Events(Events),
}

impl Answer {
    /// The answer to a request with this path, whose body begins so.
    pub(super) fn to(_path: &str, body: &[u8]) -> Self {
        match Events::asked_by(body) {
            Some(events) => Self::Events(events),
            None => Self::Whole(CHAT.clone()),
        }
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Whole(_) => "application/json",
            Self::Events(_) => "text/event-stream; charset=utf-8",
        }
    }

    pub(super) fn into_body(self) -> Body {
        match self {
            Self::Whole(bytes) => Body::Whole(Some(bytes)),
            Self::Events(events) => Body::Events(events),
        }
    }
}

/// A response's body.
pub(super) enum Body {
    Whole(Option<Bytes>),
    Events(Events),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events.poll_next(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// A chat completion as OpenAI's API gives it, of about 1 KB.
static CHAT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = "The gate was kept by whoever could afford the lock. ".repeat(8);
    let answer = serde_json::json!({
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1_741_569_952,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null, "annotations": []},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 219, "completion_tokens": 88, "total_tokens": 307,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    });
    Bytes::from(answer.to_string())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_about_a_kilobyte() {
        assert!((900..1300).contains(&CHAT.len()), "{}", CHAT.len());
    }
}
