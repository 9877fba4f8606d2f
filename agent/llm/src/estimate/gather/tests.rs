use proptest::prelude::*;

use super::*;

fn gather(mut gather: Gather, json: &[u8], cut: usize) -> (String, u64) {
    let mut sampler = Sampler::default();
    for piece in json.chunks(cut) {
        if gather.push(piece, &mut sampler).is_some() {
            break;
        }
    }
    let sample = sampler.finish();
    (sample.text(), sample.messages())
}

fn request(json: &str) -> (String, u64) {
    gather(Gather::request(Operation::Chat), json.as_bytes(), json.len())
}

#[test]
fn the_text_of_a_conversation_is_gathered_without_what_stands_around_it() {
    let json = r#"{"model":"gpt-5","stream":true,"user":"u1","messages":[
        {"role":"system","content":"Be brief."},
        {"role":"user","content":[{"type":"text","text":"What is \"this\"?\n"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"high"}},
            {"type":"input_audio","input_audio":{"data":"BBBB","format":"wav"}}]},
        {"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\":1}"}}]},
        {"role":"tool","tool_call_id":"call_1","content":"found"}],"metadata":{"team":"x"},"stop":["END"]}"#;
    assert_eq!(request(json), ("Be brief.|What is \"this\"?\n|look|{\"at\":1}|found|".to_owned(), 4));
}

#[test]
fn parameters_of_tools_are_read_with_their_names() {
    let json = r#"{"tools":[{"type":"function","function":{"name":"weather","parameters":{"city":{"description":"which"}}}}]}"#;
    let (text, messages) = request(json);
    assert_eq!(
        (text.as_str(), messages),
        ("type|function|function|name|weather|parameters|city|description|which|", 0)
    );
}

#[test]
fn every_dialect_has_its_prompt_found() {
    for (json, text, messages) in [
        (r#"{"input":"hi","instructions":"be kind"}"#, "hi|be kind|", 2),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"data:x"}]}]}"#,
            "hi|",
            1,
        ),
        (
            r#"{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"hi"}]},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"run","input":{"command":"ls"}}]}]}"#,
            "s|hi|run|ls|",
            2,
        ),
        (
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"hi"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}"#,
            "s|hi|",
            1,
        ),
        (r#"{"messages":[{"role":"user","content":"hi","images":["AAAA","BBBB"]}]}"#, "hi|", 1),
    ] {
        assert_eq!(request(json), (text.to_owned(), messages), "{json}");
    }
    let embeddings = Gather::request(Operation::Embeddings);
    assert_eq!(gather(embeddings, br#"{"input":["one","two"],"model":"m"}"#, 99), ("one|two|".to_owned(), 0));
}

#[test]
fn images_that_were_made_are_no_text_and_results_of_tools_are() {
    let made = r#"[{"type":"image_generation_call","status":"completed","result":"iVBORw0KGgo"},{"type":"message","content":[{"type":"output_text","text":"hi"}]}]"#;
    assert_eq!(gather(Gather::value(), made.as_bytes(), made.len()).0, "hi");
    assert_eq!(request(&format!(r#"{{"input":{made}}}"#)).0, "hi|");
    let said = r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"result":"sunny"}}}]}]}"#;
    assert_eq!(request(said).0, "f|sunny|");
}

#[test]
fn a_value_ends_where_it_ends() {
    for (json, used, text) in [
        (&br#"{"content":"a","role":"assistant"},"content":"b"}"#[..], Some(34), "a"),
        (br#""a" , "b""#, Some(3), "a"),
        (br#"["a",["b"]] "c""#, Some(11), "ab"),
        (b"null,\"a\"", Some(0), ""),
        (b"  12,\"a\"", Some(2), ""),
        (b"},\"a\"", Some(0), ""),
        (br#"{"content":"a"#, None, "a"),
    ] {
        let (mut gather, mut sampler) = (Gather::value(), Sampler::default());
        assert_eq!(gather.push(json, &mut sampler), used, "{}", String::from_utf8_lossy(json));
        assert_eq!(sampler.finish().text(), text);
    }
}

#[test]
fn nesting_without_end_is_passed_over() {
    let deep = "{\"messages\":[".to_owned()
        + &"[{\"a\":".repeat(200_000)
        + "\"x\""
        + &"}]".repeat(200_000)
        + ",{\"content\":\"after\"}]}";
    assert_eq!(request(&deep).0, "after|");
}

#[test]
fn a_request_goes_on_after_what_does_not_belong_there() {
    assert_eq!(request(r#""odd", 1 ] {"messages":[{"content":"hi"}]}"#), ("hi|".to_owned(), 1));
}

proptest! {
    #[test]
    fn the_same_text_is_gathered_whatever_the_cuts(
        json in r#"([\[\]{}:,"\\ ]|"content"|"messages"|"url"|"tools"|text|null|12|\\"){0,60}"#,
        cut in 1..9_usize,
    ) {
        for new in [Gather::value as fn() -> Gather, || Gather::request(Operation::Chat)] {
            prop_assert_eq!(gather(new(), json.as_bytes(), cut), gather(new(), json.as_bytes(), json.len().max(1)));
        }
    }
}
