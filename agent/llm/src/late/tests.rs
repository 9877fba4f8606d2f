use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use http::Method;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{Catalogue, ErrorKind, RefusalCause, ResponseMeter, identify};

const REFUSAL: PolicyRefusal<'static> = PolicyRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    cause: RefusalCause::Limit,
    message: "the budget \"day\" is spent;\nask ops",
    retry_after: None,
    allowance: None,
};

fn call(host: &str, path: &str) -> Call {
    identify(Catalogue::builtin().find(host).unwrap(), &Method::POST, path)
}

fn chat() -> Call {
    call("api.openai.com", "/v1/chat/completions")
}

fn gemini(path: &str) -> Call {
    call("generativelanguage.googleapis.com", &format!("/v1beta/models/gemini-2.5-flash:{path}"))
}

const SSE: &str = "text/event-stream; charset=utf-8";
const AWS: &str = "application/vnd.amazon.eventstream";

fn boundary(call: &Call, content_type: &str) -> Boundary {
    Boundary::new(call, Some(content_type), None).expect("it can be ended")
}

/// The ends of a stream's events, the same however it is cut.
fn ends(call: &Call, content_type: &str, stream: &[u8]) -> Vec<usize> {
    let found = |pieces: &[&[u8]]| {
        let (mut boundary, mut ends, mut before) = (boundary(call, content_type), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
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
    let whole = found(&[stream]);
    for cut in 0..=stream.len() {
        assert_eq!(found(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(found(&bytes), whole, "byte by byte");
    whole
}

#[test]
fn events_end_with_their_blank_line_whatever_the_line_ends() {
    let of = |stream: &str| ends(&chat(), SSE, stream.as_bytes());
    assert_eq!(of("data: a\n\ndata: b\n\ndata: c\n"), [9, 18]);
    assert_eq!(of("data: a\r\n\r\n: ping\r\n\r\ndata"), [11, 21]);
    assert_eq!(of("data: a\r\rdata: b\r\rx"), [9, 18]);
    assert_eq!(of("\n\n\u{feff}event: x\ndata: a\n\n\n\n"), [23]);
    assert_eq!(of("data: a\r\r"), [] as [usize; 0], "an LF may follow");
}

#[test]
fn lines_frames_and_elements_end_where_their_formats_say() {
    let ollama = Call { api: Api::Ollama, dialect: Dialect::Ollama, ..chat() };
    assert_eq!(ends(&ollama, "application/x-ndjson", b"{\"a\":1}\n\n{}\r\n{"), [8, 13]);
    let frames = [eventstream::frame(&[("a", "b")], b"xy"), eventstream::frame(&[], b"")].concat();
    let converse = call("bedrock-runtime.us-east-1.amazonaws.com", "/model/m.x/converse-stream");
    assert_eq!(ends(&converse, AWS, &frames), [frames.len() - 16, frames.len()]);
    assert_eq!(ends(&converse, AWS, &[0, 0, 0, 2, 1, 1, 1]), [] as [usize; 0]);
    let array = br#"[{"a":"}]\"[{"},
{"b":[{}]}
]"#;
    assert_eq!(ends(&gemini("streamGenerateContent"), "application/json", array), [15, 27]);
}

#[test]
fn what_is_no_stream_or_cannot_be_written_to_has_no_boundaries() {
    let none = |call: &Call, kind, coding| Boundary::new(call, kind, coding).is_none();
    assert!(none(&chat(), Some("application/json"), None));
    assert!(none(&chat(), None, None));
    assert!(none(&chat(), Some(SSE), Some("gzip")));
    assert!(none(&gemini("generateContent"), Some("application/json"), None));
    assert!(!none(&chat(), Some("Text/Event-Stream"), Some("identity")));
}

/// The end of a stream that has been followed so far.
fn ended(call: &Call, content_type: &str, passed: &str) -> String {
    let mut boundary = boundary(call, content_type);
    boundary.follow(passed.as_bytes());
    assert!(boundary.is_here(), "{passed:?}");
    String::from_utf8(boundary.end(&REFUSAL).to_vec()).unwrap()
}

#[test]
fn each_api_is_told_in_its_own_words() {
    let message = REFUSAL.message.replace('"', "\\\"").replace('\n', "\\n");
    assert_eq!(
        ended(&chat(), SSE, "data: {}\r\n\r\n"),
        format!(
            "data: {{\"error\":{{\"code\":\"rate_limit_exceeded\",\"message\":\"{message}\",\"param\":null,\"type\":\"rate_limit_error\"}}}}\r\n\r\n"
        )
    );
    assert_eq!(
        ended(&call("api.anthropic.com", "/v1/messages"), SSE, ""),
        format!(
            "event: error\ndata: {{\"error\":{{\"message\":\"{message}\",\"type\":\"rate_limit_error\"}},\"type\":\"error\"}}\n\n"
        )
    );
    let responses =
        ended(&call("api.openai.com", "/v1/responses"), SSE, "event: a\ndata: {}\n\nevent: b\ndata: {}\n\n");
    let data: Value = serde_json::from_str(responses.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
    assert_eq!((&data["type"], &data["sequence_number"]), (&json!("error"), &json!(2)));
    assert_eq!(data["message"], data["error"]["message"]);
    let google = ended(&gemini("streamGenerateContent?alt=sse"), SSE, "data: {}\r\n\r\n");
    assert!(google.starts_with("{\"error\":{\"code\":429,") && google.ends_with("}}\r\n"), "{google}");
    for (passed, before) in [("", "["), ("[", ""), ("[{}", ",\n"), ("[{},", "")] {
        let google = ended(&gemini("streamGenerateContent"), "application/json", passed);
        assert!(google.starts_with(&format!("{before}{{\"error\":{{\"code\":429,")), "{passed} {google}");
        let elements: Vec<Value> = serde_json::from_str(&format!("{passed}{google}")).unwrap();
        assert_eq!(elements.last().unwrap()["error"]["status"], "RESOURCE_EXHAUSTED");
    }
    let cohere = ended(&call("api.cohere.com", "/v2/chat"), SSE, "");
    assert!(cohere.starts_with("event: message-end\ndata: {\"delta\":{\"error\":"), "{cohere}");
    let ollama = Call { api: Api::Ollama, dialect: Dialect::Ollama, ..chat() };
    assert_eq!(ended(&ollama, "application/x-ndjson", "{}\n"), format!("{{\"error\":\"{message}\"}}\n"));
    let mistral = ended(&call("api.mistral.ai", "/v1/conversations"), SSE, "");
    assert!(mistral.starts_with("event: conversation.response.error\ndata: {\"code\":429,"), "{mistral}");
}

#[test]
fn googles_error_has_no_braces_but_its_own() {
    let boundary = boundary(&gemini("streamGenerateContent?alt=sse"), SSE);
    let refusal = PolicyRefusal { message: r#"rule "}{\"} says {no""#, ..REFUSAL };
    let words = String::from_utf8(boundary.end(&refusal).to_vec()).unwrap();
    assert_eq!((words.matches('{').count(), words.matches('}').count()), (2, 2), "{words}");
    let error: Value = serde_json::from_str(&words).unwrap();
    assert_eq!(error["error"]["message"], refusal.message);
}

#[test]
fn a_stream_that_is_over_is_told_nothing() {
    let mut boundary = boundary(&gemini("streamGenerateContent"), "application/json");
    boundary.follow(b"[{}]");
    assert!(!boundary.is_here() && boundary.end(&REFUSAL).is_empty());
}

#[test]
fn amazons_own_decoder_reads_the_exception() {
    for (status, name) in [
        (429, "throttlingException"),
        (403, "validationException"),
        (503, "serviceUnavailableException"),
        (500, "internalServerException"),
    ] {
        let call = call("bedrock-runtime.us-east-1.amazonaws.com", "/model/m.x/converse-stream");
        let refusal = PolicyRefusal { status: StatusCode::from_u16(status).unwrap(), ..REFUSAL };
        let mut words = boundary(&call, AWS).end(&refusal);
        let DecodedFrame::Complete(message) = MessageFrameDecoder::new().decode_frame(&mut words).unwrap() else {
            panic!("a whole frame");
        };
        let header = |name: &str| {
            let found = message.headers().iter().find(|header| header.name().as_str() == name);
            found.map(|header| header.value().as_string().unwrap().as_str().to_owned()).unwrap()
        };
        assert_eq!(header(":message-type"), "exception");
        assert_eq!(header(":exception-type"), name);
        let payload: Value = serde_json::from_slice(message.payload()).unwrap();
        assert_eq!(payload["message"], REFUSAL.message);
    }
}

/// An event as Amazon's own library writes it.
fn amazons(kind: &str, payload: &str) -> Vec<u8> {
    let text = |text: &str| HeaderValue::String(text.to_owned().into());
    let message = Message::new(Bytes::copy_from_slice(payload.as_bytes()))
        .add_header(Header::new(":event-type", text(kind)))
        .add_header(Header::new(":message-type", text("event")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

/// A stream of each kind, its events apart.
fn stream(which: usize, texts: &[String], line_end: &str) -> (Call, &'static str, Vec<Vec<u8>>) {
    let event = |data: Value| format!("data: {data}{line_end}{line_end}").into_bytes();
    let delta = |text: &String| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    match which {
        0 => (chat(), SSE, texts.iter().map(|text| event(delta(text))).collect()),
        1 => {
            let events = texts.iter().map(|text| {
                let data = json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}});
                [format!("event: content_block_delta{line_end}").into_bytes(), event(data)].concat()
            });
            (call("api.anthropic.com", "/v1/messages"), SSE, events.collect())
        }
        2 => {
            let events = texts.iter().map(|text| {
                let data = json!({"type": "response.output_text.delta", "delta": text});
                [format!("event: response.output_text.delta{line_end}").into_bytes(), event(data)].concat()
            });
            (call("api.openai.com", "/v1/responses"), SSE, events.collect())
        }
        3 => {
            let line =
                |text: &String| format!("{}\n", json!({"message": {"content": text}, "done": false})).into_bytes();
            let ollama = Call { api: Api::Ollama, dialect: Dialect::Ollama, ..chat() };
            (ollama, "application/x-ndjson", texts.iter().map(line).collect())
        }
        4 => {
            let element = |(at, text): (usize, &String)| {
                let before = if at == 0 { "[" } else { ",\r\n" };
                let data = json!({"candidates": [{"content": {"parts": [{"text": text}]}}]});
                format!("{before}{data:#}").into_bytes()
            };
            (gemini("streamGenerateContent"), "application/json", texts.iter().enumerate().map(element).collect())
        }
        _ => {
            let event = |text: &String| {
                amazons("contentBlockDelta", &json!({"delta": {"text": text}, "contentBlockIndex": 0}).to_string())
            };
            let call = call("bedrock-runtime.us-east-1.amazonaws.com", "/model/m.x/converse-stream");
            (call, AWS, texts.iter().map(event).collect())
        }
    }
}

proptest! {
    /// Passed on up to the end of the event that is on its way, and ended there: our own meter reads the whole events before it and the
    /// error, and what Amazon's decoder reads is frames.
    #[test]
    fn a_stream_that_is_cut_anywhere_ends_well(
        which in 0_usize..6,
        texts in prop::collection::vec("[a-z\"\\\\{}\\[\\], \n\réß]{0,12}", 1..6),
        line_end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
        cut in any::<prop::sample::Index>(),
        pieces in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let (call, content_type, events) = stream(which, &texts, line_end);
        let all = events.concat();
        let cut = cut.index(all.len() + 1);
        let mut at: Vec<usize> = pieces.iter().map(|piece| piece.index(cut + 1)).collect();
        at.extend([0, cut]);
        at.sort_unstable();
        let mut boundary = boundary(&call, content_type);
        at.windows(2).for_each(|pair| boundary.follow(&all[pair[0]..pair[1]]));
        let more = if boundary.is_here() { Some(0) } else { boundary.seek(&all[cut..]) };
        // Of lone CRs, the last may be half a line's end.
        let Some(more) = more else {
            prop_assert_eq!(line_end, "\r");
            return Ok(());
        };
        let mut passed = all[..cut + more].to_vec();
        let words = boundary.end(&REFUSAL);
        prop_assert!(!words.is_empty());
        passed.extend_from_slice(&words);

        let mut meter = ResponseMeter::new(call.api, StatusCode::OK, Some(content_type), None);
        meter.push(&passed);
        let (facts, untold) = meter.finish_with_untold();
        prop_assert_ne!(facts.unmetered, Some(crate::Unmetered::Framing));
        let expected = if call.dialect == Dialect::Ollama { ErrorKind::Other } else { ErrorKind::RateLimited };
        prop_assert_eq!(facts.error, Some(expected));
        drop(untold);

        if content_type == AWS {
            let mut rest = &passed[..];
            let mut decoder = MessageFrameDecoder::new();
            let mut count = 0;
            while let DecodedFrame::Complete(_) = decoder.decode_frame(&mut rest).unwrap() { count += 1; }
            prop_assert!(rest.is_empty());
            let mut ends = Vec::new();
            events.iter().fold(0, |at, event| { ends.push(at + event.len()); at + event.len() });
            prop_assert_eq!(count, ends.iter().filter(|end| **end <= cut + more).count() + 1);
        }
        if content_type == "application/json" {
            let elements: Vec<Value> = serde_json::from_slice(&passed).unwrap();
            prop_assert!(elements.last().unwrap()["error"].is_object());
        }
        if content_type == "application/x-ndjson" {
            let lines: Vec<Value> = passed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect();
            prop_assert!(lines.last().unwrap()["error"].is_string());
        }
    }

    #[test]
    fn no_bytes_panic_and_ends_are_the_same_however_they_are_cut(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n[]{},\"\\ \0"[..])], 0..60), which in 0_usize..6) {
        let (call, content_type, _) = stream(which, &[], "\n");
        ends(&call, content_type, &bytes);
    }
}
