//! Where messages say what matters. platform.openai.com/docs/api-reference/realtime-client-events, …/realtime-server-events
//! and …/docs/guides/websocket-mode, read 2026-11.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, LazyLock};

use crate::call;
use crate::failure::ErrorKind;
use crate::json::{Paths, Value, Visit};
use crate::request::RequestMeter;
use crate::response::milliseconds;
use crate::usage::Usage;

/// Places in a client's message.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Type,
    Event,
    Model,
}

pub(super) static CLIENT: LazyLock<Paths<Asked>> = LazyLock::new(|| {
    Paths::new([
        ("type", Asked::Type),
        ("event_id", Asked::Event),
        ("model", Asked::Model),
        // Some clients wrap what they ask for.
        ("response.model", Asked::Model),
    ])
    .in_any_case()
});

/// A client's message.
#[derive(Default)]
pub(super) struct Request {
    /// It asks for a response.
    pub(super) is_create: bool,
    pub(super) event: Option<Name>,
    pub(super) model: Option<Arc<str>>,
    /// Reads what the model is given to read.
    pub(super) meter: Option<Box<RequestMeter>>,
}

impl Visit<Asked> for Request {
    fn field(&mut self, field: Asked, value: Value<'_>) {
        let Value::Text(text) = value else { return };
        match field {
            Asked::Type => self.is_create = text == "response.create",
            Asked::Event => self.event = Some(Name::of(text)),
            Asked::Model => self.model = call::model(text),
        }
    }
}

/// Places in a server's message.
#[derive(Clone, Copy)]
pub(super) enum Said {
    Type,
    Response,
    Item,
    Status,
    SessionModel,
    /// The most tokens that the session lets a response have.
    SessionBound,
    TranscriptionModel,
    Error,
    ErrorName,
    ErrorEvent,
    Count(Counter),
    /// A length of time, kept in milliseconds.
    Seconds,
}

#[derive(Clone, Copy)]
pub(super) enum Counter {
    Input,
    Output,
    CacheRead,
    CacheReadAudio,
    CacheReadImage,
    InputAudio,
    InputImage,
    OutputAudio,
}

pub(super) static SERVER: LazyLock<Paths<Said>> = LazyLock::new(|| {
    let usage = |prefix: &'static str| USAGE.iter().map(move |&(path, count)| (format!("{prefix}{path}"), count));
    let rows = PATHS.iter().map(|&(path, said)| (path.to_owned(), said));
    let counts = usage("response.usage.").chain(usage("usage."));
    Paths::new(rows.chain(counts.map(|(path, count)| (path, Said::Count(count)))))
});

const PATHS: &[(&str, Said)] = &[
    ("type", Said::Type),
    ("response.id", Said::Response),
    ("response_id", Said::Response),
    ("item_id", Said::Item),
    ("response.status", Said::Status),
    ("response.status_details.error.type", Said::ErrorName),
    ("response.status_details.error.code", Said::ErrorName),
    ("session.model", Said::SessionModel),
    ("session.max_output_tokens", Said::SessionBound),
    ("session.max_response_output_tokens", Said::SessionBound),
    // Now, and before the API was generally available.
    ("session.audio.input.transcription.model", Said::TranscriptionModel),
    ("session.input_audio_transcription.model", Said::TranscriptionModel),
    ("error", Said::Error),
    ("error.type", Said::ErrorName),
    ("error.code", Said::ErrorName),
    ("code", Said::ErrorName),
    ("error.event_id", Said::ErrorEvent),
    // Of a transcription that is billed by its length.
    ("usage.seconds", Said::Seconds),
];

/// Cached tokens are among the input's. What a transcription says is spelt alike.
const USAGE: &[(&str, Counter)] = &[
    ("input_tokens", Counter::Input),
    ("output_tokens", Counter::Output),
    ("input_token_details.cached_tokens", Counter::CacheRead),
    ("input_token_details.cached_tokens_details.audio_tokens", Counter::CacheReadAudio),
    ("input_token_details.cached_tokens_details.image_tokens", Counter::CacheReadImage),
    ("input_token_details.audio_tokens", Counter::InputAudio),
    ("input_token_details.image_tokens", Counter::InputImage),
    ("output_token_details.audio_tokens", Counter::OutputAudio),
];

/// A server's message.
#[derive(Default)]
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) response: Option<Name>,
    pub(super) item: Option<Name>,
    pub(super) has_failed: bool,
    pub(super) session_model: Option<Arc<str>>,
    pub(super) session_bound: Option<u64>,
    pub(super) transcription_model: Option<Arc<str>>,
    pub(super) error: Option<ErrorKind>,
    pub(super) error_event: Option<Name>,
    pub(super) usage: Option<Usage>,
}

/// The kinds of messages that matter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Other,
    Error,
    /// A response begins.
    Created,
    /// A response is over.
    Done,
    /// A piece of a response's content.
    Content,
    /// A piece of a transcription.
    Transcribing,
    Transcribed,
    NotTranscribed,
    /// The session was changed, as it was asked to be.
    Updated,
}

impl Kind {
    fn named(name: &str) -> Self {
        if let Some(rest) = name.strip_prefix("conversation.item.input_audio_transcription.") {
            return match rest {
                "delta" => Self::Transcribing,
                "completed" => Self::Transcribed,
                "failed" => Self::NotTranscribed,
                _ => Self::Other,
            };
        }
        match name {
            "error" => Self::Error,
            "session.updated" | "transcription_session.updated" => Self::Updated,
            "response.created" => Self::Created,
            // Realtime has one word for the end, Responses one for each.
            "response.done"
            | "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => Self::Done,
            _ => match name.rsplit_once('.') {
                Some((what, "delta")) if what.starts_with("response.") => Self::Content,
                _ => Self::Other,
            },
        }
    }
}

impl Visit<Said> for Report {
    fn field(&mut self, field: Said, value: Value<'_>) {
        match (field, value) {
            (Said::Type, Value::Text(name)) => self.kind = Kind::named(name),
            (Said::Response, Value::Text(id)) => self.response = Some(Name::of(id)),
            (Said::Item, Value::Text(id)) => self.item = Some(Name::of(id)),
            (Said::Status, Value::Text(status)) => self.has_failed = status == "failed",
            (Said::SessionBound, Value::Number(most)) => self.session_bound = Some(most),
            (Said::SessionModel, Value::Text(name)) => self.session_model = call::model(name),
            (Said::TranscriptionModel, Value::Text(name)) => self.transcription_model = call::model(name),
            (Said::Error, _) => self.has_failed = true,
            (Said::ErrorName, Value::Text(word)) => self.error_name(word),
            (Said::ErrorEvent, Value::Text(id)) => self.error_event = Some(Name::of(id)),
            (Said::Count(counter), Value::Number(n)) => self.count(counter, n),
            (Said::Seconds, value) => {
                if let Some(length) = milliseconds(value) {
                    self.usage.get_or_insert_default().audio_ms = length;
                }
            }
            _ => {}
        }
    }
}

impl Report {
    fn count(&mut self, counter: Counter, n: u64) {
        let usage = self.usage.get_or_insert_default();
        *match counter {
            Counter::Input => &mut usage.input,
            Counter::Output => &mut usage.output,
            Counter::CacheRead => &mut usage.cache_read,
            Counter::CacheReadAudio => &mut usage.cache_read_audio,
            Counter::CacheReadImage => &mut usage.cache_read_image,
            Counter::InputAudio => &mut usage.input_audio,
            Counter::InputImage => &mut usage.input_image,
            Counter::OutputAudio => &mut usage.output_audio,
        } = n;
    }

    /// Of type and code, the one that says more.
    fn error_name(&mut self, word: &str) {
        let is_vague = |kind| matches!(kind, ErrorKind::InvalidRequest | ErrorKind::ServerError | ErrorKind::Other);
        if let Some(kind) = ErrorKind::named(word)
            && self.error.is_none_or(is_vague)
        {
            self.error = Some(kind);
        }
    }
}

/// Tells ids apart without keeping them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(u64);

impl Name {
    fn of(id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Self(hasher.finish())
    }
}
