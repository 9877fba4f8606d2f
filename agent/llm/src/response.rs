//! Reads usage, model and errors from an answer as its bytes pass.

mod bill;
mod body;
mod fields;
mod headers;
mod tally;
mod total;

pub(crate) use self::tally::milliseconds;

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};
use rust_decimal::Decimal;

use self::{
    body::{Body, Finished, essence},
    tally::Tally,
};
use crate::{
    call::Api,
    coding::{Decoder, Failure},
    estimate::{Places, Sample},
    failure::ErrorKind,
    price::{Pointed, Pointers},
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
    /// What the provider says it charged for it, in US dollars. Few say; it is nobody's list price.
    pub cost: Option<Decimal>,
    /// The numbers that the operator's prices ask for.
    pub pointed: Pointed,
    /// The error the answer is, or carries: also one that arrives in a stream after a 200.
    pub error: Option<ErrorKind>,
}

/// What an answer left unsaid of its usage, to be estimated.
#[derive(Debug, Default)]
pub struct Untold {
    /// It did not say what was read.
    pub input: bool,
    /// It did not say what was written, or not its last word on it.
    pub output: bool,
    /// What was written, as far as it came. Empty when `output` is told.
    pub text: Sample,
}

impl Untold {
    /// Whether all that there is to tell was told.
    pub fn is_nothing(&self) -> bool {
        !self.input && !self.output
    }

    /// For a request of `api` that was sent and whose answer nobody waited for: what it read is owed all the same.
    pub fn unanswered(api: Api) -> Self {
        Self { input: reads_text(api), ..Self::default() }
    }
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
    /// The frames are not what their protocol says.
    Framing,
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

            Self::Framing => "framing",
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
    is_success: bool,
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
        Self { is_success: status.is_success(), status_error, reading }
    }

    /// Takes what Bedrock says in an answer's headers: the numbers that some models leave out of its body, the tier, and the kind of an
    /// error. Other providers' headers hold none of it.
    #[must_use]
    pub fn with_headers(mut self, headers: &HeaderMap) -> Self {
        if let Reading::Body(decoder) = &mut self.reading
            && let Some(body) = decoder.get_mut()
        {
            headers::read(headers, body.tally_mut());
        }
        self
    }

    /// Reads the numbers that the operator's prices ask for.
    #[must_use]
    pub fn with_pointers(mut self, pointers: &Arc<Pointers>) -> Self {
        if let Reading::Body(decoder) = &mut self.reading
            && let Some(body) = decoder.get_mut()
        {
            body.watch(pointers);
        }
        self
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Reading::Body(decoder) = &mut self.reading {
            decoder.push(bytes);
        }
    }

    /// Whether any of the text that the model writes has come.
    pub fn has_text(&self) -> bool {
        match &self.reading {
            Reading::Body(decoder) => decoder.get_ref().is_some_and(Body::has_text),
            Reading::Nothing(_) => false,
        }
    }

    /// Input and output tokens so far: the provider's numbers where it has told them, else output roughly by the text that came. Cheap.
    pub fn so_far(&self) -> (Option<u64>, Option<u64>) {
        match &self.reading {
            Reading::Body(decoder) => decoder.get_ref().map(Body::so_far).unwrap_or_default(),
            Reading::Nothing(_) => (None, None),
        }
    }

    /// The body has ended, or no more of it will come.
    pub fn finish(self) -> ResponseFacts {
        self.finish_with_untold().0
    }

    /// Like [`Self::finish`], with what is left to be estimated. Errors are not: they cost nothing.
    pub fn finish_with_untold(self) -> (ResponseFacts, Untold) {
        let decoder = match self.reading {
            Reading::Body(decoder) => decoder,
            Reading::Nothing(reason) => {
                let facts =
                    ResponseFacts { unmetered: Some(reason), error: self.status_error, ..ResponseFacts::default() };
                return (facts, Untold::default());
            }
        };
        let (body, failure) = decoder.finish();
        let Finished { tally, is_final, is_whole_document, text, pointed } = body.finish();
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
            None if tally.is_corrupt => Unmetered::Framing,
            None if is_billed(tally.api) => Unmetered::NotReported,
            None => Unmetered::Operation,
        });
        let error = match (tally.error, self.status_error) {
            (None, by_status) => by_status,
            // Some say no more in the body than that the request was at fault.
            (Some(in_body), Some(by_status)) if by_status.rank() > in_body.rank() => Some(by_status),
            (in_body, _) => in_body,
        };
        // Redirects and errors have read nothing, and an answer that cannot be decoded shows nothing to count.
        let is_countable = self.is_success && failure.is_none();
        // Who answers as a whole and tells no usage has none to tell, as for Gemini's embeddings and for work in the background.
        // Ollama's streams are documents too, and may be cut between them.
        let is_countable = is_countable && (!is_whole_document || tally.api == Api::Ollama);
        let is_untold = source != UsageSource::Provider && is_countable && (error.is_none() || !text.is_empty());
        let untold = if is_untold { untold(&tally, text) } else { Untold::default() };
        let cost = tally.cost();
        (ResponseFacts { usage, source, unmetered, model: tally.model, cost, pointed, error }, untold)
    }
}

impl fmt::Debug for ResponseMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseMeter").finish_non_exhaustive()
    }
}

/// Of an answer without final numbers: which ones are missing.
fn untold(tally: &Tally, text: Sample) -> Untold {
    // What Anthropic says at the beginning of a message is not what it will have written at the end.
    let is_provisional = matches!(tally.api, Api::Messages | Api::BedrockInvokeStream);
    let output = Places::of(tally.api).exist() && (is_provisional || !tally.has_output());
    let text = if output { text } else { Sample::default() };
    Untold { input: reads_text(tally.api) && !tally.has_input(), output, text }
}

/// Whether what a request reads is mostly the text in it.
pub(crate) fn reads_text(api: Api) -> bool {
    Places::of(api).exist() || matches!(api, Api::Embeddings | Api::EmbedContent | Api::CohereEmbed)
}

fn is_billed(api: Api) -> bool {
    !matches!(api, Api::CountTokens | Api::Unknown)
}

/// Whether a body of this type may be JSON or events. Servers mislabel both as plain text.
pub(crate) fn is_readable(content_type: &str) -> bool {
    const READABLE: [&str; 7] = [
        "application/json",
        "text/event-stream",
        "",
        "text/json",
        "text/plain",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
    ];
    let essence = essence(content_type);
    READABLE.iter().any(|readable| essence.eq_ignore_ascii_case(readable)) || is_json(essence)
}

/// Whether a body of this type is one JSON text. Clients mislabel it as plain text.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    let ending = essence.len().checked_sub(JSON.len()).and_then(|start| essence.get(start..));
    ["application/json", "text/json", "text/plain", ""].iter().any(|json| essence.eq_ignore_ascii_case(json))
        || ending.is_some_and(|ending| ending.eq_ignore_ascii_case(JSON))
}

/// How the names of types end that are JSON in particular (RFC 6839).
const JSON: &str = "+json";

#[cfg(test)]
mod tests;
