//! Streams of any bytes are followed without a panic, their events end at the same places however they are cut, and what is ended at such
//! a place is an error to the meter. The first byte is the kind of stream, the second the size of the pieces.
#![no_main]

use std::sync::LazyLock;

use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use tollgate_llm::{
    Boundary, Call, Catalogue, Dialect, PolicyRefusal, Provider, RefusalCause, ResponseMeter, identify,
};

const KINDS: [(&str, &str, &str); 7] = [
    ("api.openai.com", "/v1/chat/completions", "text/event-stream"),
    ("api.openai.com", "/v1/responses", "text/event-stream"),
    ("api.anthropic.com", "/v1/messages", "text/event-stream"),
    ("generativelanguage.googleapis.com", "/v1beta/models/m:streamGenerateContent", "text/event-stream"),
    ("generativelanguage.googleapis.com", "/v1beta/models/m:streamGenerateContent", "application/json"),
    ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse-stream", "application/vnd.amazon.eventstream"),
    ("", "/api/chat", "application/x-ndjson"),
];

static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
    let catalogue = Catalogue::builtin();
    let ollama = Provider::new("ollama", Vec::new(), Some(Dialect::Ollama));
    let calls = KINDS.iter().map(|(host, path, _)| {
        let provider = catalogue.find(host).map_or(&ollama, |provider| &**provider);
        identify(provider, &Method::POST, path)
    });
    calls.collect()
});

fuzz_target!(|input: &[u8]| {
    let [which, size, stream @ ..] = input else { return };
    let which = usize::from(*which) % KINDS.len();
    let (_, _, content_type) = KINDS[which];
    let call = &CALLS[which];
    let refusal = PolicyRefusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        cause: RefusalCause::Budget,
        message: "spent",
        retry_after: None,
        allowance: None,
    };
    let begun = || Boundary::new(call, Some(content_type), None).expect("these can be ended");
    let ends = |size: usize| {
        let (mut boundary, mut ends, mut before) = (begun(), Vec::new(), 0);
        for piece in stream.chunks(size.max(1)) {
            let mut rest = piece;
            while let Some(used) = boundary.seek(rest) {
                before += used;
                rest = &rest[used..];
                ends.push(before);
                assert!(boundary.is_here());
            }
            before += rest.len();
        }
        ends
    };
    let whole = ends(stream.len());
    assert_eq!(ends(usize::from(*size)), whole);
    assert!(whole.is_sorted_by(|one, next| one < next));

    for end in [0].into_iter().chain(whole.into_iter().take(8)) {
        let mut boundary = begun();
        boundary.follow(&stream[..end]);
        if !boundary.is_here() {
            // A lone CR that an LF may follow.
            boundary.seek(b"x");
        }
        let words = boundary.end(&refusal);
        assert!(!words.is_empty());
        let mut meter = ResponseMeter::new(call.api, StatusCode::OK, Some(content_type), None);
        meter.push(&stream[..end]);
        meter.push(&words);
        let facts = meter.finish();
        // Google's error is no event, and of other kinds what is no stream at all cannot be ended well.
        let is_event = content_type == "text/event-stream" && call.dialect != Dialect::Gemini;
        assert!(facts.error.is_some() || !is_event, "{end}");
    }
});
