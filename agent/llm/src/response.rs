//! Reads usage, model and errors from an answer as its bytes pass.

mod body;
mod fields;
mod tally;
mod total;

use std::{fmt, sync::Arc};

use http::StatusCode;

use self::body::{Body, essence};
use crate::{
    call::Api,
    coding::{Decoder, Failure},
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
    status_error: Option<ErrorKind>,
    reading: Reading,
}

enum Reading {
    Body(Box<Decoder<Body>>),
    Nothing(Unmetered),
}

impl ResponseMeter {
    /// For an answer to a request of `api`, with the values of its `content-type` and `content-encoding` headers.
    pub fn new(api: Api, status: StatusCode, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let status_error = ErrorKind::from_status(status);
        let reading = if !is_billed(api) && status_error.is_none() {
            Reading::Nothing(Unmetered::Operation)
        } else if !content_type.is_none_or(is_readable) {
            Reading::Nothing(Unmetered::ContentType)
        } else {
            Reading::Body(Box::new(Decoder::new(content_encoding, Body::new(api, status, content_type))))
        };
        Self { status_error, reading }
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Reading::Body(decoder) = &mut self.reading {
            decoder.push(bytes);
        }
    }

    /// The body has ended, or no more of it will come.
    pub fn finish(self) -> ResponseFacts {
        let decoder = match self.reading {
            Reading::Body(decoder) => decoder,
            Reading::Nothing(reason) => {
                return ResponseFacts { unmetered: Some(reason), error: self.status_error, ..ResponseFacts::default() };
            }
        };
        let (body, failure) = decoder.finish();
        let (tally, is_final) = body.finish();
        let usage = tally.usage();
        let source = match usage {
            Some(_) if is_final => UsageSource::Provider,
            Some(_) => UsageSource::Partial,
            None => UsageSource::None,
        };
        let unmetered = (source != UsageSource::Provider).then_some(match failure {
            Some(Failure::Unknown) => Unmetered::UnknownCoding,
            Some(Failure::Corrupt) => Unmetered::CorruptCoding,
            Some(Failure::TooDense) => Unmetered::TooDense,
            None if is_billed(tally.api) => Unmetered::NotReported,
            None => Unmetered::Operation,
        });
        let error = match (tally.error, self.status_error) {
            (Some(ErrorKind::Other) | None, Some(by_status)) => Some(by_status),
            (in_body, _) => in_body,
        };
        ResponseFacts { usage, source, unmetered, model: tally.model, error }
    }
}

impl fmt::Debug for ResponseMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseMeter").finish_non_exhaustive()
    }
}

fn is_billed(api: Api) -> bool {
    !matches!(api, Api::CountTokens | Api::Unknown)
}

/// Whether a body of this type may be JSON or events. Servers mislabel both as plain text.
pub(crate) fn is_readable(content_type: &str) -> bool {
    let essence = essence(content_type).to_ascii_lowercase();
    matches!(
        essence.as_str(),
        "" | "application/json" | "text/json" | "text/plain" | "text/event-stream" | "application/x-ndjson"
    ) || essence.ends_with("+json")
}

#[cfg(test)]
mod tests;
