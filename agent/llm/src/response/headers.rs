//! What Bedrock says in headers: docs.aws.amazon.com/bedrock/latest/APIReference, `InvokeModel`.

use http::HeaderMap;

use super::{fields::Counter, tally::Tally};
use crate::{call::Api, usage::ServiceTier};

const COUNTS: [(&str, Counter); 4] = [
    ("x-amzn-bedrock-input-token-count", Counter::Input),
    ("x-amzn-bedrock-output-token-count", Counter::Output),
    ("x-amzn-bedrock-cache-read-input-token-count", Counter::CacheRead),
    ("x-amzn-bedrock-cache-write-input-token-count", Counter::CacheWrite),
];

pub(super) fn read(headers: &HeaderMap, tally: &mut Tally) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_bedrock = matches!(
        tally.api,
        Api::BedrockInvoke | Api::BedrockInvokeStream | Api::BedrockConverse | Api::BedrockConverseStream
    );
    for (name, counter) in COUNTS.into_iter().filter(|_| is_bedrock) {
        if let Some(count) = text(name).and_then(|count| count.trim().parse().ok()) {
            tally.told(counter, count);
        }
    }
    if let Some(tier) = text("x-amzn-bedrock-service-tier") {
        tally.billed_at(ServiceTier::named(tier));
    }
    if let Some(exception) = text("x-amzn-errortype") {
        tally.fail(exception);
    }
}
