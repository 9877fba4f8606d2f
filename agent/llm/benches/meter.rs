//! What metering costs: nanoseconds an event and megabytes a second, the median of several rounds.
//! Run it with `cargo bench -p tollgate-llm`; it prints, it does not judge.

use std::{
    hint::black_box,
    time::{Duration, Instant, SystemTime},
};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use tollgate_llm::{
    Api, Asked, Catalogue, Prices, RequestMeter, ResponseMeter, Tokenizers, Usage, estimate_roughly, identify,
    load_prices,
};

const CHAT: &str = r#"data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_06737a9306","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"kX2n"}

"#;
const ANTHROPIC: &str = r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello, this is some text."}}

"#;
const GEMINI: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" some words of an answer\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 10,\"candidatesTokenCount\": 12,\"totalTokenCount\": 112,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 10}],\"thoughtsTokenCount\": 90},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"mLtPaNfmMOqP\"}\r\n\r\n";

fn main() {
    let converse =
        frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefghijklmnopqrs"}"#);
    let data = ANTHROPIC.split_once("data: ").expect("it is an event").1.trim();
    let invoke = frame("chunk", &format!(r#"{{"bytes":"{}","p":"abcdefghijk"}}"#, STANDARD.encode(data)));
    for (name, api, event) in [
        ("chat, event without usage", Api::ChatCompletions, CHAT.as_bytes()),
        ("messages, event without usage", Api::Messages, ANTHROPIC.as_bytes()),
        ("gemini, event with usage", Api::GenerateContent, GEMINI.as_bytes()),
        ("converse stream, event without usage", Api::BedrockConverseStream, &converse),
        ("invoke stream, event without usage", Api::BedrockInvokeStream, &invoke),
    ] {
        let kind = if event[0] == 0 { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
        events(name, api, kind, event, event.len());
        events(&format!("{name}, cut in two"), api, kind, event, event.len() / 2 + 1);
    }
    // Much larger than any event, so that what is left is the checksum and the search for usage.
    let large = frame("contentBlockDelta", &format!(r#"{{"delta":{{"text":"{}"}}}}"#, "0123456789".repeat(5_000)));
    events(
        "converse stream, 50 kB of text",
        Api::BedrockConverseStream,
        "application/vnd.amazon.eventstream",
        &large,
        large.len(),
    );
    request();
    embeddings();
    prices();
    estimates();
}

/// The median time of `work`.
fn time(mut work: impl FnMut()) -> Duration {
    let mut rounds: Vec<_> = (0..15)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

fn show(name: &str, unit: &str, times: usize, bytes: usize, took: Duration) {
    let nanoseconds = took.as_nanos() as f64 / times as f64;
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    println!("{name:44} {nanoseconds:10.0} ns/{unit:8} {rate:8.0} MB/s");
}

/// A message on the wire of AWS, by its own library.
fn frame(name: &str, payload: &str) -> Vec<u8> {
    let text = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(payload.to_owned())
        .add_header(text(":event-type", name))
        .add_header(text(":content-type", "application/json"))
        .add_header(text(":message-type", "event"));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("its headers are short");
    bytes
}

fn events(name: &str, api: Api, kind: &str, event: &[u8], piece: usize) {
    const EVENTS: usize = 10_000;
    let took = time(|| {
        let mut meter = ResponseMeter::new(api, StatusCode::OK, Some(kind), None);
        for _ in 0..EVENTS {
            event.chunks(piece).for_each(|piece| meter.push(black_box(piece)));
        }
        black_box(meter.finish());
    });
    show(name, "event", EVENTS, EVENTS * event.len(), took);
}

fn request() {
    let message = r#"{"role":"user","content":"Some text of a usual length,\nwith \"quotes\" and all. 0123456789"},"#;
    let body = format!(r#"{{"messages":[{}{{}}],"model":"gpt-5","stream":true}}"#, message.repeat(4000));
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("a built-in host");
    let call = identify(provider, &Method::POST, "/v1/chat/completions");
    let took = time(|| {
        let mut meter = RequestMeter::new(&call, Some("application/json"), None);
        body.as_bytes().chunks(16 << 10).for_each(|piece| meter.push(black_box(piece)));
        assert!(meter.finish().model.is_some());
    });
    show("request, model after messages", "body", 1, body.len(), took);
}

fn embeddings() {
    let body = format!(r#"{{"data":[{}0],"usage":{{"prompt_tokens":8}}}}"#, "-0.0123456789,".repeat(30_000));
    let took = time(|| {
        let mut meter = ResponseMeter::new(Api::Embeddings, StatusCode::OK, Some("application/json"), None);
        body.as_bytes().chunks(16 << 10).for_each(|piece| meter.push(black_box(piece)));
        assert!(meter.finish().usage.is_some());
    });
    show("embeddings, numbers before usage", "body", 1, body.len(), took);
}

fn prices() {
    let start = Instant::now();
    load_prices();
    let prices = Prices::bundled();
    println!("{:44} {:10.1} ms", "price list, read once", start.elapsed().as_secs_f64() * 1e3);
    let usage = Usage { input: 2006, output: 300, cache_read: 1920, reasoning: 128, ..Usage::default() };
    for (provider, model) in
        [("openai", "gpt-4o-mini-2024-07-18"), ("anthropic", "claude-sonnet-4-5-20250929"), ("openai", "unknown")]
    {
        const TIMES: usize = 1000;
        let took = time(|| {
            for _ in 0..TIMES {
                let asked = Asked {
                    provider,
                    region: None,
                    response_model: Some(black_box(model)),
                    request_model: None,
                    usage: &usage,
                    pointed: None,
                    told: None,
                    at: SystemTime::now(),
                };
                black_box(prices.price(&asked)).ok();
            }
        });
        show(&format!("price, {model}"), "call", TIMES, 0, took);
    }
}

/// What counting costs the thread that does it: prose and code of a sample's size, and larger, of which a sample is counted.
fn estimates() {
    let mut tokenizers = Tokenizers::default();
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("a built-in host");
    let call = identify(provider, &Method::POST, "/v1/chat/completions");
    let sample = |text: &str| {
        let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        let mut meter = RequestMeter::new(&call, None, None);
        meter.push(body.as_bytes());
        meter.finish_with_text().1
    };
    let (prose, code) = (include_str!("../../../ARCHITECTURE.md"), include_str!("../src/json.rs"));
    for (model, name) in [("gpt-5", "o200k_base"), ("gpt-4", "cl100k_base")] {
        let start = Instant::now();
        tokenizers.estimate(Some(model), &sample("x"));
        println!("{:44} {:10.1} ms", format!("{name}, read once"), start.elapsed().as_secs_f64() * 1e3);
        for (kind, text) in [("prose", &prose[..3_900]), ("code", &code[..3_600])] {
            let sample = sample(text);
            let mut tokens = 0;
            let took = time(|| tokens = black_box(tokenizers.estimate(Some(model), &sample)));
            show(&format!("{name}, {kind}, {tokens} tokens"), "text", 1, text.len(), took);
            println!("{:44} {:10.1} M tokens/s", "", tokens as f64 / 1e6 / took.as_secs_f64());
        }
    }
    for (kind, text) in [("prose", prose), ("code", code)] {
        let sample = sample(text);
        let mut tokens = 0;
        let took = time(|| tokens = black_box(estimate_roughly(&sample)));
        show(&format!("roughly, {kind}, {tokens} tokens"), "text", 1, text.len(), took);
    }
}
