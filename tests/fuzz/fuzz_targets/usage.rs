//! Answers of any bytes to any API, under any coding, type and status, are metered without a panic, and the same however they
//! are cut. Start it from `tests/corpus`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Api, ResponseMeter};

/// All that read bodies each in their own way.
const APIS: [Api; 22] = [
    Api::ChatCompletions,
    Api::Responses,
    Api::Embeddings,
    Api::Images,
    Api::Speech,
    Api::Transcription,
    Api::Moderations,
    Api::Messages,
    Api::GenerateContent,
    Api::EmbedContent,
    Api::Predict,
    Api::BedrockInvoke,
    Api::BedrockInvokeStream,
    Api::BedrockConverse,
    Api::BedrockConverseStream,
    Api::CohereChat,
    Api::CohereEmbed,
    Api::Rerank,
    Api::Ocr,
    Api::Conversations,
    Api::Ollama,
    Api::Unknown,
];

fuzz_target!(|bytes: &[u8]| {
    for api in APIS {
        for status in [200, 429] {
            let status = http::StatusCode::from_u16(status).expect("both are statuses");
            for kind in ["application/json", "application/vnd.amazon.eventstream"] {
                let facts = |size: usize| {
                    let mut meter = ResponseMeter::new(api, status, Some(kind), None);
                    bytes.chunks(size).for_each(|piece| meter.push(piece));
                    meter.finish()
                };
                let whole = facts(bytes.len().max(1));
                assert_eq!(facts(1), whole, "{api:?} {status}");
                assert!(whole.cost.is_none_or(|cost| !cost.is_sign_negative()));
            }
        }
    }
    // What a coding gives is read as above.
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
        let mut meter = ResponseMeter::new(Api::ChatCompletions, http::StatusCode::OK, None, Some(coding));
        bytes.chunks(64).for_each(|piece| meter.push(piece));
        meter.finish();
    }
});
