//! Which endpoint a path is, dialect by dialect. Prefixes are free, because gateways and private servers add their own;
//! what tells an endpoint is the end of its path.

use std::sync::Arc;

use super::{Api, Call, Operation, path::Path, path::model};
use crate::catalogue::Dialect;

/// A request that opens a WebSocket.
pub(super) fn websocket(path: &Path<'_>, segments: &[&str]) -> Option<Call> {
    let (operation, api) = match segments {
        [.., "realtime"] => (Operation::Realtime, Api::Realtime),
        [.., "responses"] => (Operation::Chat, Api::Responses),
        _ => return None,
    };
    // Azure's realtime names a deployment, everybody else's a model.
    let named = || path.parameter("model").or_else(|| path.parameter("deployment"));
    let model_in_path = if api == Api::Realtime { named().and_then(|name| model(&name)) } else { None };
    Some(Call { model_in_path, is_websocket: true, ..Call::new(operation, api, Dialect::OpenAi) })
}

/// A `POST`. `dialect` is the provider's own, which decides where paths of several look alike.
pub(super) fn post(dialect: Dialect, segments: &[&str]) -> Option<Call> {
    vertex(segments)
        .or_else(|| gemini(segments))
        .or_else(|| bedrock(segments))
        .or_else(|| anthropic(segments))
        .or_else(|| cohere(dialect, segments))
        .or_else(|| ollama(dialect, segments))
        .or_else(|| platform(segments))
        .or_else(|| openai(dialect, segments))
}

/// `…/publishers/{publisher}/models/{model}:{method}`: whose model it is decides what is spoken.
/// cloud.google.com/vertex-ai/generative-ai/docs/partner-models.
fn vertex(segments: &[&str]) -> Option<Call> {
    let [.., "publishers", publisher, "models", last] = segments else { return None };
    let (name, method) = last.rsplit_once(':')?;
    let stream = match method {
        "rawPredict" => false,
        "streamRawPredict" => true,
        _ => return google(name, method),
    };
    let (operation, api, dialect) = match *publisher {
        // Claude's token counter poses as a model.
        "anthropic" if name == "count-tokens" => {
            return Some(Call::new(Operation::CountTokens, Api::CountTokens, Dialect::Anthropic));
        }
        "anthropic" => (Operation::Chat, Api::Messages, Dialect::Anthropic),
        "mistralai" if name.starts_with("mistral-ocr") => (Operation::Ocr, Api::Ocr, Dialect::Mistral),
        "mistralai" => (Operation::Chat, Api::ChatCompletions, Dialect::Mistral),
        "meta" | "ai21" | "deepseek-ai" | "qwen" | "openai" | "moonshotai" | "minimaxai" | "zai-org" | "xai" => {
            (Operation::Chat, Api::ChatCompletions, Dialect::OpenAi)
        }
        _ => return None,
    };
    in_path(operation, api, dialect, name, Some(stream))
}

/// `…/v1beta/models/{model}:{method}`, `tunedModels/…` likewise, and Vertex's endpoints of tuned models.
fn gemini(segments: &[&str]) -> Option<Call> {
    let [.., before, collection, last] = segments else { return None };
    let is_version = matches!(*before, "v1" | "v1beta" | "v1alpha" | "v1beta1");
    let is_endpoint = *collection == "endpoints" && matches!(segments, [.., "locations", _, _, _]);
    if !(is_version && matches!(*collection, "models" | "tunedModels") || is_endpoint) {
        return None;
    }
    let (name, method) = last.rsplit_once(':')?;
    // What a private endpoint predicts is anything.
    if is_endpoint && method == "predict" { None } else { google(name, method) }
}

/// ai.google.dev/api and cloud.google.com/vertex-ai/docs/reference/rest.
fn google(name: &str, method: &str) -> Option<Call> {
    let (operation, api, stream) = match method {
        "generateContent" => (Operation::GenerateContent, Api::GenerateContent, Some(false)),
        "streamGenerateContent" => (Operation::GenerateContent, Api::GenerateContent, Some(true)),
        "embedContent" | "batchEmbedContents" => (Operation::Embeddings, Api::EmbedContent, Some(false)),
        "predict" if name.starts_with("imagen") || name.starts_with("imagegeneration") => {
            (Operation::Image, Api::Predict, Some(false))
        }
        "predict" => (Operation::Embeddings, Api::Predict, Some(false)),
        "countTokens" => (Operation::CountTokens, Api::CountTokens, Some(false)),
        "batchGenerateContent" | "asyncBatchEmbedContent" => (Operation::Batch, Api::Unknown, Some(false)),
        _ => return None,
    };
    in_path(operation, api, Dialect::Gemini, name, stream)
}

/// `/model/{id}/{action}`: docs.aws.amazon.com/bedrock/latest/APIReference.
fn bedrock(segments: &[&str]) -> Option<Call> {
    let [.., "model", id, action] = segments else { return None };
    let (api, stream) = match *action {
        "invoke" => (Api::BedrockInvoke, false),
        "invoke-with-response-stream" => (Api::BedrockInvokeStream, true),
        "converse" => (Api::BedrockConverse, false),
        "converse-stream" => (Api::BedrockConverseStream, true),
        "count-tokens" => (Api::CountTokens, false),
        _ => return None,
    };
    let id = model_of_arn(id);
    let is_invoke = matches!(api, Api::BedrockInvoke | Api::BedrockInvokeStream);
    let operation = match id {
        _ if api == Api::CountTokens => Operation::CountTokens,
        _ if !is_invoke => Operation::Chat,
        id if id.contains("embed") => Operation::Embeddings,
        id if id.contains("rerank") => Operation::Rerank,
        id if id.contains("image") || id.contains("stability.") || id.contains("canvas") => Operation::Image,
        _ => Operation::Chat,
    };
    in_path(operation, api, Dialect::Bedrock, id, Some(stream))
}

/// The model of an ARN without account and region. A profile or throughput of the user's own is named with its kind.
fn model_of_arn(id: &str) -> &str {
    if !id.starts_with("arn:") {
        return id;
    }
    let resource = id.splitn(6, ':').nth(5).unwrap_or(id);
    let known = |kind| resource.strip_prefix(kind);
    known("foundation-model/").or_else(|| known("inference-profile/")).unwrap_or(resource)
}

/// `…/v1/messages`, with the version, because OpenAI's threads have messages too.
fn anthropic(segments: &[&str]) -> Option<Call> {
    let (operation, api) = match segments {
        [.., "v1", "messages"] => (Operation::Chat, Api::Messages),
        [.., "v1", "messages", "count_tokens"] => (Operation::CountTokens, Api::CountTokens),
        [.., "v1", "messages", "batches"] => (Operation::Batch, Api::Unknown),
        _ => return None,
    };
    Some(Call::new(operation, api, Dialect::Anthropic))
}

/// docs.cohere.com/reference. `chat` and `embed` are too common as words to be believed of other providers, unless a
/// gateway names Cohere in the path.
fn cohere(dialect: Dialect, segments: &[&str]) -> Option<Call> {
    let is_cohere = dialect == Dialect::Cohere || segments.contains(&"cohere");
    let (operation, api) = match segments {
        [.., "v1" | "v2", "chat"] if is_cohere => (Operation::Chat, Api::CohereChat),
        [.., "v1" | "v2", "embed"] if is_cohere => (Operation::Embeddings, Api::CohereEmbed),
        [.., "rerank"] => (Operation::Rerank, Api::Rerank),
        _ => return None,
    };
    Some(Call::new(operation, api, if is_cohere { Dialect::Cohere } else { Dialect::OpenAi }))
}

/// docs.ollama.com/api.
fn ollama(dialect: Dialect, segments: &[&str]) -> Option<Call> {
    if dialect != Dialect::Ollama {
        return None;
    }
    let operation = match segments {
        [.., "api", "chat"] => Operation::Chat,
        [.., "api", "generate"] => Operation::TextCompletion,
        [.., "api", "embed" | "embeddings"] => Operation::Embeddings,
        _ => return None,
    };
    Some(Call::new(operation, Api::Ollama, Dialect::Ollama))
}

/// Platforms that put chat in OpenAI's shape under paths of their own.
fn platform(segments: &[&str]) -> Option<Call> {
    let chat = |name: Option<Arc<str>>| Call {
        model_in_path: name,
        ..Call::new(Operation::Chat, Api::ChatCompletions, Dialect::OpenAi)
    };
    match segments {
        // docs.databricks.com/machine-learning/foundation-model-apis/api-reference
        ["serving-endpoints", name, "invocations"] => Some(chat(Some(model(name)?))),
        // docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api
        // and cloud.ibm.com/apidocs/watsonx-ai
        ["api", "v2", "cortex", "inference:complete"] | [.., "ml", "v1", "text", "chat" | "chat_stream"] => {
            Some(chat(None))
        }
        // developers.cloudflare.com/workers-ai: the model's name has slashes, `@cf/meta/llama-3.1-8b-instruct`.
        _ => {
            let start = segments.iter().position(|segment| matches!(*segment, "@cf" | "@hf"))?;
            let is_run = matches!(segments[..start], [.., "ai", "run"] | [.., "workers-ai"]);
            if is_run { Some(chat(Some(model(&segments[start..].join("/"))?))) } else { None }
        }
    }
}

/// OpenAI's endpoints under any prefix, as the many compatible servers have them. Azure's deployments name the model.
fn openai(dialect: Dialect, segments: &[&str]) -> Option<Call> {
    use Operation::{
        Batch, Chat, CountTokens, Embeddings, File, FineTuning, Image, Moderation, Ocr, Speech, TextCompletion,
        Transcription,
    };
    let (prefix, operation, api) = match segments {
        [prefix @ .., "chat" | "agents", "completions"] => (prefix, Chat, Api::ChatCompletions),
        // A bare `/completions` says too little without a version or a prefix known to be one.
        ["completions"] => return None,
        [prefix @ .., "completions"] => (prefix, TextCompletion, Api::Completions),
        [prefix @ .., "embeddings" | "multimodalembeddings" | "contextualizedembeddings"] => {
            (prefix, Embeddings, Api::Embeddings)
        }
        // Compaction answers with a billed usage of the same shape.
        [prefix @ .., "responses"] | [prefix @ .., "responses", "compact"] => (prefix, Chat, Api::Responses),
        [prefix @ .., "responses", "input_tokens"] => (prefix, CountTokens, Api::CountTokens),
        [prefix @ .., "images", "generations" | "edits" | "variations"] => (prefix, Image, Api::Images),
        [prefix @ .., "audio", "speech"] => (prefix, Speech, Api::Speech),
        [prefix @ .., "audio", "transcriptions" | "translations"] => (prefix, Transcription, Api::Transcription),
        [prefix @ .., "moderations"] => (prefix, Moderation, Api::Moderations),
        [prefix @ .., "v1", "ocr"] => (prefix, Ocr, Api::Ocr),
        [prefix @ .., "v1", "conversations"] | [prefix @ .., "v1", "conversations", _]
            if dialect == Dialect::Mistral =>
        {
            (prefix, Chat, Api::Conversations)
        }
        [prefix @ .., "batches"] | [prefix @ .., "batch", "jobs"] => (prefix, Batch, Api::Unknown),
        [prefix @ .., "files"] => (prefix, File, Api::Unknown),
        [prefix @ .., "fine_tuning", "jobs"] => (prefix, FineTuning, Api::Unknown),
        _ => return None,
    };
    let model_in_path = match prefix {
        [.., "deployments", deployment] => Some(model(deployment)?),
        _ => None,
    };
    let dialect = if dialect == Dialect::Mistral { dialect } else { Dialect::OpenAi };
    Some(Call { model_in_path, ..Call::new(operation, api, dialect) })
}

fn in_path(operation: Operation, api: Api, dialect: Dialect, name: &str, stream: Option<bool>) -> Option<Call> {
    Some(Call { model_in_path: Some(model(name)?), stream_in_path: stream, ..Call::new(operation, api, dialect) })
}
