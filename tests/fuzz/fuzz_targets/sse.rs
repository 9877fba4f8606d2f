//! An event stream says the same however it is cut, for every API. Start it from `tests/corpus`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Api, ResponseMeter, UsageSource};

const APIS: [Api; 5] =
    [Api::ChatCompletions, Api::Responses, Api::Messages, Api::GenerateContent, Api::Embeddings];

fuzz_target!(|bytes: &[u8]| {
    for api in APIS {
        let meter = || ResponseMeter::new(api, http::StatusCode::OK, Some("text/event-stream"), None);
        let mut whole = meter();
        whole.push(bytes);
        let whole = whole.finish();
        assert_eq!(whole.usage.is_none(), whole.source == UsageSource::None);
        assert_eq!(whole.unmetered.is_none(), whole.source == UsageSource::Provider);
        for size in [1, 2, 7, 1 + bytes.len() / 2] {
            let mut cut = meter();
            bytes.chunks(size).for_each(|piece| cut.push(piece));
            assert_eq!(cut.finish(), whole, "{api:?} in pieces of {size}");
        }
    }
});
