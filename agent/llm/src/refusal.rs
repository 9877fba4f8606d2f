//! Answers in the provider's own error shape, so that an SDK raises the exception its user already handles.
//!
//! Shapes and words are from the providers' error references: platform.openai.com/docs/guides/error-codes,
//! platform.claude.com/docs/en/api/errors, ai.google.dev/gemini-api/docs/troubleshooting, docs.mistral.ai/api,
//! docs.cohere.com/reference/errors, docs.ollama.com/api/errors, and docs.aws.amazon.com/bedrock/latest/APIReference
//! (CommonErrors, InvokeModel). As of 2026-11-23.

mod policy;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

pub use self::policy::{Allowance, PolicyRefusal, RefusalCause};
use crate::catalogue::Dialect;

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalBody {
    /// For the `content-type` header.
    pub content_type: &'static str,
    /// A header that says what the error is, where the body does not.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// Phrases a refusal with `status` for a caller that speaks `dialect`. The message is shown to the caller, so it must
/// not hold anything of anybody else's.
pub fn refusal(dialect: Dialect, status: StatusCode, message: &str) -> RefusalBody {
    let body = match dialect {
        Dialect::OpenAi => {
            let (kind, code) = openai(status);
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
        Dialect::Anthropic => json!({"type": "error", "error": {"type": anthropic(status), "message": message}}),
        Dialect::Gemini => {
            json!({"error": {"code": status.as_u16(), "message": message, "status": gemini(status)}})
        }
        // Like OpenAI's, without the envelope.
        Dialect::Mistral => {
            let (kind, code) = openai(status);
            json!({"object": "error", "message": message, "type": kind, "param": null, "code": code})
        }
        Dialect::Cohere | Dialect::Bedrock => json!({"message": message}),
        Dialect::Ollama => json!({"error": message}),
    };
    let exception = (dialect == Dialect::Bedrock).then(|| HeaderValue::from_static(bedrock(status)));
    let header = exception.map(|exception| (HeaderName::from_static("x-amzn-errortype"), exception));
    RefusalBody { content_type: "application/json", header, body: body.to_string().into() }
}

/// The exception of Bedrock's that goes with a status.
fn bedrock(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UnrecognizedClientException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

/// The `type` and `code` OpenAI uses with a status.
pub(crate) fn openai(status: StatusCode) -> (&'static str, Option<&'static str>) {
    match status.as_u16() {
        401 => ("authentication_error", Some("invalid_api_key")),
        403 => ("permission_error", None),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        503 => ("server_error", Some("server_is_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

fn anthropic(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The google.rpc.Code that goes with a status.
fn gemini(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{call::Api, failure::ErrorKind, response::ResponseMeter};

    #[test]
    fn each_dialect_gets_its_own_shape() {
        let body = |dialect, status: u16| {
            let refusal = refusal(dialect, StatusCode::from_u16(status).unwrap(), "not \"today\"");
            assert_eq!(refusal.content_type, "application/json");
            serde_json::from_slice::<serde_json::Value>(&refusal.body).unwrap()
        };
        assert_eq!(
            body(Dialect::OpenAi, 429),
            json!({"error": {"message": "not \"today\"", "type": "rate_limit_error", "param": null,
                             "code": "rate_limit_exceeded"}})
        );
        assert_eq!(
            body(Dialect::Anthropic, 502),
            json!({"type": "error", "error": {"type": "api_error", "message": "not \"today\""}})
        );
        assert_eq!(
            body(Dialect::Mistral, 401),
            json!({"object": "error", "message": "not \"today\"", "type": "authentication_error", "param": null,
                   "code": "invalid_api_key"})
        );
        assert_eq!(body(Dialect::Cohere, 429), json!({"message": "not \"today\""}));
        assert_eq!(body(Dialect::Ollama, 404), json!({"error": "not \"today\""}));
        assert_eq!(body(Dialect::Bedrock, 429), json!({"message": "not \"today\""}));
        assert_eq!(
            body(Dialect::Gemini, 403),
            json!({"error": {"code": 403, "message": "not \"today\"", "status": "PERMISSION_DENIED"}})
        );
    }

    #[test]
    fn the_meter_reads_a_refusal_as_what_it_was_meant_to_be() {
        let expected = [
            (400, ErrorKind::InvalidRequest),
            (401, ErrorKind::Authentication),
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::NotFound),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::ServerError),
            (503, ErrorKind::Overloaded),
        ];
        for (dialect, api) in [
            (Dialect::OpenAi, Api::ChatCompletions),
            (Dialect::Anthropic, Api::Messages),
            (Dialect::Gemini, Api::GenerateContent),
        ] {
            for (status, kind) in expected {
                let refusal = refusal(dialect, StatusCode::from_u16(status).unwrap(), "no");
                // 200 makes sure that it is the body that is read, not the status.
                let mut meter = ResponseMeter::new(api, StatusCode::OK, Some(refusal.content_type), None);
                meter.push(&refusal.body);
                assert_eq!(meter.finish().error, Some(kind), "{dialect:?} {status}");
            }
        }
    }

    #[test]
    fn what_the_body_does_not_say_the_status_or_a_header_does() {
        for (dialect, api) in [
            (Dialect::Mistral, Api::ChatCompletions),
            (Dialect::Cohere, Api::CohereChat),
            (Dialect::Ollama, Api::Ollama),
            (Dialect::Bedrock, Api::BedrockConverse),
            (Dialect::Bedrock, Api::BedrockInvokeStream),
        ] {
            for status in [400, 401, 403, 404, 429, 503] {
                let status = StatusCode::from_u16(status).unwrap();
                let refusal = refusal(dialect, status, "no");
                // Only Bedrock's says it in a header; that it does is what its SDKs go by.
                let told = if refusal.header.is_some() { StatusCode::OK } else { status };
                let headers = refusal.header.into_iter().collect();
                let mut meter = ResponseMeter::new(api, told, Some(refusal.content_type), None).with_headers(&headers);
                meter.push(&refusal.body);
                assert_eq!(meter.finish().error, ErrorKind::from_status(status), "{dialect:?} {status}");
            }
        }
    }
}
