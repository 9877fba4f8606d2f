use proptest::prelude::*;

use super::*;

fn events(api: Api, events: &[&str], cut: usize) -> String {
    let mut tap = Tap::new(Places::of(api));
    for event in events {
        event.as_bytes().chunks(cut).for_each(|piece| tap.event(piece));
        tap.end_event();
    }
    tap.finish().text()
}

fn document(api: Api, json: &str, cut: usize) -> String {
    let mut tap = Tap::new(Places::of(api));
    json.as_bytes().chunks(cut).for_each(|piece| tap.document(piece));
    tap.finish().text()
}

#[test]
fn text_is_found_in_the_events_of_each_dialect() {
    let cases: [(Api, &[&str], &str); 7] = [
        (
            Api::ChatCompletions,
            &[
                r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"Say \"delta\": "},"logprobs":null}],"obfuscation":"zz"}"#,
                r#"{"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "reasoning_details": [{"text": "hm"}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            ],
            "Say \"delta\": hmf{}",
        ),
        (
            Api::Completions,
            &[r#"{"choices":[{"text":"one","index":0}]}"#, r#"{"choices":[{"text":" two"}]}"#],
            "one two",
        ),
        (
            Api::Responses,
            &[
                r#"{"type":"response.output_text.delta","item_id":"m","delta":"Hi","obfuscation":"q"}"#,
                r#"{"type":"response.function_call_arguments.delta","delta":"{\"a\""}"#,
                r#"{"type":"response.output_text.done","text":"Hi"}"#,
            ],
            "Hi{\"a\"",
        ),
        (
            Api::Messages,
            &[
                r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":9}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":" Hi"}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}}"#,
            ],
            "hm Hi{}",
        ),
        (
            Api::GenerateContent,
            &[
                r#"{"candidates":[{"content":{"parts":[{"text":"Hi","thoughtSignature":"A"}],"role":"model"},"finishReason":"STOP"}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"city":"Bern"}}},{"inlineData":{"data":"A"}}]}}]}"#,
            ],
            "HifBern",
        ),
        (Api::BedrockConverseStream, &[r#"{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"abc"}"#], "Hi"),
        (
            Api::CohereChat,
            &[r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hi"}}}}"#],
            "Hi",
        ),
    ];
    for (api, data, text) in cases {
        assert_eq!(events(api, data, usize::MAX), text, "{api:?}");
        for cut in 1..12 {
            assert_eq!(events(api, data, cut), text, "{api:?} cut at {cut}");
        }
    }
}

#[test]
fn text_is_found_in_the_answers_of_each_dialect() {
    for (api, json, text) in [
        (
            Api::ChatCompletions,
            r#"{"choices":[{"message":{"role":"assistant","content":"Hi","refusal":null}}],"usage":{}}"#,
            "Hi",
        ),
        (
            Api::Responses,
            r#"{"output":[{"type":"message","id":"m","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}],"usage":{}}"#,
            "Hi",
        ),
        (
            Api::Messages,
            r#"{"id":"m","type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#,
            "Hi",
        ),
        (
            Api::GenerateContent,
            r#"[{"candidates":[{"content":{"parts":[{"text":"H"}]}}]},{"candidates":[{"content":{"parts":[{"text":"i"}]}}]}]"#,
            "Hi",
        ),
        (Api::Embeddings, r#"{"data":[{"embedding":[0.1]}]}"#, ""),
    ] {
        for cut in [1, 2, 5, usize::MAX] {
            assert_eq!(document(api, json, cut), text, "{api:?} cut at {cut}");
        }
    }
}

#[test]
fn a_key_that_is_begun_again_is_found() {
    for event in [r#"{"delt"delta":"x"}"#, r#"{"de"delta":"x"}"#, r#"{""delta":"x"}"#, r#"{"a":"delta","delta":"x"}"#] {
        for cut in 1..event.len() {
            assert_eq!(events(Api::Responses, &[event], cut), "x", "{event} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn the_same_text_is_found_whatever_the_cuts(
        json in r#"([\[\]{}:,"\\ ]|"delta"|"delta":|"del|ta"|"text":|text|null){0,50}"#,
        cut in 1..9_usize,
    ) {
        let whole = events(Api::Responses, &[&json], usize::MAX);
        prop_assert_eq!(events(Api::Responses, &[&json], cut), whole);
    }
}
