//! Metering: a request's body, the events of streams in each dialect, and a price.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use tollgate_llm::{Api, Asked, Catalogue, Prices, RequestMeter, ResponseMeter, Usage, identify};

use crate::{Case, Work};

pub(crate) const CASES: &[Case] = &[
    ("request body, 200 kB", request),
    ("chat, 1000 events", || events(Api::ChatCompletions, SSE, CHAT.as_bytes(), CHAT_END.as_bytes())),
    ("responses, 1000 events", || events(Api::Responses, SSE, RESPONSES.as_bytes(), RESPONSES_END.as_bytes())),
    ("messages, 1000 events", || events(Api::Messages, SSE, MESSAGES.as_bytes(), MESSAGES_END.as_bytes())),
    ("gemini, 1000 events", || events(Api::GenerateContent, SSE, GEMINI.as_bytes(), GEMINI.as_bytes())),
    ("converse, 1000 events", converse),
    ("answer in one piece, 100 kB", answer),
    ("price, 1000 look-ups", price),
];

const SSE: &str = "text/event-stream";

/// As it comes from the provider, one event: here and below.
pub(crate) const CHAT: &str = "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\
    \"created\":1741570283,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\
    \"system_fingerprint\":\"fp_06737a9306\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\
    \"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"kX2n\"}\n\n";
pub(crate) const CHAT_END: &str = "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\
    \"created\":1741570283,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"choices\":[],\
    \"usage\":{\"prompt_tokens\":19,\"completion_tokens\":100,\"total_tokens\":119,\"prompt_tokens_details\":\
    {\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}}\n\n\
    data: [DONE]\n\n";
const RESPONSES: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\
    \"sequence_number\":17,\"item_id\":\"msg_68a1c3f0d8a08196b1f2\",\"output_index\":1,\"content_index\":0,\"delta\":\" token\",\
    \"logprobs\":[],\"obfuscation\":\"kX2nQ3vT\"}\n\n";
const RESPONSES_END: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":99,\
    \"response\":{\"id\":\"resp_68a1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"gpt-5-2025-08-07\",\
    \"output\":[],\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":1000,\
    \"output_tokens_details\":{\"reasoning_tokens\":64},\"total_tokens\":1010}}}\n\n";
const MESSAGES: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
    \"delta\":{\"type\":\"text_delta\",\"text\":\"Hello, this is some text.\"}}\n\n";
const MESSAGES_END: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\
    \"stop_sequence\":null},\"usage\":{\"input_tokens\":20,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
    \"output_tokens\":1000}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const GEMINI: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" some words of an answer\"}],\
    \"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 10,\"candidatesTokenCount\": 12,\
    \"totalTokenCount\": 112,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 10}],\
    \"thoughtsTokenCount\": 90},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"mLtPaNfmMOqP\"}\r\n\r\n";

/// Bytes as they come off a connection.
const PIECE: usize = 16 << 10;

fn request() -> Work {
    let message = r#"{"role":"user","content":"Some text of a usual length,\nwith \"quotes\" and all. 0123456789"},"#;
    let body = format!(r#"{{"messages":[{}{{}}],"model":"gpt-5","stream":true}}"#, message.repeat(2_200));
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("a built-in host");
    let call = identify(provider, &Method::POST, "/v1/chat/completions");
    Box::new(move || {
        let mut meter = RequestMeter::new(&call, Some("application/json"), None);
        body.as_bytes().chunks(PIECE).for_each(|piece| meter.push(black_box(piece)));
        assert!(meter.finish().model.is_some());
    })
}

fn events(api: Api, kind: &'static str, event: &[u8], end: &[u8]) -> Work {
    let (event, end) = (event.to_vec(), end.to_vec());
    Box::new(move || {
        let mut meter = ResponseMeter::new(api, StatusCode::OK, Some(kind), None);
        (0..1000).for_each(|_| meter.push(black_box(&event)));
        meter.push(&end);
        assert!(black_box(meter.finish()).usage.is_some());
    })
}

fn converse() -> Work {
    let event =
        message("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefghijklmnopqrs"}"#);
    let end = message(
        "metadata",
        r#"{"metrics":{"latencyMs":500},"usage":{"inputTokens":8,"outputTokens":9,"totalTokens":17}}"#,
    );
    events(Api::BedrockConverseStream, "application/vnd.amazon.eventstream", &event, &end)
}

/// A message of Amazon's event stream: lengths, their checksum, headers, payload, the checksum of all.
fn message(kind: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 16 + headers.len() + payload.len();
    let mut bytes = (total as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&headers);
    bytes.extend_from_slice(payload.as_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn answer() -> Work {
    let text = "Some text of an answer, with \\\"quotes\\\" and\\n lines. ".repeat(2_000);
    let body = format!(
        r#"{{"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":19,"completion_tokens":20000,"total_tokens":20019}}}}"#
    );
    Box::new(move || {
        let mut meter = ResponseMeter::new(Api::ChatCompletions, StatusCode::OK, Some("application/json"), None);
        body.as_bytes().chunks(PIECE).for_each(|piece| meter.push(black_box(piece)));
        assert!(black_box(meter.finish()).usage.is_some());
    })
}

fn price() -> Work {
    const MODELS: [(&str, &str); 4] = [
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("openai", "unknown"),
    ];
    let prices = Prices::bundled();
    let usage = Usage { input: 2006, output: 300, cache_read: 1920, reasoning: 128, ..Usage::default() };
    // Some rates change with the hour.
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000);
    Box::new(move || {
        for (provider, model) in MODELS.iter().cycle().take(1000) {
            let asked = Asked {
                provider,
                region: None,
                response_model: Some(black_box(model)),
                request_model: None,
                usage: &usage,
                pointed: None,
                told: None,
                at,
            };
            black_box(prices.price(&asked)).ok();
        }
    })
}
