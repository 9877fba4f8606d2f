//! The Gemini API, `v1` and `v1beta`.

mod generate;

use http::{Method, StatusCode};
use serde_json::Value;

use super::Ask;
use super::openai::vector;
use crate::answer::Answer;
use crate::json::{Raw, obj};

const JSON: &str = "application/json; charset=UTF-8";

pub(crate) fn answer(ask: &Ask) -> Answer {
    let verb = ask.path.rsplit_once(':').map(|(_, verb)| verb);
    let answer = match (&ask.method, verb) {
        (&Method::POST, Some(_)) if ask.json.is_none() => {
            return error(StatusCode::BAD_REQUEST, "Invalid JSON payload received.", None);
        }
        (&Method::POST, Some("generateContent")) => generate::whole(ask),
        (&Method::POST, Some("streamGenerateContent")) => generate::stream(ask),
        (&Method::POST, Some("countTokens")) => count(ask),
        (&Method::POST, Some("embedContent")) => embed(ask),
        (&Method::POST, Some("batchEmbedContents")) => embed_batch(ask),
        (&Method::GET, None) if ask.path.ends_with("/models") => models(),
        (&Method::GET, None) if ask.path.contains("/models/") => ok(&model_object(ask.model_name())),
        _ => {
            let message = format!("The requested URL {} was not found on this server.", ask.path);
            return error(StatusCode::NOT_FOUND, &message, None);
        }
    };
    furnish(answer, ask.seed.number("time") % 3_000)
}

pub(crate) fn error(status: StatusCode, message: &str, retry_after: Option<u64>) -> Answer {
    let name = match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "FAILED_PRECONDITION",
    };
    let details: Vec<Raw> = retry_after
        .map(|seconds| {
            obj! { "@type" => "type.googleapis.com/google.rpc.RetryInfo", "retryDelay" => format!("{seconds}s") }
        })
        .into_iter()
        .collect();
    let code = u64::from(status.as_u16());
    let error = if details.is_empty() {
        obj! { "code" => code, "message" => message, "status" => name }
    } else {
        obj! { "code" => code, "message" => message, "status" => name, "details" => details }
    };
    furnish(Answer::new(status, JSON, obj! { "error" => error }.pretty() + "\n"), 3)
}

/// The model between `/models/` and the verb's colon.
pub(crate) fn model_in_path(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/models/")?;
    Some(rest.rsplit_once(':').map_or(rest, |(model, _)| model))
}

fn ok(body: &Raw) -> Answer {
    Answer::new(StatusCode::OK, JSON, body.pretty() + "\n")
}

fn furnish(answer: Answer, milliseconds: u64) -> Answer {
    answer
        .header("vary", "Origin")
        .header("vary", "X-Origin")
        .header("vary", "Referer")
        .header("server", "scaffolding on HTTPServer2")
        .header("x-xss-protection", "0")
        .header("x-frame-options", "SAMEORIGIN")
        .header("x-content-type-options", "nosniff")
        .header("server-timing", format!("gfet4t7; dur={milliseconds}"))
        .header("alt-svc", "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000")
}

fn count(ask: &Ask) -> Answer {
    let total = ask.seed.usage(ask.body_length, 0).input;
    ok(&obj! { "totalTokens" => total, "promptTokensDetails" => [modality(total)] })
}

fn modality(tokens: u64) -> Raw {
    obj! { "modality" => "TEXT", "tokenCount" => tokens }
}

fn embed(ask: &Ask) -> Answer {
    ok(&obj! { "embedding" => embedding(ask, ask.json(), 0) })
}

fn embed_batch(ask: &Ask) -> Answer {
    let requests = ask.json()["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let all: Vec<Raw> = requests.iter().enumerate().map(|(at, request)| embedding(ask, request, at)).collect();
    ok(&obj! { "embeddings" => all })
}

fn embedding(ask: &Ask, request: &Value, index: usize) -> Raw {
    let dimensions = request["outputDimensionality"].as_u64().unwrap_or(3072).clamp(1, 3072) as usize;
    let values: Vec<f64> = vector(ask.seed, index, dimensions).into_iter().map(f64::from).collect();
    obj! { "values" => values }
}

fn models() -> Answer {
    ok(&obj! { "models" => ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"].map(model_object) })
}

fn model_object(name: &str) -> Raw {
    obj! {
        "name" => format!("models/{name}"), "version" => "001", "displayName" => name,
        "description" => "A stand-in", "inputTokenLimit" => 1_048_576, "outputTokenLimit" => 65_536,
        "supportedGenerationMethods" => ["generateContent", "countTokens", "embedContent"],
    }
}
