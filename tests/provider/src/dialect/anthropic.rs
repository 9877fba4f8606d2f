//! Anthropic's API.

pub(crate) mod messages;

use http::{Method, StatusCode};

use super::Ask;
use crate::answer::Answer;
use crate::json::{EMPTY, Null, Raw, obj};
use crate::seed::{CREATED, Seed, TIMESTAMP};

const JSON: &str = "application/json";

pub(crate) fn answer(ask: &Ask) -> Answer {
    let path = ask.path.trim_end_matches('/');
    let answer = match (&ask.method, path) {
        (&Method::POST, "/v1/messages" | "/v1/messages/count_tokens") if ask.json.is_none() => {
            return error(StatusCode::BAD_REQUEST, "The request body is not valid JSON", ask.seed);
        }
        (&Method::POST, "/v1/messages") => messages::answer(ask),
        (&Method::POST, "/v1/messages/count_tokens") => count(ask),
        (&Method::GET, "/v1/models") => models(),
        (&Method::GET, path) if path.starts_with("/v1/models/") => {
            ok(&model_object(path.rsplit('/').next().unwrap_or_default()))
        }
        (_, path) => match claude_code(path) {
            Some(body) => ok(&body),
            None => return error(StatusCode::NOT_FOUND, "Not found", ask.seed),
        },
    };
    furnish(answer, ask.seed)
}

pub(crate) fn error(status: StatusCode, message: &str, seed: Seed) -> Answer {
    let body = obj! {
        "type" => "error", "error" => obj! { "type" => kind(status), "message" => message },
        "request_id" => request_id(seed),
    };
    furnish(Answer::new(status, JSON, body.0), seed)
}

/// The error type of a status, as the API's error page lists them.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// What claude-code asks for beside messages: it goes on without, but slowly.
fn claude_code(path: &str) -> Option<Raw> {
    Some(match path {
        "" | "/api/hello" => obj! { "message" => "hello" },
        "/api/claude_code/policy_limits" => obj! { "restrictions" => obj! {} },
        "/api/claude_code/settings" => obj! { "uuid" => "stand-in", "checksum" => "stand-in", "settings" => obj! {} },
        "/api/event_logging/batch" | "/api/event_logging/v2/batch" | "/api/claude_code/metrics" => {
            obj! { "accepted_count" => 0, "rejected_count" => 0 }
        }
        "/api/claude_code/organizations/metrics_enabled" => obj! { "metrics_logging_enabled" => false },
        "/v1/mcp_servers" => obj! { "data" => EMPTY, "next_page" => Null },
        _ => return None,
    })
}

fn ok(body: &Raw) -> Answer {
    Answer::new(StatusCode::OK, JSON, body.0.clone())
}

fn count(ask: &Ask) -> Answer {
    ok(&obj! { "input_tokens" => ask.seed.usage(ask.body_length, 0).input })
}

fn models() -> Answer {
    const NAMES: [&str; 3] = ["claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "claude-opus-4-5-20251101"];
    ok(&obj! {
        "data" => NAMES.map(model_object), "has_more" => false, "first_id" => NAMES[0], "last_id" => NAMES[2],
    })
}

fn model_object(name: &str) -> Raw {
    obj! { "type" => "model", "id" => name, "display_name" => name, "created_at" => "2025-09-29T00:00:00Z" }
}

fn furnish(answer: Answer, seed: Seed) -> Answer {
    let left = (4_000_000 - seed.number("tokens left") % 9_000).to_string();
    answer
        .header("anthropic-ratelimit-input-tokens-limit", "4000000")
        .header("anthropic-ratelimit-input-tokens-remaining", left)
        .header("anthropic-ratelimit-input-tokens-reset", TIMESTAMP)
        .header("request-id", request_id(seed))
        .header("anthropic-organization-id", "00000000-0000-4000-8000-000000000000")
        .header("x-envoy-upstream-service-time", (seed.number("time") % 2_000 + 300).to_string())
        .header("via", "1.1 google")
        .header("server", "cloudflare")
        .header("cf-ray", format!("{}-FRA", seed.hex("ray", 16)))
        .header("x-robots-tag", "none")
}

fn request_id(seed: Seed) -> String {
    format!("req_{CREATED}{}", seed.id("", 16))
}

/// The dated name that a request for a model's short name is answered with.
fn snapshot(model: &str) -> &str {
    match model {
        "claude-sonnet-4-5" => "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5" => "claude-haiku-4-5-20251001",
        "claude-opus-4-5" => "claude-opus-4-5-20251101",
        "claude-3-5-haiku-latest" => "claude-3-5-haiku-20241022",
        other => other,
    }
}
