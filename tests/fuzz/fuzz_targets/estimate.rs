//! Any prompt is counted without a stall or a panic, as another tokenizer counts it, and the same however its body is cut. Start it
//! from `tests/corpus`.
#![no_main]

use std::sync::{LazyLock, Mutex};

use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Api, Catalogue, RequestMeter, ResponseMeter, Sample, Tokenizers, estimate_roughly, identify};

static TOKENIZERS: LazyLock<Mutex<Tokenizers>> = LazyLock::new(Mutex::default);

/// What a sample holds at least in one piece. Longer texts are thinned, so that there is nothing to compare.
const WHOLE: usize = 4096;

fn count(model: &str, sample: &Sample) -> u64 {
    TOKENIZERS.lock().expect("nothing panics with it").estimate(Some(model), sample)
}

fn asked(path: &str, body: &[u8], size: usize) -> Sample {
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("a built-in host");
    let mut meter = RequestMeter::new(&identify(provider, &Method::POST, path), None, None);
    body.chunks(size).for_each(|piece| meter.push(piece));
    meter.finish_with_text().1
}

fn written(body: &[u8], size: usize) -> Sample {
    let mut meter = ResponseMeter::new(Api::ChatCompletions, StatusCode::OK, Some("text/event-stream"), None);
    body.chunks(size).for_each(|piece| meter.push(piece));
    meter.finish_with_untold().1.text
}

fuzz_target!(|bytes: &[u8]| {
    let whole = bytes.len().max(1);
    for sample in [asked, |_: &str, body: &[u8], size: usize| written(body, size)] {
        let (cut, uncut) = (sample("/v1/chat/completions", bytes, 1), sample("/v1/chat/completions", bytes, whole));
        assert_eq!(count("gpt-5", &cut), count("gpt-5", &uncut));
        assert_eq!(estimate_roughly(&cut), estimate_roughly(&uncut));
    }
    let text = String::from_utf8_lossy(bytes);
    let written = serde_json::to_string(&text).expect("a string");
    let sample = asked("/v1/embeddings", format!("{{\"input\":{written}}}").as_bytes(), whole);
    // The text, its quotation marks, and what stands after it.
    if written.len() < WHOLE {
        // Every 256 characters of one kind there may be a cut, and each may cost the few tokens on both of its sides.
        let allowance = 4 * (text.chars().count() as u64 / 256 + text.len() as u64 / 4096);
        for (model, oracle) in [("gpt-5", bpe_openai::o200k_base()), ("gpt-4", bpe_openai::cl100k_base())] {
            let (ours, theirs) = (count(model, &sample), oracle.count(&text) as u64);
            assert!(ours.abs_diff(theirs) <= allowance, "{model}: {ours} and {theirs}");
        }
    }
});
