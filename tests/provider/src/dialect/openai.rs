//! OpenAI's API.

mod chat;
mod embeddings;
mod likes;
pub(crate) use chat::answer as chat;
pub(crate) use embeddings::vector;
mod responses;

use http::{Method, StatusCode};

use super::Ask;
use crate::answer::Answer;
use crate::json::{Null, Put, Raw, obj};
use crate::seed::{CREATED, Seed};

pub(crate) fn answer(ask: &Ask) -> Answer {
    let path = ask.path.trim_end_matches('/');
    let answer = match (&ask.method, path) {
        (&Method::GET, path) if path.ends_with("/models") => models(),
        (&Method::GET, path) if path.contains("/models/") => model(path.rsplit('/').next().unwrap_or_default()),
        (&Method::POST, path) if ask.json.is_none() && is_known(path) => {
            return error(StatusCode::BAD_REQUEST, "We could not parse the JSON body of your request.", ask.seed);
        }
        (&Method::POST, path) if path.ends_with("/chat/completions") => chat::answer(ask),
        (&Method::POST, path) if path.ends_with("/responses") => responses::answer(ask),
        (&Method::POST, path) if path.ends_with("/embeddings") => embeddings::answer(ask),
        (_, path) if is_known(path) => {
            let message = format!("Not allowed to {} on {path}.", ask.method);
            return error(StatusCode::METHOD_NOT_ALLOWED, &message, ask.seed);
        }
        (method, path) => {
            let message = format!("Invalid URL ({method} {path})");
            return error(StatusCode::NOT_FOUND, &message, ask.seed);
        }
    };
    furnish(answer, ask.seed)
}

pub(crate) fn error(status: StatusCode, message: &str, seed: Seed) -> Answer {
    let (kind, code) = match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let body = obj! { "error" => error_object(message, kind, code) };
    furnish(Answer::new(status, "application/json", pretty(&body)), seed)
}

fn is_known(path: &str) -> bool {
    ["/chat/completions", "/responses", "/embeddings"].iter().any(|end| path.ends_with(end))
}

fn error_object(message: &str, kind: &str, code: Option<&str>) -> Raw {
    obj! { "message" => message, "type" => kind, "param" => Null, "code" => code }
}

/// OpenAI prints what is not streamed with two spaces of indent and a line break at the end of errors and answers.
fn pretty(body: &Raw) -> String {
    body.pretty() + "\n"
}

/// The headers that every answer has, cookies of the CDN in front included.
fn furnish(answer: Answer, seed: Seed) -> Answer {
    let requests = 9_999 - seed.number("requests") % 100;
    answer
        .header("openai-version", "2020-10-01")
        .header("openai-organization", "org-stand-in")
        .header("openai-processing-ms", (seed.number("processing") % 900 + 100).to_string())
        .header("x-request-id", format!("req_{}", seed.hex("request", 32)))
        .header("x-ratelimit-limit-requests", "10000")
        .header("x-ratelimit-remaining-requests", requests.to_string())
        .header("x-ratelimit-reset-requests", "6ms")
        .header("strict-transport-security", "max-age=31536000; includeSubDomains; preload")
        .header("cf-cache-status", "DYNAMIC")
        .header("set-cookie", format!("__cf_bm={}; path=/; secure; HttpOnly", seed.id("", 43)))
        .header("set-cookie", format!("_cfuvid={}; path=/; secure; HttpOnly", seed.id("cf", 40)))
        .header("x-content-type-options", "nosniff")
        .header("server", "cloudflare")
        .header("alt-svc", "h3=\":443\"; ma=86400")
}

/// The dated name that a request for a model's short name is answered with.
fn snapshot(model: &str) -> &str {
    match model {
        "gpt-4o-mini" => "gpt-4o-mini-2024-07-18",
        "gpt-4o" => "gpt-4o-2024-08-06",
        "gpt-4.1" => "gpt-4.1-2025-04-14",
        "gpt-4.1-mini" => "gpt-4.1-mini-2025-04-14",
        "gpt-5" => "gpt-5-2025-08-07",
        "gpt-5-mini" => "gpt-5-mini-2025-08-07",
        "o3" => "o3-2025-04-16",
        "o4-mini" => "o4-mini-2025-04-16",
        other => other,
    }
}

fn models() -> Answer {
    const NAMES: [&str; 6] =
        ["gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-5-mini", "text-embedding-3-small", "text-embedding-3-large"];
    let body = obj! { "object" => "list", "data" => NAMES.map(model_object) };
    Answer::new(StatusCode::OK, "application/json", pretty(&body))
}

fn model(name: &str) -> Answer {
    Answer::new(StatusCode::OK, "application/json", pretty(&model_object(name)))
}

fn model_object(name: &str) -> Raw {
    obj! { "id" => name, "object" => "model", "created" => CREATED - 86_400, "owned_by" => "system" }
}

/// Random padding that hides the lengths of streamed pieces, as OpenAI adds it.
fn obfuscation(seed: Seed, index: u64, length: usize) -> String {
    seed.derive("obfuscation").id(&index.to_string(), 15 - length.min(14))
}

/// A JSON text from what can be put.
fn text(value: &impl Put) -> String {
    let mut out = String::new();
    value.put(&mut out);
    out
}
