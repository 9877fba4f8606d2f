//! Reads usage, model and errors from an answer as its bytes pass.

use std::{fmt, sync::Arc};

use http::StatusCode;

use crate::{
    call::Api,
    failure::ErrorKind,
    usage::{Usage, UsageSource},
};

/// What an answer told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseFacts {
    /// What was consumed, as far as the provider said. `None`, not zero, when it said nothing.
    pub usage: Option<Usage>,
    /// How final `usage` is.
    pub source: UsageSource,
    /// Why there are no final numbers; `None` when `source` is [`UsageSource::Provider`].
    pub unmetered: Option<Unmetered>,
    /// The model that answered.
    pub model: Option<Arc<str>>,
    /// The error the answer is, or carries: also one that arrives in a stream after a 200.
    pub error: Option<ErrorKind>,
}

/// Why an exchange has no final count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unmetered {
    /// The operation is not billed or not known.
    Operation,
    /// The provider sent no usage, or the answer ended before it.
    NotReported,
    /// The body is of a type that holds no usage.
    ContentType,
    /// A content coding that is not known here.
    UnknownCoding,
    /// The body does not decode as its content coding says.
    CorruptCoding,
    /// The body expands beyond reason, and decoding was stopped.
    TooDense,
}

impl Unmetered {
    /// The reason's name for records and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::NotReported => "not_reported",
            Self::ContentType => "content_type",
            Self::UnknownCoding => "unknown_coding",
            Self::CorruptCoding => "corrupt_coding",
            Self::TooDense => "too_dense",
        }
    }
}

impl fmt::Display for Unmetered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Watches one response body. Memory is bounded whatever the body's size; nothing of the content is kept.
pub struct ResponseMeter {
    facts: ResponseFacts,
}

impl ResponseMeter {
    /// For an answer to a request of `api`, with the values of its `content-type` and `content-encoding` headers.
    pub fn new(_api: Api, status: StatusCode, _content_type: Option<&str>, _content_encoding: Option<&str>) -> Self {
        Self { facts: ResponseFacts { error: ErrorKind::from_status(status), ..ResponseFacts::default() } }
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub fn push(&mut self, _bytes: &[u8]) {}

    /// The body has ended, or no more of it will come.
    pub fn finish(self) -> ResponseFacts {
        self.facts
    }
}

impl fmt::Debug for ResponseMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseMeter").finish_non_exhaustive()
    }
}
