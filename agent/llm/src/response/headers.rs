//! What Bedrock says in headers: docs.aws.amazon.com/bedrock/latest/APIReference, `InvokeModel`.

use http::{HeaderMap, HeaderName};

use super::{fields::Counter, tally::Tally};
use crate::{call::Api, usage::ServiceTier};

static COUNTS: [(HeaderName, Counter); 4] = [
    (HeaderName::from_static("x-amzn-bedrock-input-token-count"), Counter::Input),
    (HeaderName::from_static("x-amzn-bedrock-output-token-count"), Counter::Output),
    (HeaderName::from_static("x-amzn-bedrock-cache-read-input-token-count"), Counter::CacheRead),
    (HeaderName::from_static("x-amzn-bedrock-cache-write-input-token-count"), Counter::CacheWrite),
];
static TIER: HeaderName = HeaderName::from_static("x-amzn-bedrock-service-tier");
static ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

pub(super) fn read(headers: &HeaderMap, tally: &mut Tally) {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_bedrock = matches!(
        tally.api,
        Api::BedrockInvoke | Api::BedrockInvokeStream | Api::BedrockConverse | Api::BedrockConverseStream
    );
    for (name, counter) in COUNTS.iter().filter(|_| is_bedrock) {
        if let Some(count) = text(name).and_then(|count| count.trim().parse().ok()) {
            tally.told(*counter, count);
        }
    }
    if let Some(tier) = text(&TIER) {
        tally.billed_at(ServiceTier::named(tier));
    }
    if let Some(exception) = text(&ERROR) {
        tally.fail(exception);
    }
}
