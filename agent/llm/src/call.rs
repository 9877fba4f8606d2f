//! What a request asks for, told from its method and path alone.
//!
//! The tables hold documented endpoints. What they do not hold is [`Operation::Other`] with [`Api::Unknown`]: counted as
//! a call with its bytes, never guessed to be something billable.

mod path;

use std::{fmt, sync::Arc};

use http::Method;

use self::path::Path;
pub(crate) use self::path::model;
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
    /// Counting tokens without generating; not billed.
    CountTokens,
    /// Anything else, from listing models to endpoints not known here.
    Other,
}

impl Operation {
    /// The value for `gen_ai.operation.name`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
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
    /// OpenAI `POST …/responses`.
    Responses,
    /// OpenAI `POST …/embeddings`.
    Embeddings,
    /// Anthropic `POST …/v1/messages`.
    Messages,
    /// Gemini `generateContent` and `streamGenerateContent`.
    GenerateContent,
    /// Gemini `embedContent` and `batchEmbedContents`.
    EmbedContent,
    /// Any provider's token counter: an answer that looks like usage and must not be billed.
    CountTokens,
    /// Not known: nothing is read from the bodies but the kind of an error.
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
    /// The model, where the path names it.
    pub model_in_path: Option<Arc<str>>,
    /// Whether the path asks for a stream, where it says so.
    pub stream_in_path: Option<bool>,
}

impl Call {
    fn new(operation: Operation, api: Api, dialect: Dialect) -> Self {
        Self { operation, api, dialect, model_in_path: None, stream_in_path: None }
    }
}

/// Identifies a request to `provider`. `path_and_query` is the request target in origin form, as sent.
pub fn identify(provider: &Provider, method: &Method, path_and_query: &str) -> Call {
    let other = || Call::new(Operation::Other, Api::Unknown, provider.dialect);
    if method != Method::POST {
        return other();
    }
    let Some(path) = Path::parse(path_and_query) else { return other() };
    let segments = path.segments();
    gemini(&segments).or_else(|| anthropic(&segments)).or_else(|| openai(&segments)).unwrap_or_else(other)
}

/// `…/v1beta/models/{model}:{method}`, `tunedModels/…` likewise.
fn gemini(segments: &[&str]) -> Option<Call> {
    let [.., version, collection, last] = segments else { return None };
    if !matches!(*version, "v1" | "v1beta" | "v1alpha" | "v1beta1") || !matches!(*collection, "models" | "tunedModels")
    {
        return None;
    }
    let (model, method) = last.rsplit_once(':')?;
    let (operation, api, stream) = match method {
        "generateContent" => (Operation::GenerateContent, Api::GenerateContent, Some(false)),
        "streamGenerateContent" => (Operation::GenerateContent, Api::GenerateContent, Some(true)),
        "embedContent" | "batchEmbedContents" => (Operation::Embeddings, Api::EmbedContent, Some(false)),
        "countTokens" => (Operation::CountTokens, Api::CountTokens, Some(false)),
        _ => return None,
    };
    Some(Call {
        model_in_path: Some(path::model(model)?),
        stream_in_path: stream,
        ..Call::new(operation, api, Dialect::Gemini)
    })
}

/// `…/v1/messages`, with the version, because OpenAI's threads have messages too.
fn anthropic(segments: &[&str]) -> Option<Call> {
    match segments {
        [.., "v1", "messages"] => Some(Call::new(Operation::Chat, Api::Messages, Dialect::Anthropic)),
        [.., "v1", "messages", "count_tokens"] => {
            Some(Call::new(Operation::CountTokens, Api::CountTokens, Dialect::Anthropic))
        }
        _ => None,
    }
}

/// OpenAI's endpoints under any prefix, as the many compatible servers have them. Azure's deployments name the model.
fn openai(segments: &[&str]) -> Option<Call> {
    let (prefix, operation, api) = match segments {
        [prefix @ .., "chat", "completions"] => (prefix, Operation::Chat, Api::ChatCompletions),
        [prefix @ .., "completions"] => (prefix, Operation::TextCompletion, Api::Completions),
        [prefix @ .., "embeddings"] => (prefix, Operation::Embeddings, Api::Embeddings),
        // Compaction answers with a billed usage of the same shape.
        [prefix @ .., "responses"] | [prefix @ .., "responses", "compact"] => (prefix, Operation::Chat, Api::Responses),
        [prefix @ .., "responses", "input_tokens"] => (prefix, Operation::CountTokens, Api::CountTokens),
        _ => return None,
    };
    let model_in_path = match prefix {
        [.., "deployments", deployment] => Some(model(deployment)?),
        // A bare `/completions` says too little without a version or a prefix known to be one.
        [] if api != Api::ChatCompletions => return None,
        _ => None,
    };
    Some(Call { model_in_path, ..Call::new(operation, api, Dialect::OpenAi) })
}

#[cfg(test)]
mod tests;
