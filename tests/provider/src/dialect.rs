//! The APIs that are stood in for, and the web site beside them.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod cohere;
pub(crate) mod gemini;
pub(crate) mod general;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod site;
pub(crate) mod vertex;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::answer::Answer;
use crate::coding::Coding;
use crate::fault::Faults;
use crate::seed::Seed;

/// Whose wire format a host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI: chat completions, responses, embeddings, models. Also other compatible paths, by their ends.
    OpenAi,
    /// Azure OpenAI: deployments in the path, and a first chunk without choices.
    Azure,
    /// Mistral: OpenAI's shape, with usage in a stream's last chunk unasked.
    Mistral,
    /// DeepSeek: likewise, and with names of its own for what the cache gave.
    DeepSeek,
    /// Groq: likewise, in a place of its own.
    Groq,
    /// Anthropic: messages, token counting, models, and the extra calls of claude-code.
    Anthropic,
    /// Gemini API: generateContent, streamGenerateContent, embeddings, token counting, models.
    Gemini,
    /// Vertex AI: Gemini's models, and Anthropic's and Mistral's in their own shapes.
    Vertex,
    /// Amazon Bedrock: Converse and InvokeModel, whole and as event streams. Signatures must hold for [`AWS_KEY_ID`](crate::AWS_KEY_ID).
    Bedrock,
    /// Cohere, version 2: chat, embeddings, reranking.
    Cohere,
    /// Ollama: chat and generate as lines of JSON, embeddings.
    Ollama,
    /// A plain web site that has nothing to do with language models.
    Site,
}

impl Dialect {
    /// All of them, by the names that people type.
    pub const ALL: [(&str, Self); 12] = [
        ("openai", Self::OpenAi),
        ("azure", Self::Azure),
        ("mistral", Self::Mistral),
        ("deepseek", Self::DeepSeek),
        ("groq", Self::Groq),
        ("anthropic", Self::Anthropic),
        ("gemini", Self::Gemini),
        ("vertex", Self::Vertex),
        ("bedrock", Self::Bedrock),
        ("cohere", Self::Cohere),
        ("ollama", Self::Ollama),
        ("site", Self::Site),
    ];

    pub(crate) fn answer(self, ask: &Ask) -> Answer {
        match self {
            Self::OpenAi | Self::Azure | Self::Mistral | Self::DeepSeek | Self::Groq => openai::answer(ask),
            Self::Anthropic => anthropic::answer(ask),
            Self::Gemini => gemini::answer(ask),
            Self::Vertex => vertex::answer(ask),
            Self::Bedrock => bedrock::answer(ask),
            Self::Cohere => cohere::answer(ask),
            Self::Ollama => ollama::answer(ask),
            Self::Site => site::answer(ask),
        }
    }

    /// The error that this API answers with.
    pub(crate) fn error(self, status: StatusCode, message: &str, retry_after: Option<u64>, seed: Seed) -> Answer {
        let answer = match self {
            Self::OpenAi | Self::Azure | Self::Mistral | Self::DeepSeek | Self::Groq => {
                openai::error(status, message, seed)
            }
            Self::Anthropic => anthropic::error(status, message, seed),
            Self::Gemini | Self::Vertex => gemini::error(status, message, retry_after),
            Self::Bedrock => bedrock::error(status, message, seed),
            Self::Cohere => cohere::error(status, message, seed),
            Self::Ollama => ollama::error(status, message),
            Self::Site => Answer::new(status, "text/plain", format!("{message}\n")),
        };
        match retry_after {
            Some(seconds) => answer.header("retry-after", seconds.to_string()),
            None => answer,
        }
    }

    /// What a person gets who mistyped a fault.
    pub(crate) fn refusal(self, message: &str) -> Box<Answer> {
        Box::new(self.error(StatusCode::BAD_REQUEST, message, None, Seed([0; 32])))
    }

    pub(crate) fn has_key(self, headers: &HeaderMap, path: &str) -> bool {
        match self {
            Self::OpenAi | Self::Azure => headers.contains_key("authorization") || headers.contains_key("api-key"),
            Self::Mistral | Self::DeepSeek | Self::Groq | Self::Vertex | Self::Bedrock | Self::Cohere => {
                headers.contains_key("authorization")
            }
            Self::Anthropic => {
                let open = path == "/" || path.starts_with("/api/");
                open || headers.contains_key("x-api-key") || headers.contains_key("authorization")
            }
            Self::Gemini => {
                let query = path.split_once('?').map_or("", |(_, query)| query);
                let in_query = query.split('&').any(|pair| pair.starts_with("key="));
                in_query || headers.contains_key("x-goog-api-key") || headers.contains_key("authorization")
            }
            // A server of one's own asks for none.
            Self::Ollama | Self::Site => true,
        }
    }

    /// Content codings in this server's order of preference; all differ, so that a client meets several.
    pub(crate) fn codings(self) -> &'static [Coding] {
        match self {
            Self::OpenAi => &[Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate],
            Self::Anthropic | Self::Mistral => &[Coding::Brotli, Coding::Gzip],
            Self::Azure | Self::DeepSeek | Self::Groq | Self::Gemini | Self::Vertex | Self::Cohere => &[Coding::Gzip],
            Self::Bedrock | Self::Ollama => &[],
            Self::Site => &[Coding::Deflate, Coding::Gzip],
        }
    }
}

/// A request as a dialect sees it.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) dialect: Dialect,
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// `None` where the body is not JSON.
    pub(crate) json: Option<Value>,
    pub(crate) body_length: usize,
    /// As requested, faults included.
    pub(crate) model: Option<String>,
    pub(crate) faults: Faults,
    pub(crate) seed: Seed,
    pub(crate) coding_agent: bool,
}

impl Ask {
    pub(crate) fn new(
        dialect: Dialect,
        method: &Method,
        path: &str,
        body: &[u8],
        seed: Seed,
        coding_agent: bool,
    ) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let in_path = match dialect {
            Dialect::Gemini | Dialect::Vertex => gemini::model_in_path(path),
            Dialect::Bedrock => path.strip_prefix("/model/").and_then(|rest| rest.split('/').next()),
            Dialect::OpenAi | Dialect::Azure => {
                path.split_once("/deployments/").and_then(|(_, rest)| rest.split('/').next())
            }
            _ => None,
        };
        let in_body = || json.as_ref().and_then(|json| json["model"].as_str()).map(ToOwned::to_owned);
        let model = in_body().or_else(|| in_path.map(percent_decode));
        Self {
            dialect,
            method: method.clone(),
            path: path.to_owned(),
            query: query.to_owned(),
            body_length: body.len(),
            model,
            json,
            faults: Faults::default(),
            seed,
            coding_agent,
        }
    }

    /// The same question to a model of another name, and as a stream where `stream` says so.
    pub(crate) fn with_model(&self, model: &str, stream: Option<bool>) -> Self {
        let mut ask = self.clone();
        ask.model = Some(model.to_owned());
        if let (Some(stream), Some(Value::Object(json))) = (stream, &mut ask.json) {
            json.insert("stream".to_owned(), stream.into());
            json.insert("stream_options".to_owned(), serde_json::json!({ "include_usage": true }));
        }
        ask
    }

    /// Adds the faults that the model's name carries to those known already.
    pub(crate) fn with_faults(mut self, faults: Faults) -> Result<Self, Box<Answer>> {
        let named = match &self.model {
            Some(model) => Faults::of_model(model).map_err(|error| self.dialect.refusal(&error.to_string()))?.1,
            None => Faults::default(),
        };
        self.faults = faults.or(named);
        Ok(self)
    }

    /// The model without its faults, or a name where none was given.
    pub(crate) fn model_name(&self) -> &str {
        let model = self.model.as_deref().unwrap_or("unnamed");
        model.split_once('+').map_or(model, |(name, _)| name)
    }

    /// The body, or JSON null.
    pub(crate) fn json(&self) -> &Value {
        self.json.as_ref().unwrap_or(&Value::Null)
    }
}

/// The text of a message's content: a string, or the last of its parts that has `text`. Agents put context before it.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().rev().find_map(|part| part["text"].as_str()).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let byte = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
