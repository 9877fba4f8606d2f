//! Amazon Bedrock's runtime: Converse, InvokeModel, and both as streams, for requests that are signed (SigV4) or bear a key.

mod converse;
mod frames;
mod invoke;
pub(crate) mod signature;

use http::{Method, StatusCode};

use super::Ask;
use crate::answer::Answer;
use crate::json::{Object, Raw, obj};
use crate::seed::{Seed, hex};
use crate::truth::Usage;

const JSON: &str = "application/json";

pub(crate) fn answer(ask: &Ask) -> Answer {
    let action = ask.path.strip_prefix("/model/").and_then(|rest| rest.split_once('/')).map(|(_, action)| action);
    if ask.method != Method::POST {
        return error(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed", ask.seed);
    }
    if ask.json.is_none() {
        return error(
            StatusCode::BAD_REQUEST,
            "Malformed input request, please reformat your input and try again.",
            ask.seed,
        );
    }
    let answer = match action {
        Some("converse") => converse::whole(ask),
        Some("converse-stream") => converse::stream(ask),
        Some("invoke") => invoke::whole(ask),
        Some("invoke-with-response-stream") => invoke::stream(ask),
        Some("count-tokens") => count(ask),
        _ => return error(StatusCode::NOT_FOUND, "the operation is not known", ask.seed),
    };
    furnish(answer, ask.seed)
}

/// AWS tells the exception in a header, and in the body its message alone.
pub(crate) fn error(status: StatusCode, message: &str, seed: Seed) -> Answer {
    let exception = match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    };
    let code = if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status };
    exception_answer(code, exception, message, seed)
}

/// The answer to a request whose signature does not hold.
pub(crate) fn bad_signature(seed: Seed) -> Answer {
    let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
                   signing method. Consult the service documentation for details.";
    exception_answer(StatusCode::FORBIDDEN, "InvalidSignatureException", message, seed)
}

fn exception_answer(status: StatusCode, exception: &str, message: &str, seed: Seed) -> Answer {
    let explained = format!("{exception}:http://internal.amazon.com/coral/com.amazon.bedrock/");
    furnish(Answer::new(status, JSON, obj! { "message" => message }.0), seed).header("x-amzn-errortype", explained)
}

fn furnish(answer: Answer, seed: Seed) -> Answer {
    let id = hex(&seed.derive("request").0);
    answer.header(
        "x-amzn-requestid",
        format!("{}-{}-4{}-8{}-{}", &id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..32]),
    )
}

fn count(ask: &Ask) -> Answer {
    let body = obj! { "inputTokens" => ask.seed.usage(ask.body_length, 0).input };
    Answer::new(StatusCode::OK, JSON, body.0)
}

/// The vendor of a model and its name there, whatever region or account stands before it.
fn vendor(model: &str) -> (&str, &str) {
    let model = model.rsplit('/').next().unwrap_or(model);
    let model =
        ["us.", "eu.", "apac.", "global."].iter().find_map(|prefix| model.strip_prefix(prefix)).unwrap_or(model);
    model.split_once('.').unwrap_or(("", model))
}

/// Converse's counts, which Nova gives as well: the input leaves out what the cache had a part in.
fn usage_object(usage: Usage, is_native: bool) -> Raw {
    let mut object = Object::new();
    object
        .field("inputTokens", &(usage.input - usage.cache_read - usage.cache_write))
        .field("outputTokens", &usage.output)
        .field("totalTokens", &(usage.input + usage.output));
    if is_native {
        object
            .field("cacheReadInputTokenCount", &usage.cache_read)
            .field("cacheWriteInputTokenCount", &usage.cache_write);
    } else {
        object
            .field("cacheReadInputTokens", &usage.cache_read)
            .field("cacheWriteInputTokens", &usage.cache_write)
            .field("cacheDetails", &[obj! { "inputTokens" => usage.cache_write, "ttl" => "5m" }]);
    }
    object.end()
}
