//! The accounting bugs of other gateways, each with a test that fails where the bug is, and what the corpus does not
//! show: unread bodies, codings that lie, memory, and that reading less does not change the result.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const EVENTS: Option<&str> = Some("text/event-stream");

fn read(api: Api, content_type: Option<&str>, body: &str) -> ResponseFacts {
    let mut meter = ResponseMeter::new(api, StatusCode::OK, content_type, None);
    meter.push(body.as_bytes());
    meter.finish()
}

fn stream(api: Api, events: &[&str]) -> ResponseFacts {
    read(api, EVENTS, &framed(events))
}

fn framed<S: AsRef<str>>(events: &[S]) -> String {
    let mut body = String::new();
    for event in events {
        write!(body, "data: {}\n\n", event.as_ref()).unwrap();
    }
    body
}

fn tokens(facts: &ResponseFacts) -> (u64, u64) {
    let usage = facts.usage.expect("there is usage");
    (usage.input, usage.output)
}

const START: &str =
    r#"{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":25,"output_tokens":1}}}"#;

fn delta(usage: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{usage}}}"#)
}

/// Kong 3.15.0.4, Bifrost #5354.
#[test]
fn anthropics_start_and_delta_are_not_summed() {
    let facts = stream(
        Api::Messages,
        &[START, &delta(r#"{"output_tokens":10}"#), &delta(r#"{"input_tokens":25,"output_tokens":15}"#)],
    );
    assert_eq!((tokens(&facts), facts.source), ((25, 15), UsageSource::Provider));
}

/// Kong 3.15.0.4.
#[test]
fn geminis_cumulative_counts_are_not_summed() {
    let chunk = |n, end| {
        format!(
            r#"{{"candidates":[{{"content":{{}}{end}}}],"usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":{n}}}}}"#
        )
    };
    let facts = stream(Api::GenerateContent, &[&chunk(1, ""), &chunk(2, ""), &chunk(3, r#","finishReason":"STOP""#)]);
    assert_eq!((tokens(&facts), facts.source), ((10, 3), UsageSource::Provider));
}

/// Kong 3.15.0.4.
#[test]
fn geminis_thoughts_are_output() {
    let body = r#"{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"thoughtsTokenCount":40}}"#;
    let usage = read(Api::GenerateContent, None, body).usage.unwrap();
    assert_eq!((usage.output, usage.reasoning), (42, 40));
}

/// Kong 3.15.0.4.
#[test]
fn geminis_tool_prompts_are_input() {
    let body = r#"{"usageMetadata":{"promptTokenCount":12,"toolUsePromptTokenCount":3500,"candidatesTokenCount":2}}"#;
    assert_eq!(tokens(&read(Api::GenerateContent, None, body)), (3512, 2));
}

/// Kong 3.15.0.4.
#[test]
fn rounds_spent_on_compaction_are_counted() {
    let usage = r#"{"input_tokens":10,"output_tokens":1,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":20},{"type":"message","input_tokens":10,"output_tokens":1}]}"#;
    // Said twice, they are still said once: each event tells the whole list.
    let facts = stream(Api::Messages, &[START, &delta(usage), &delta(usage)]);
    assert_eq!(tokens(&facts), (110, 21));
}

/// LiteLLM #11789.
#[test]
fn cached_tokens_of_a_stream_are_known_as_cached() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":2006,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":1920}}}"#;
    let usage = stream(Api::ChatCompletions, &[usage, "[DONE]"]).usage.unwrap();
    assert_eq!((usage.input, usage.cache_read), (2006, 1920));
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":6,"cache_read_input_tokens":2000,"output_tokens":1}}}"#;
    let usage = stream(Api::Messages, &[start, &delta(r#"{"output_tokens":3}"#)]).usage.unwrap();
    assert_eq!((usage.input, usage.cache_read), (2006, 2000), "what a delta does not repeat stays");
}

/// LiteLLM #9812.
#[test]
fn cache_writes_are_counted_once() {
    let body = r#"{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":1,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":40},"output_tokens":1}}"#;
    let usage = read(Api::Messages, None, body).usage.unwrap();
    assert_eq!((usage.input, usage.cache_write, usage.cache_write_1h), (101, 100, 40));
}

/// LiteLLM #12970.
#[test]
fn a_prompt_repeated_in_every_chunk_counts_once() {
    let chunk = |n, finish| {
        format!(
            r#"{{"choices":[{{"delta":{{}},"finish_reason":{finish}}}],"usage":{{"prompt_tokens":50,"completion_tokens":{n},"total_tokens":{}}}}}"#,
            50 + n
        )
    };
    let facts = stream(Api::ChatCompletions, &[&chunk(1, "null"), &chunk(2, "null"), &chunk(3, "\"stop\"")]);
    assert_eq!(tokens(&facts), (50, 3));
}

/// LiteLLM PR #37992.
#[test]
fn an_explicit_zero_is_a_count_and_an_absent_one_is_not() {
    let zero = r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let facts = read(Api::ChatCompletions, None, zero);
    assert_eq!((tokens(&facts), facts.source), ((0, 0), UsageSource::Provider));
    let later = stream(Api::Messages, &[START, &delta(r#"{"output_tokens":0}"#)]);
    assert_eq!(tokens(&later), (25, 0), "a later zero wins");
    for silent in ["{}", r#"{"usage":null}"#, r#"{"usage":{}}"#, r#"{"usage":[]}"#, r#"{"usage":"none"}"#] {
        let facts = read(Api::ChatCompletions, None, silent);
        assert_eq!((facts.usage, facts.unmetered), (None, Some(Unmetered::NotReported)), "{silent}");
    }
}

#[test]
fn null_and_empty_choices_are_no_problem() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    for choices in ["null", "[]", "{}", "[null]", "[[]]", "7"] {
        let facts = stream(Api::ChatCompletions, &[&format!(r#"{{"choices":{choices},{usage}}}"#), "[DONE]"]);
        assert_eq!(tokens(&facts), (1, 2), "{choices}");
    }
}

#[test]
fn pings_and_comments_are_nothing() {
    let body = format!(
        ": keep-alive\r\n\r\nevent: ping\r\ndata: {{\"type\":\"ping\"}}\r\n\r\ndata: {START}\r\n\r\n:\r\n\r\nevent: ping\r\n\r\ndata: {}\r\n\r\n",
        delta(r#"{"output_tokens":9}"#)
    );
    assert_eq!(tokens(&read(Api::Messages, EVENTS, &body)), (25, 9));
}

#[test]
fn a_missing_end_mark_does_not_make_final_numbers_partial() {
    let finish = r#"{"choices":[{"finish_reason":"stop"}],"usage":null}"#;
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    assert_eq!(stream(Api::ChatCompletions, &[finish, usage]).source, UsageSource::Provider);
}

#[test]
fn the_start_alone_is_partial() {
    let facts = stream(Api::Messages, &[START]);
    assert_eq!((tokens(&facts), facts.source), ((25, 1), UsageSource::Partial));
    assert_eq!(facts.unmetered, Some(Unmetered::NotReported));
}

#[test]
fn an_error_after_200_is_an_error() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"my secret"}}"#;
    assert_eq!(stream(Api::Messages, &[START, overloaded]).error, Some(ErrorKind::Overloaded));
    let unknown = r#"{"error":{"message":"my secret","type":"my_secret"}}"#;
    assert_eq!(stream(Api::ChatCompletions, &[unknown]).error, Some(ErrorKind::Other));
    assert_eq!(stream(Api::ChatCompletions, &[r#"{"error":"my secret"}"#]).error, Some(ErrorKind::Other));
    assert_eq!(
        stream(Api::ChatCompletions, &[r#"{"error":{"code":429,"message":"m"}}"#]).error,
        Some(ErrorKind::RateLimited)
    );
    assert_eq!(read(Api::ChatCompletions, None, r#"{"error":null}"#).error, None);
}

#[test]
fn what_is_not_billed_is_not_counted() {
    let body = r#"{"input_tokens":2095,"usage":{"prompt_tokens":1}}"#;
    for api in [Api::CountTokens, Api::Unknown] {
        let facts = read(api, Some("application/json"), body);
        assert_eq!((facts.usage, facts.unmetered), (None, Some(Unmetered::Operation)));
        let mut failed = ResponseMeter::new(api, StatusCode::UNAUTHORIZED, None, None);
        failed.push(br#"{"error":{"type":"insufficient_quota"}}"#);
        let facts = failed.finish();
        assert_eq!((facts.error, facts.unmetered), (Some(ErrorKind::QuotaExceeded), Some(Unmetered::Operation)));
    }
}

#[test]
fn bodies_that_cannot_hold_usage_are_not_read() {
    for kind in ["audio/mpeg", "text/html; charset=utf-8", "application/octet-stream", "multipart/mixed"] {
        let facts = read(Api::ChatCompletions, Some(kind), r#"{"usage":{"prompt_tokens":1}}"#);
        assert_eq!((facts.usage, facts.unmetered), (None, Some(Unmetered::ContentType)), "{kind}");
    }
    for kind in ["application/json;charset=UTF-8", "Application/JSON", "application/problem+json", "text/plain", ""] {
        let facts = read(Api::ChatCompletions, Some(kind), r#"{"usage":{"prompt_tokens":1}}"#);
        assert_eq!(tokens(&facts), (1, 0), "{kind}");
    }
}

#[test]
fn codings_that_lie_are_marked_and_do_no_harm() {
    let body = br#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let read = |coding| {
        let mut meter = ResponseMeter::new(Api::ChatCompletions, StatusCode::OK, None, Some(coding));
        meter.push(body);
        meter.finish()
    };
    assert_eq!(tokens(&read("gzip")), (1, 2), "plain text said to be gzip");
    assert_eq!(read("br").unmetered, Some(Unmetered::CorruptCoding));
    assert_eq!(read("sdch").unmetered, Some(Unmetered::UnknownCoding));
}

#[test]
fn usage_is_found_behind_any_amount_of_answer() {
    let filler = "\"0.0123456789,".repeat(100) + "\"";
    let mut meter = ResponseMeter::new(Api::Embeddings, StatusCode::OK, None, None);
    meter.push(br#"{"data":[""#);
    for _ in 0..5_000 {
        meter.push(filler.as_bytes());
    }
    meter.push(br#""],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#);
    assert_eq!(tokens(&meter.finish()), (8, 0));
    // The last event of a response repeats all of its output, images included.
    let mut meter = ResponseMeter::new(Api::Responses, StatusCode::OK, EVENTS, None);
    meter.push(br#"data: {"type":"response.completed","response":{"output":[{"result":""#);
    for _ in 0..5_000 {
        meter.push(&[b'A'; 1000]);
    }
    meter.push(b"\"}],\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n");
    assert_eq!(tokens(&meter.finish()), (5, 6));
}

#[test]
fn the_first_model_named_is_the_one_that_answered() {
    let facts = stream(Api::ChatCompletions, &[r#"{"model":""}"#, r#"{"model":"a"}"#, r#"{"model":"b"}"#]);
    assert_eq!(facts.model.as_deref(), Some("a"));
}

/// A text that looks like what is looked for.
fn bait() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            r#"{"type":"message_stop"}"#,
            r#"{"usage":null,"error":null,"model":null}"#,
            r#"{"model":"m","usage" : null,"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":7}"},"finish_reason":null}]}"#,
            r#"{"us\u0061ge":{"prompt_tokens":3,"input_tokens":4,"output_tokens":5}}"#,
            r#"{"usage":{"prompt_tokens":3,"completion_tokens":9,"input_tokens":4,"output_tokens":5},"service_tier":"flex"}"#,
            r#"{"service_tier":"priority","model":"n"}"#,
            r#"{"type":"response.completed"}"#,
            r#"{"type":"response.completed","response":{"model":"r","usage":{"input_tokens":4,"output_tokens":5}}}"#,
            r#"{"type":"response.created","response":{"model":"r","usage":{"input_tokens":1,"output_tokens":1},"error":null}}"#,
            r#"{"type":"error","code":"rate_limit_exceeded"}"#,
            r#"{"error":{"type":"overloaded_error"}}"#,
            r#"{"choices":[{"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"finish_reason":""}]}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":8}}"#,
            r#"{"type":"message_start","message":{"model":"c","usage":{"input_tokens":2,"output_tokens":1}}}"#,
            r#"{"usageMetadata":{"promptTokenCount":2},"candidates":[{"finishReason":"STOP"}],"modelVersion":"g"}"#,
            r#"{"usage":{"prompt_tokens":3"#,
            r#"x"usage":{"prompt_tokens":"#,
            "[DONE]",
            "[DONE",
            "",
            "{",
            "\"",
            "}",
        ][..],
    )
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whole events are mostly passed over unread, and pieces of events never are: both must come to the same.
    #[test]
    fn passing_over_events_changes_nothing(events in prop::collection::vec(bait(), 0..8), size in 1usize..60) {
        let body = framed(&events);
        for api in [Api::ChatCompletions, Api::Responses, Api::Messages, Api::GenerateContent, Api::Embeddings] {
            let whole = read(api, EVENTS, &body);
            let mut meter = ResponseMeter::new(api, StatusCode::OK, EVENTS, None);
            body.as_bytes().chunks(size).for_each(|piece| meter.push(piece));
            prop_assert_eq!(meter.finish(), whole, "{:?}", api);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), events: bool) {
        for api in [Api::ChatCompletions, Api::Messages, Api::GenerateContent] {
            let mut meter = ResponseMeter::new(api, StatusCode::OK, events.then_some("text/event-stream"), None);
            bytes.chunks(9).for_each(|piece| meter.push(piece));
            let _ = meter.finish();
        }
    }
}

const FRAMES: Option<&str> = Some("application/vnd.amazon.eventstream");

#[test]
fn what_is_no_event_stream_is_told_from_one_that_is() {
    let body = r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#;
    let facts = read(Api::BedrockConverseStream, FRAMES, body);
    assert_eq!((tokens(&facts), facts.source), ((1, 2), UsageSource::Provider), "JSON under a stream's type");
    for body in
        ["data: {\"usage\":{}}\n\n", "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}abc", "<html>not found</html>"]
    {
        let facts = read(Api::BedrockConverseStream, FRAMES, body);
        assert_eq!((facts.usage, facts.unmetered), (None, Some(Unmetered::Framing)), "{body:?}");
    }
    assert_eq!(read(Api::BedrockConverseStream, FRAMES, "").unmetered, Some(Unmetered::NotReported));
}

#[test]
fn counts_in_headers_are_bedrocks_and_no_others() {
    let headers: HeaderMap = [("x-amzn-bedrock-input-token-count", "7"), ("x-amzn-bedrock-output-token-count", "8")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let read = |api| {
        let mut meter = ResponseMeter::new(api, StatusCode::OK, None, None).with_headers(&headers);
        meter.push(b"{}");
        meter.finish()
    };
    let facts = read(Api::BedrockInvoke);
    assert_eq!((tokens(&facts), facts.source), ((7, 8), UsageSource::Provider));
    for api in [Api::ChatCompletions, Api::Messages, Api::CountTokens, Api::Unknown] {
        assert_eq!(read(api).usage, None, "{api:?}");
    }
    let mut broken = ResponseMeter::new(Api::BedrockInvoke, StatusCode::OK, None, None).with_headers(&headers);
    broken.push(b"{\"outputs\":[");
    let facts = broken.finish();
    assert_eq!(
        (tokens(&facts), facts.source),
        ((7, 8), UsageSource::Partial),
        "the rest of the body may have said more"
    );
}

/// What is left to estimate of an answer with this status, type and coding.
fn left_untold(api: Api, status: u16, content_type: &str, coding: Option<&str>, body: &str) -> (bool, bool) {
    let mut meter = ResponseMeter::new(api, StatusCode::from_u16(status).unwrap(), Some(content_type), coding);
    meter.push(body.as_bytes());
    let (facts, untold) = meter.finish_with_untold();
    assert_eq!(facts.usage, None, "{api:?} {body}");
    (untold.input, untold.output)
}

#[test]
fn a_whole_answer_that_tells_no_usage_is_not_guessed() {
    for (api, body) in [
        (Api::EmbedContent, r#"{"embeddings":[{"values":[0.1,0.2]}]}"#),
        (Api::Embeddings, r#"{"data":[{"embedding":[0.1]}]}"#),
        (Api::CohereEmbed, r#"{"embeddings":{"float":[[0.1]]}}"#),
        (Api::ChatCompletions, r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#),
        (Api::Responses, r#"{"object":"response","background":true,"status":"queued","usage":null,"output":[]}"#),
        (Api::GenerateContent, r#"[{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}]"#),
    ] {
        assert_eq!(left_untold(api, 200, "application/json", None, body), (false, false), "{api:?} {body}");
        let cut = &body[..body.len() - 1];
        assert!(left_untold(api, 200, "application/json", None, cut).0, "cut off, it is estimated: {api:?} {cut}");
    }
    let line = "{\"message\":{\"content\":\"hi\"},\"done\":false}\n";
    assert_eq!(
        left_untold(Api::Ollama, 200, "application/x-ndjson", None, line),
        (true, true),
        "a stream that was cut"
    );
}

#[test]
fn what_read_nothing_or_cannot_be_read_is_not_guessed() {
    for status in [302, 307, 308, 401, 429, 500] {
        assert_eq!(left_untold(Api::ChatCompletions, status, "application/json", None, ""), (false, false), "{status}");
    }
    let coded = left_untold(Api::ChatCompletions, 200, "text/event-stream", Some("dcz"), "\u{5e}*M\u{18}");
    assert_eq!(coded, (false, false));
}

#[test]
fn a_stream_on_its_way_tells_how_much_was_used_so_far() {
    let so_far = |api, kind, pieces: &[&str]| {
        let mut meter = ResponseMeter::new(api, StatusCode::OK, Some(kind), None);
        pieces
            .iter()
            .map(|piece| {
                meter.push(piece.as_bytes());
                meter.so_far()
            })
            .collect::<Vec<_>>()
    };
    let delta = "data: {\"choices\":[{\"delta\":{\"content\":\"sixteen letters.\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n";
    let chat = so_far(Api::ChatCompletions, "text/event-stream", &["", delta, delta, usage]);
    assert_eq!(chat, [(None, None), (None, Some(4)), (None, Some(8)), (Some(7), Some(9))]);
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
    let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"sixteen letters.\"}}\n\n";
    let end = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n";
    let messages = so_far(Api::Messages, "text/event-stream", &[start, text, end]);
    assert_eq!(
        messages,
        [(Some(25), Some(1)), (Some(25), Some(4)), (Some(25), Some(3))],
        "the last word is the provider's"
    );
    let gemini = "data: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":40}}\n\n";
    assert_eq!(so_far(Api::GenerateContent, "text/event-stream", &[gemini]), [(Some(5), Some(42))]);
    assert_eq!(so_far(Api::ChatCompletions, "image/png", &["x"]), [(None, None)]);
}
