//! Refusals by a policy: with the words and headers by which SDKs choose their exception, wait, or give up at once.
//!
//! Headers are those that the SDKs read: github.com/openai/openai-python and anthropics/anthropic-sdk-python (`_base_client.py`:
//! `retry-after-ms`, `retry-after` up to a minute, `x-should-retry`), platform.openai.com/docs/guides/rate-limits,
//! platform.claude.com/docs/en/api/rate-limits, cloud.google.com/apis/design/errors (`RetryInfo`). As of 2026-11-23.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{anthropic, bedrock, gemini, openai};
use crate::catalogue::Dialect;

/// The longest that SDKs wait on a server's word. What lasts longer, they would try again for nothing.
const SOON: Duration = Duration::from_mins(1);

/// Why a policy refuses a call, for its caller.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRefusal<'a> {
    /// The status to answer with.
    pub status: StatusCode,
    /// What refuses it.
    pub cause: RefusalCause,
    /// Shown to the caller: it must not hold anything of anybody else's.
    pub message: &'a str,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// How much there is of what ran out.
    pub allowance: Option<Allowance>,
}

/// What refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// A rule: trying again changes nothing.
    Rule,
    /// A budget: there is nothing until it begins anew.
    Budget,
    /// A limit: there is more in a moment.
    Limit,
}

/// How much there is of something that refills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Whether it is tokens rather than requests.
    pub is_tokens: bool,
    /// How much in all.
    pub limit: u64,
    /// How much is left.
    pub remaining: u64,
    /// When it is whole again.
    pub reset: Duration,
}

impl PolicyRefusal<'_> {
    /// The headers, `content-type` among them, and the body of the answer, for a caller that speaks `dialect`.
    pub fn answer(&self, dialect: Dialect, now: SystemTime) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if dialect == Dialect::Bedrock {
            let exception = HeaderValue::from_static(bedrock(self.status));
            headers.insert(HeaderName::from_static("x-amzn-errortype"), exception);
        }
        self.say_when(dialect, &mut headers);
        if let Some(allowance) = &self.allowance {
            allowance.tell(dialect, now, &mut headers);
        }
        (headers, self.body(dialect).to_string().into())
    }

    fn say_when(&self, dialect: Dialect, headers: &mut HeaderMap) {
        let is_generated = matches!(dialect, Dialect::OpenAi | Dialect::Anthropic | Dialect::Cohere);
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64));
            if is_generated {
                let ms = after.as_nanos().div_ceil(1_000_000).max(1) as u64;
                headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
            }
        }
        let helps_soon = self.cause != RefusalCause::Rule && self.retry_after.is_some_and(|after| after <= SOON);
        let would_retry = self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error();
        let is_lasting = self.status == StatusCode::TOO_MANY_REQUESTS || self.cause != RefusalCause::Rule;
        if is_generated && would_retry && is_lasting && !helps_soon {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
    }

    /// The error as the dialect's JSON has it.
    pub(crate) fn body(&self, dialect: Dialect) -> Value {
        let message = self.message;
        match dialect {
            Dialect::OpenAi => json!({ "error": self.openai() }),
            Dialect::Mistral => {
                let (kind, code) = self.openai_words();
                json!({"object": "error", "message": message, "type": kind, "param": null, "code": code})
            }
            Dialect::Anthropic => {
                json!({"type": "error", "error": {"type": anthropic(self.status), "message": message}})
            }
            Dialect::Gemini => self.gemini(),
            Dialect::Cohere | Dialect::Bedrock => json!({ "message": message }),
            Dialect::Ollama => json!({ "error": message }),
        }
    }

    /// What stands in the envelope of OpenAI's.
    pub(crate) fn openai(&self) -> Value {
        let (kind, code) = self.openai_words();
        json!({"message": self.message, "type": kind, "param": null, "code": code})
    }

    pub(crate) fn openai_words(&self) -> (&'static str, Option<&'static str>) {
        if self.cause == RefusalCause::Budget && self.status == StatusCode::TOO_MANY_REQUESTS {
            ("insufficient_quota", Some("insufficient_quota"))
        } else {
            openai(self.status)
        }
    }

    fn gemini(&self) -> Value {
        let mut error = json!({"code": self.status.as_u16(), "message": self.message, "status": gemini(self.status)});
        if let Some(after) = self.retry_after {
            // A duration in the JSON of protocol buffers.
            let delay = format!("{}s", after.as_millis().div_ceil(1000).max(1));
            error["details"] = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]);
        }
        json!({ "error": error })
    }
}

impl Allowance {
    fn tell(&self, dialect: Dialect, now: SystemTime, headers: &mut HeaderMap) {
        let what = if self.is_tokens { "tokens" } else { "requests" };
        let mut tell = |name: String, value: String| {
            let name = HeaderName::try_from(name).expect("the names are made of letters and hyphens");
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        match dialect {
            Dialect::Anthropic => {
                let at = now.checked_add(self.reset).map(OffsetDateTime::from);
                let whole_second = at.and_then(|at| at.replace_nanosecond(0).ok());
                tell(format!("anthropic-ratelimit-{what}-limit"), self.limit.to_string());
                tell(format!("anthropic-ratelimit-{what}-remaining"), self.remaining.to_string());
                if let Some(at) = whole_second.and_then(|at| at.format(&Rfc3339).ok()) {
                    tell(format!("anthropic-ratelimit-{what}-reset"), at);
                }
            }
            Dialect::OpenAi | Dialect::Mistral | Dialect::Cohere | Dialect::Ollama => {
                tell(format!("x-ratelimit-limit-{what}"), self.limit.to_string());
                tell(format!("x-ratelimit-remaining-{what}"), self.remaining.to_string());
                tell(format!("x-ratelimit-reset-{what}"), span(self.reset));
            }
            // They have no such headers.
            Dialect::Gemini | Dialect::Bedrock => {}
        }
    }
}

/// A span of time as OpenAI writes it: `20ms`, `1s`, `6m0s`, `1h0m5s`.
fn span(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{}ms", time.as_nanos().div_ceil(1_000_000));
    }
    let seconds = time.as_millis().div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_hours(498_728);

    fn refusal(cause: RefusalCause, status: u16, after: Option<Duration>) -> PolicyRefusal<'static> {
        PolicyRefusal {
            status: StatusCode::from_u16(status).unwrap(),
            cause,
            message: "the budget \"month\" is spent",
            retry_after: after,
            allowance: None,
        }
    }

    fn answer(refusal: &PolicyRefusal<'_>, dialect: Dialect) -> (HeaderMap, Value) {
        let (headers, body) = refusal.answer(dialect, SystemTime::UNIX_EPOCH + NOW);
        (headers, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn a_spent_budget_is_told_from_a_limit_and_neither_is_tried_again_for_nothing() {
        let day = Duration::from_hours(24);
        let (headers, body) = answer(&refusal(RefusalCause::Budget, 429, Some(day)), Dialect::OpenAi);
        assert_eq!(body["error"]["code"], "insufficient_quota");
        assert_eq!(body["error"]["type"], "insufficient_quota");
        assert_eq!(headers["x-should-retry"], "false");
        assert_eq!(headers["retry-after"], "86400");
        let (headers, body) =
            answer(&refusal(RefusalCause::Limit, 429, Some(Duration::from_micros(1_200_500))), Dialect::OpenAi);
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert!(!headers.contains_key("x-should-retry"), "it helps to wait");
        assert_eq!(
            (&headers["retry-after"], &headers["retry-after-ms"]),
            (&"2".parse().unwrap(), &"1201".parse().unwrap())
        );
        let (headers, _) = answer(&refusal(RefusalCause::Limit, 429, Some(day)), Dialect::Anthropic);
        assert_eq!(headers["x-should-retry"], "false", "a limit by the day");
        let (headers, _) = answer(&refusal(RefusalCause::Budget, 429, None), Dialect::Anthropic);
        assert_eq!(headers["x-should-retry"], "false");
        // That there was no room to read a request passes by itself.
        let (headers, _) = answer(&refusal(RefusalCause::Rule, 503, None), Dialect::OpenAi);
        assert!(!headers.contains_key("x-should-retry"));
    }

    #[test]
    fn what_is_left_is_told_in_the_form_of_the_provider() {
        let allowance = Allowance { is_tokens: true, limit: 100_000, remaining: 5, reset: Duration::from_mins(6) };
        let refusal = PolicyRefusal { allowance: Some(allowance), ..refusal(RefusalCause::Limit, 429, None) };
        let (headers, _) = answer(&refusal, Dialect::OpenAi);
        assert_eq!(headers["x-ratelimit-limit-tokens"], "100000");
        assert_eq!(headers["x-ratelimit-remaining-tokens"], "5");
        assert_eq!(headers["x-ratelimit-reset-tokens"], "6m0s");
        let (headers, _) = answer(&refusal, Dialect::Anthropic);
        assert_eq!(headers["anthropic-ratelimit-tokens-limit"], "100000");
        assert_eq!(headers["anthropic-ratelimit-tokens-remaining"], "5");
        assert_eq!(headers["anthropic-ratelimit-tokens-reset"], "2026-11-23T08:06:00Z");
        let requests = Allowance { is_tokens: false, ..allowance };
        let (headers, _) = answer(&PolicyRefusal { allowance: Some(requests), ..refusal }, Dialect::OpenAi);
        assert_eq!(headers["x-ratelimit-limit-requests"], "100000");
        assert!(!headers.contains_key("x-ratelimit-limit-tokens"));
    }

    #[test]
    fn google_is_told_when_in_the_body_and_amazon_what_in_a_header() {
        let limit = refusal(RefusalCause::Limit, 429, Some(Duration::from_millis(1)));
        let (_, body) = answer(&limit, Dialect::Gemini);
        assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(body["error"]["details"][0]["retryDelay"], "1s");
        let (headers, body) = answer(&limit, Dialect::Bedrock);
        assert_eq!(headers["x-amzn-errortype"], "ThrottlingException");
        assert_eq!(body, json!({"message": "the budget \"month\" is spent"}));
    }

    #[test]
    fn without_when_and_how_much_it_says_what_any_refusal_says() {
        for dialect in [
            Dialect::OpenAi,
            Dialect::Anthropic,
            Dialect::Gemini,
            Dialect::Mistral,
            Dialect::Cohere,
            Dialect::Bedrock,
            Dialect::Ollama,
        ] {
            for status in [400, 403, 413, 429, 503] {
                let rule = refusal(RefusalCause::Rule, status, None);
                let plain = super::super::refusal(dialect, rule.status, rule.message);
                let (headers, body) = rule.answer(dialect, SystemTime::UNIX_EPOCH);
                assert_eq!(body, plain.body, "{dialect:?} {status}");
                assert_eq!(headers.get("x-amzn-errortype"), plain.header.as_ref().map(|(_, value)| value));
            }
        }
    }

    #[test]
    fn spans_are_written_as_openai_writes_them() {
        let of = |ms| span(Duration::from_millis(ms));
        assert_eq!([of(0), of(20), of(1000), of(1001), of(59_000)], ["0ms", "20ms", "1s", "2s", "59s"]);
        assert_eq!([of(60_000), of(3_605_000), of(86_400_000)], ["1m0s", "1h0m5s", "24h0m0s"]);
    }
}
