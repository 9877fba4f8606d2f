//! Bodies of any bytes under any coding, type and status, and request bodies, are metered without a panic, and the same
//! however they are cut. Start it from `tests/corpus`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Api, Catalogue, RequestMeter, ResponseMeter, identify};

fuzz_target!(|bytes: &[u8]| {
    for api in [Api::ChatCompletions, Api::Responses, Api::Messages, Api::GenerateContent, Api::Unknown] {
        for status in [200, 429] {
            let status = http::StatusCode::from_u16(status).expect("both are statuses");
            let facts = |coding, size: usize| {
                let mut meter = ResponseMeter::new(api, status, Some("application/json"), coding);
                bytes.chunks(size).for_each(|piece| meter.push(piece));
                meter.finish()
            };
            assert_eq!(facts(None, 1), facts(None, bytes.len().max(1)), "{api:?} {status}");
            for coding in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
                facts(Some(coding), 64);
            }
        }
    }
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("a built-in host");
    let call = identify(provider, &http::Method::POST, "/v1/chat/completions");
    let facts = |coding, size: usize| {
        let mut meter = RequestMeter::new(&call, None, coding);
        bytes.chunks(size).for_each(|piece| meter.push(piece));
        meter.finish()
    };
    assert_eq!(facts(None, 1), facts(None, bytes.len().max(1)));
    facts(Some("zstd"), 64);
    if let Ok(path) = std::str::from_utf8(bytes) {
        identify(provider, &http::Method::POST, path);
    }
});
