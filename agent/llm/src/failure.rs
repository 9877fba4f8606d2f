//! What went wrong with a call, as one closed list for all providers.
//!
//! Providers put free text and sometimes parts of the prompt or the key into their error bodies. A closed list can carry
//! none of it, whatever a provider sends, and keeps metric labels bounded.

use std::fmt;

use http::StatusCode;

/// The kind of a provider's error, usable as OpenTelemetry's `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key is missing, wrong or expired.
    Authentication,
    /// The key is good but may not do this.
    PermissionDenied,
    /// No such model, endpoint or object.
    NotFound,
    /// The request is malformed or asks for something unsupported.
    InvalidRequest,
    /// The prompt does not fit the model's context.
    ContextLengthExceeded,
    /// The provider's content policy refused it.
    ContentFilter,
    /// The body is larger than the provider takes.
    RequestTooLarge,
    /// Too many requests or tokens for now.
    RateLimited,
    /// The account's money or quota is used up.
    QuotaExceeded,
    /// The provider has no capacity at the moment.
    Overloaded,
    /// The provider gave up waiting.
    Timeout,
    /// The request was cancelled at the provider.
    Cancelled,
    /// The provider failed.
    ServerError,
    /// An error whose kind is not on this list.
    Other,
}

impl ErrorKind {
    /// The name used in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::ContentFilter => "content_filter",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::ServerError => "server_error",
            Self::Other => "other",
        }
    }

    /// The kind an HTTP status stands for; `None` below 400.
    pub fn from_status(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            ..=399 => return None,
            400 | 405 | 406 | 409 | 415 | 422 => Self::InvalidRequest,
            401 => Self::Authentication,
            402 => Self::QuotaExceeded,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::RequestTooLarge,
            429 => Self::RateLimited,
            499 => Self::Cancelled,
            503 | 529 => Self::Overloaded,
            500.. => Self::ServerError,
            _ => Self::Other,
        })
    }

    /// Reads the name of an exception of AWS's, from a header or a stream: `ThrottlingException`, in either case, with a name space
    /// before it or the address of an explanation behind. `None` for names not known here.
    pub(crate) fn of_exception(name: &str) -> Option<Self> {
        let name = name.split(':').next().unwrap_or_default();
        let name = name.rsplit('#').next().unwrap_or_default();
        Some(match name.strip_suffix("Exception").unwrap_or(name) {
            "UnrecognizedClient"
            | "InvalidSignature"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "ExpiredToken" => Self::Authentication,
            "AccessDenied" | "accessDenied" | "OptInRequired" => Self::PermissionDenied,
            "ResourceNotFound" | "resourceNotFound" | "UnknownOperation" => Self::NotFound,
            "Validation" | "validation" | "Serialization" | "Conflict" => Self::InvalidRequest,
            "Throttling" | "throttling" | "TooManyRequests" => Self::RateLimited,
            "ServiceQuotaExceeded" | "serviceQuotaExceeded" => Self::QuotaExceeded,
            "ServiceUnavailable" | "serviceUnavailable" | "ModelNotReady" | "modelNotReady" => Self::Overloaded,
            "ModelTimeout" | "modelTimeout" | "RequestTimeout" => Self::Timeout,
            "InternalServer" | "internalServer" | "InternalFailure" | "ModelError" | "modelError"
            | "ModelStreamError" | "modelStreamError" => Self::ServerError,
            _ => return None,
        })
    }

    /// How much it says, to choose among several for one failure.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::InvalidRequest | Self::ServerError => 1,
            _ => 2,
        }
    }

    /// Reads the word a provider uses as an error's type, code or status. `None` for words not known here.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "authentication_error" | "invalid_api_key" | "invalid_authentication" | "UNAUTHENTICATED" => {
                Self::Authentication
            }
            "permission_error" | "permission_denied" | "PERMISSION_DENIED" | "unsupported_country_region_territory" => {
                Self::PermissionDenied
            }
            "not_found_error" | "not_found" | "model_not_found" | "NOT_FOUND" => Self::NotFound,
            "invalid_request_error"
            | "invalid_request"
            | "invalid_prompt"
            | "unsupported_parameter"
            | "unsupported_value"
            | "INVALID_ARGUMENT"
            | "FAILED_PRECONDITION"
            | "OUT_OF_RANGE" => Self::InvalidRequest,
            "context_length_exceeded" | "context_window_exceeded" | "string_above_max_length" => {
                Self::ContextLengthExceeded
            }
            "content_filter" | "content_policy_violation" | "moderation_blocked" | "image_content_policy_violation" => {
                Self::ContentFilter
            }
            "request_too_large" => Self::RequestTooLarge,
            "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens" | "RESOURCE_EXHAUSTED" => {
                Self::RateLimited
            }
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" => Self::QuotaExceeded,
            "overloaded_error" | "overloaded" | "server_is_overloaded" | "slow_down" | "UNAVAILABLE" => {
                Self::Overloaded
            }
            "timeout_error" | "timeout" | "DEADLINE_EXCEEDED" => Self::Timeout,
            "cancelled" | "CANCELLED" => Self::Cancelled,
            "api_error" | "server_error" | "internal_error" | "internal_server_error" | "INTERNAL" | "UNKNOWN" => {
                Self::ServerError
            }
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
