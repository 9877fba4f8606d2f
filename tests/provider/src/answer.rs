//! An answer as a dialect makes it, before faults, coding and pacing.

use bytes::Bytes;
use http::StatusCode;

use crate::truth::{Said, Usage};

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
    /// What this event adds to the answer.
    pub(crate) said: Said,
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
        Self::new(text)
    }

    /// An event that says and tells nothing.
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), usage: None, said: Said::default() }
    }

    /// A line of JSON.
    pub(crate) fn line(json: &str) -> Self {
        Self::new(format!("{json}\n"))
    }

    /// Adds a piece of the answer: one token, of so many bytes. Of none, it is no piece.
    pub(crate) fn says(mut self, bytes: usize) -> Self {
        self.said.tokens += u64::from(bytes > 0);
        self.said.bytes += bytes as u64;
        self
    }

    pub(crate) fn tells(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }
}
