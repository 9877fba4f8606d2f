//! What a request asks for, told from its method and path alone.
//!
//! The tables hold documented endpoints. What they do not hold is [`Operation::Other`] with [`Api::Unknown`]: counted as
//! a call with its bytes, never guessed to be something billable.

mod path;
mod routes;

use std::{fmt, sync::Arc};

use http::Method;

pub(crate) use self::path::model;
use self::path::{Path, walked};
use crate::catalogue::{Dialect, Provider};

/// What is asked of the model, in OpenTelemetry's words (`gen_ai.operation.name`) where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A conversation, in whichever of the chat-like APIs.
    Chat,
    /// The older completion of a plain text.
    TextCompletion,
    /// Gemini's `generateContent`, which has a name of its own in the conventions.
    GenerateContent,
    /// Vectors for texts.
    Embeddings,
    /// Documents put in order by how well they answer.
    Rerank,
    /// Images made or edited.
    Image,
    /// Text to sound.
    Speech,
    /// Sound to text, in its own language or another.
    Transcription,
    /// A verdict on a text or image.
    Moderation,
    /// Text read off pages.
    Ocr,
    /// A conversation by sound over one long connection.
    Realtime,
    /// A WebSocket on which calls are made that are exchanges of their own. It costs nothing itself.
    Session,
    /// Work handed in to be done later. Its results are fetched by other calls, any number of times.
    Batch,
    /// A file handed in.
    File,
    /// A model to be trained further.
    FineTuning,
    /// Counting tokens without generating; not billed.
    CountTokens,
    /// Anything else, from listing models to endpoints not known here.
    Other,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Chat,
        Self::TextCompletion,
        Self::GenerateContent,
        Self::Embeddings,
        Self::Rerank,
        Self::Image,
        Self::Speech,
        Self::Transcription,
        Self::Moderation,
        Self::Ocr,
        Self::Realtime,
        Self::Session,
        Self::Batch,
        Self::File,
        Self::FineTuning,
        Self::CountTokens,
        Self::Other,
    ];

    /// The value for `gen_ai.operation.name`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Moderation => "moderation",
            Self::Ocr => "ocr",
            Self::Realtime => "realtime",
            Self::Session => "session",
            Self::Batch => "batch",
            Self::File => "file",
            Self::FineTuning => "fine_tuning",
            Self::CountTokens => "count_tokens",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The shape of request and answer, which decides where model and usage stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI `POST …/chat/completions`.
    ChatCompletions,
    /// OpenAI `POST …/completions`.
    Completions,
    /// OpenAI `POST …/responses`, and the same events over a WebSocket.
    Responses,
    /// OpenAI `GET …/realtime`, a WebSocket.
    Realtime,
    /// OpenAI `POST …/embeddings`, and who else answers in its shape.
    Embeddings,
    /// OpenAI `POST …/images/{generations,edits,variations}`.
    Images,
    /// OpenAI `POST …/audio/speech`.
    Speech,
    /// OpenAI `POST …/audio/{transcriptions,translations}`.
    Transcription,
    /// OpenAI `POST …/moderations`.
    Moderations,
    /// Anthropic `POST …/v1/messages`.
    Messages,
    /// Gemini and Vertex `generateContent` and `streamGenerateContent`.
    GenerateContent,
    /// Gemini and Vertex `embedContent` and `batchEmbedContents`.
    EmbedContent,
    /// Vertex `predict`, for embeddings and images.
    Predict,
    /// Bedrock `POST /model/{id}/invoke`: the model's own body.
    BedrockInvoke,
    /// Bedrock `POST /model/{id}/invoke-with-response-stream`: the model's own events in AWS's frames.
    BedrockInvokeStream,
    /// Bedrock `POST /model/{id}/converse`.
    BedrockConverse,
    /// Bedrock `POST /model/{id}/converse-stream`.
    BedrockConverseStream,
    /// Cohere `POST /v1/chat` and `/v2/chat`.
    CohereChat,
    /// Cohere `POST /v1/embed` and `/v2/embed`.
    CohereEmbed,
    /// `POST …/rerank` of Cohere, Jina, Voyage and who follows them.
    Rerank,
    /// Mistral `POST /v1/ocr`.
    Ocr,
    /// Mistral `POST /v1/conversations`.
    Conversations,
    /// Ollama `POST /api/{chat,generate,embed}`.
    Ollama,
    /// Any provider's token counter: an answer that looks like usage and must not be billed.
    CountTokens,
    /// Not known, or of an operation that reports nothing when it is called: nothing is read from the bodies but the
    /// kind of an error.
    Unknown,
}

/// One request, identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub operation: Operation,
    /// How it is asked.
    pub api: Api,
    /// The dialect the caller speaks, hence the one to answer in. Usually the provider's, but the path decides: Gemini
    /// and Anthropic also serve OpenAI's API.
    pub dialect: Dialect,
    /// The model, where the path or query names it.
    pub model_in_path: Option<Arc<str>>,
    /// Whether the path asks for a stream, where it says so.
    pub stream_in_path: Option<bool>,
    /// It asks for a WebSocket, and without one it is nothing that generates.
    pub is_websocket: bool,
}

impl Call {
    fn new(operation: Operation, api: Api, dialect: Dialect) -> Self {
        Self { operation, api, dialect, model_in_path: None, stream_in_path: None, is_websocket: false }
    }
}

/// Identifies a request to `provider`. `path_and_query` is the request target in origin form, as sent.
pub fn identify(provider: &Provider, method: &Method, path_and_query: &str) -> Call {
    let other = || Call::new(Operation::Other, Api::Unknown, provider.dialect);
    if !may_call(method) {
        return other();
    }
    let Some(path) = Path::parse(path_and_query) else { return other() };
    let segments = path.segments();
    let found = find(provider, method, &path, &segments);
    found.or_else(|| find_in_lower_case(provider, method, &path, &segments)).unwrap_or_else(other)
}

/// Whether a server may take a request for a call that [`identify`] does not see in it, or for one of another model: its path walks up
/// or hides a separator, or its query names several models. To be asked before something is decided on.
pub fn is_ambiguous(provider: &Provider, method: &Method, path_and_query: &str) -> bool {
    if !may_call(method) {
        return false;
    }
    if let Some(path) = Path::parse(path_and_query)
        && let Some(call) = find(provider, method, &path, &path.segments())
    {
        return call.is_websocket && !path.says_once(&["model", "deployment"]);
    }
    let (Some(root), Some(segments)) = (Path::parse("/"), walked(path_and_query)) else { return false };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let found = find(provider, method, &root, &segments);
    found.or_else(|| find_in_lower_case(provider, method, &root, &segments)).is_some()
}

/// A WebSocket is a GET over HTTP/1.1 and a CONNECT over HTTP/2 (RFC 8441).
fn is_websocket(method: &Method) -> bool {
    *method == Method::GET || *method == Method::CONNECT
}

fn may_call(method: &Method) -> bool {
    is_websocket(method) || *method == Method::POST
}

fn find(provider: &Provider, method: &Method, path: &Path<'_>, segments: &[&str]) -> Option<Call> {
    if !provider.serves(segments) {
        return None;
    }
    if is_websocket(method) { routes::websocket(path, segments) } else { routes::post(provider.dialect, segments) }
}

/// Some servers, Azure's among them, do not mind the case of a path.
fn find_in_lower_case(provider: &Provider, method: &Method, path: &Path<'_>, segments: &[&str]) -> Option<Call> {
    if !segments.iter().any(|segment| segment.bytes().any(|byte| byte.is_ascii_uppercase())) {
        return None;
    }
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    find(provider, method, path, &lower.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
