//! An answer as a dialect makes it, before faults, coding and pacing.

use bytes::Bytes;
use http::StatusCode;

use crate::truth::Usage;

/// A response made from the request alone; equal requests share it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content: Content,
    /// The model the response names.
    pub(crate) model: Option<String>,
    /// What the whole response tells.
    pub(crate) usage: Option<Usage>,
    /// The event that reports an error inside a stream.
    pub(crate) error_event: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    Events(Vec<Event>),
    /// Incompressible bytes from a seed, made as they are sent, `chunk` at a time.
    Random {
        seed: u64,
        length: u64,
        chunk: usize,
    },
}

/// One piece that a provider writes at once.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) bytes: Bytes,
    /// Usage as all bytes up to here tell it, where this event changes it.
    pub(crate) usage: Option<Usage>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            content: Content::Whole(body.into()),
            model: None,
            usage: None,
            error_event: Bytes::new(),
        }
    }

    pub(crate) fn stream(content_type: &str, events: Vec<Event>) -> Self {
        let mut answer = Self::new(StatusCode::OK, content_type, "");
        answer.usage = events.iter().rev().find_map(|event| event.usage);
        answer.content = Content::Events(events);
        answer
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    pub(crate) fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Events(_))
    }
}

impl Event {
    /// A server-sent event, with or without a name.
    pub(crate) fn sse(name: Option<&str>, data: &str) -> Self {
        let text = match name {
            Some(name) => format!("event: {name}\ndata: {data}\n\n"),
            None => format!("data: {data}\n\n"),
        };
        Self { bytes: text.into(), usage: None }
    }

    pub(crate) fn tells(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }
}
