//! Streamed answers: chat completion chunks of a realistic size, at full speed or paced, each with its number and the time it was
//! made, so that whoever reads them far away can tell delays and losses. Then usage if asked, and the end.
//!
//! A request says how many it wants and how fast in fields that every gateway passes on: `max_tokens` is the number of
//! events, `seed` the microseconds between two of them (0 is full speed).

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use memchr::memmem;
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::stamp;

/// Events of a stream whose request does not say.
const EVENTS: u32 = 500;

const HEAD: &str = r#"data: {"id":"chatcmpl-CUq0kDqAsk5rJAJkbLXlQ7n2XhYp4","object":"chat.completion.chunk","created":1763856000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[{"index":0,"delta":{"content":""#;
const TAIL: &str = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const STOP: &str = concat!(
    r#"data: {"id":"chatcmpl-CUq0kDqAsk5rJAJkbLXlQ7n2XhYp4","object":"chat.completion.chunk","created":1763856000,"#,
    r#""model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","#,
    r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
    "\n\n"
);
const DONE: &str = "data: [DONE]\n\n";

/// What a request for a stream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// How many chunks with text.
    events: u32,
    /// The time between two of them.
    pace: Duration,
    /// Whether a chunk with the usage comes last.
    usage: bool,
}

/// What of a request decides.
#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    stream: bool,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    seed: Option<u64>,
    stream_options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    include_usage: bool,
}

impl Plan {
    /// Reads a request's body. None where it asks for no stream, or is longer than was kept.
    fn of(body: &[u8]) -> Option<Self> {
        // Most requests of the benchmark do not say the word, and those are the ones that must be cheap.
        memmem::find(body, b"\"stream\"")?;
        let request: Request = serde_json::from_slice(body).ok()?;
        request.stream.then(|| Self {
            events: request.max_tokens.or(request.max_completion_tokens).unwrap_or(EVENTS),
            pace: Duration::from_micros(request.seed.unwrap_or(0)),
            usage: request.stream_options.is_some_and(|options| options.include_usage),
        })
    }
}

/// A stream that is being sent: each event is made when it is due, and leaves before the next is made.
pub(in crate::origin) struct Events {
    plan: Plan,
    sent: u32,
    stage: Stage,
    /// When the next event is due, where they are paced.
    due: Option<Pin<Box<Sleep>>>,
    /// Whether the last frame has had its turn to leave.
    flushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Text,
    Stop,
    Usage,
    Done,
    Over,
}

impl Events {
    /// The events that a request asks for; none where it asks for a whole answer.
    pub(super) fn asked_by(body: &[u8]) -> Option<Self> {
        Plan::of(body).map(Self::new)
    }

    /// The first leaves at once.
    fn new(plan: Plan) -> Self {
        let stage = if plan.events == 0 { Stage::Stop } else { Stage::Text };
        let due = (!plan.pace.is_zero()).then(|| Box::pin(sleep_until(Instant::now())));
        Self { plan, sent: 0, stage, due, flushed: true }
    }

    /// The next event, each for a frame of its own.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.stage == Stage::Text {
            if let Some(due) = &mut self.due {
                if due.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                // From one due time to the next, so that lateness does not add up.
                let next = due.deadline() + self.plan.pace;
                due.as_mut().reset(next.max(Instant::now()));
            } else if !self.flushed {
                // Providers flush each event. A server writes what it has when its body has nothing for it.
                self.flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.flushed = false;
        }
        Poll::Ready(self.event())
    }

    /// Stamped now; none after the last.
    fn event(&mut self) -> Option<Bytes> {
        let (event, next) = match self.stage {
            Stage::Text => {
                let event = text(self.sent);
                self.sent += 1;
                (event, if self.sent == self.plan.events { Stage::Stop } else { Stage::Text })
            }
            Stage::Stop => (STOP.into(), if self.plan.usage { Stage::Usage } else { Stage::Done }),
            Stage::Usage => (usage(self.plan.events), Stage::Done),
            Stage::Done => (Bytes::from_static(DONE.as_bytes()), Stage::Over),
            Stage::Over => return None,
        };
        self.stage = next;
        Some(event)
    }
}

fn text(number: u32) -> Bytes {
    let mut event = BytesMut::with_capacity(HEAD.len() + stamp::LENGTH + TAIL.len());
    event.put_slice(HEAD.as_bytes());
    event.put_slice(&stamp::write(number, stamp::now()));
    event.put_slice(TAIL.as_bytes());
    event.freeze()
}

fn usage(events: u32) -> Bytes {
    let total = u64::from(events) + 12;
    format!(
        concat!(
            r#"data: {{"id":"chatcmpl-CUq0kDqAsk5rJAJkbLXlQ7n2XhYp4","object":"chat.completion.chunk","created":1763856000,"#,
            r#""model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[],"#,
            r#""usage":{{"prompt_tokens":12,"completion_tokens":{},"total_tokens":{}}}}}"#,
            "\n\n"
        ),
        events, total
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(plan: Plan) -> String {
        let (mut events, mut text) = (Events::new(plan), String::new());
        while let Some(event) = std::future::poll_fn(|context| events.poll_next(context)).await {
            text += std::str::from_utf8(&event).unwrap();
        }
        text
    }

    #[test]
    fn a_stream_is_sent_only_when_it_is_asked_for() {
        assert_eq!(Plan::of(br#"{"model":"m","stream":false}"#), None);
        assert_eq!(Plan::of(br#"{"model":"m"}"#), None);
    }

    #[test]
    fn a_request_says_how_many_and_how_fast() {
        let asked =
            br#"{"model":"m","stream":true,"max_tokens":7,"seed":20000,"stream_options":{"include_usage":true}}"#;
        let plan = Plan { events: 7, pace: Duration::from_millis(20), usage: true };
        assert_eq!(Plan::of(asked), Some(plan));
        assert_eq!(Plan::of(br#"{"stream":true}"#).unwrap().events, EVENTS);
        assert_eq!(Plan::of(br#"{"model":"m","max_tokens":7}"#), None);
        assert_eq!(Plan::of(b"not JSON"), None);
    }

    #[tokio::test]
    async fn a_stream_has_each_event_once_then_usage_and_done() {
        let text = all(Plan { events: 3, pace: Duration::ZERO, usage: true }).await;
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        assert_eq!(events.len(), 6);
        for (number, event) in events[..3].iter().enumerate() {
            assert_eq!(stamp::read(event.as_bytes()).map(|(read, _)| read as usize), Some(number));
            assert!((240..320).contains(&event.len()), "{} bytes", event.len());
        }
        for event in &events[..5] {
            let json: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(json["object"], "chat.completion.chunk");
        }
        assert!(events[4].contains(r#""completion_tokens":3"#));
        assert_eq!(events[5], "data: [DONE]");
        assert!(!all(Plan { events: 1, pace: Duration::ZERO, usage: false }).await.contains("usage"));
    }

    #[tokio::test]
    async fn a_paced_stream_is_whole() {
        let text = all(Plan { events: 4, pace: Duration::from_micros(100), usage: false }).await;
        assert_eq!(text.matches("data: ").count(), 6);
    }
}
