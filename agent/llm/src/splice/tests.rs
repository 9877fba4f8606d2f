use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn edit(body: &[u8]) -> Option<Edit> {
    let mut splicer = Splicer::default();
    splicer.push(body);
    let hopeless = splicer.is_hopeless();
    let edit = splicer.finish();
    assert!(!(hopeless && edit.is_some()));
    edit
}

fn edited(body: &str) -> Option<String> {
    let whole = edit(body.as_bytes());
    for cut in 0..=body.len() {
        let mut splicer = Splicer::default();
        splicer.push(&body.as_bytes()[..cut]);
        splicer.push(&body.as_bytes()[cut..]);
        assert_eq!(splicer.finish(), whole, "{body} cut at {cut}");
    }
    whole.map(|Edit { start, end, text }| [&body[..start], &*text, &body[end..]].concat())
}

#[test]
fn the_option_is_added_where_there_is_none() {
    for (body, expected) in [
        (r#"{"stream":true}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        (
            "\n{ \"stream\" : true\t, \"n\":-1.5e+3 }\n",
            "\n{ \"stream\" : true\t, \"n\":-1.5e+3 ,\"stream_options\":{\"include_usage\":true}}\n",
        ),
        (
            r#"{"messages":[{"content":"\"stream\":false} \u00e9 \\"}],"stream":true,"tools":[[],{}]}"#,
            r#"{"messages":[{"content":"\"stream\":false} \u00e9 \\"}],"stream":true,"tools":[[],{}],"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        assert_eq!(edited(body).as_deref(), Some(expected));
    }
}

#[test]
fn the_option_is_added_to_others_and_a_no_becomes_a_yes() {
    for (options, expected) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        ("{ }", r#"{ "include_usage":true}"#),
        (r#"{"include_obfuscation":false }"#, r#"{"include_obfuscation":false ,"include_usage":true}"#),
        (r#"{"a":{"include_usage":true}}"#, r#"{"a":{"include_usage":true},"include_usage":true}"#),
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (r#"{"include_usage": null, "x":[{}]}"#, r#"{"include_usage": true, "x":[{}]}"#),
    ] {
        for body in
            [r#"{"stream":true,"stream_options":OPTIONS}"#, r#"{"stream_options":OPTIONS ,"stream": true, "n":1}"#]
        {
            assert_eq!(edited(&body.replace("OPTIONS", options)), Some(body.replace("OPTIONS", expected)));
        }
    }
}

#[test]
fn whatever_is_odd_stays() {
    let deep = format!(r#"{{"stream":true,"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    for body in [
        "",
        "{}",
        "[]",
        "true",
        r#"[{"stream":true}]"#,
        r#"{"stream":false}"#,
        r#"{"stream":1}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":null}"#,
        r#"{"x":{"stream":true}}"#,
        r#"{"Stream":true}"#,
        r#"{"stream":true,"stream":true}"#,
        r#"{"str\u0065am":true}"#,
        r#"{"stream":true,"stream_option\u0073":{}}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":"x"}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":1}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":{}}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        r#"{"stream":true,"stream_options":{"include_usag\u0065":false}}"#,
        r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":null,"stream_options":{}}"#,
        r#"{"stream":true} x"#,
        r#"{"stream":true}{"stream":true}"#,
        r#"{"stream":true,}"#,
        r#"{"stream":true"#,
        r#"{"stream":true "n":1}"#,
        r#"{"stream":tru}"#,
        r#"{"stream":truee}"#,
        r#"{"stream":true,"n":01}"#,
        r#"{"stream":true,"n":1.}"#,
        r#"{"stream":true,"n":.5}"#,
        r#"{"stream":true,"s":"\x"}"#,
        r#"{"stream":true,"s":"\u12g4"}"#,
        "{\"stream\":true,\"s\":\"\n\"}",
        "{\"stream\":true,\"s\":\"",
        "\u{feff}{\"stream\":true}",
        &deep,
    ] {
        assert_eq!(edited(body), None, "{body}");
    }
}

#[test]
fn it_is_known_early_that_there_is_nothing_to_edit() {
    for body in [r#"{"stream":false,"#, r#"{"stream_options":{"include_usage":true}"#, "not JSON", "["] {
        let mut splicer = Splicer::default();
        splicer.push(body.as_bytes());
        assert!(splicer.is_hopeless(), "{body}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("stream".to_owned()),
        Just("stream_options".to_owned()),
        Just("include_usage".to_owned()),
        "[a-z\"\\\\é]{0,20}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "\\PC{0,30}".prop_map(Value::String),
    ];
    let nested = leaf.prop_recursive(4, 32, 6, {
        let key = key.clone();
        move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        }
    });
    (prop::collection::vec((key, nested), 0..6), any::<bool>(), any::<Option<bool>>()).prop_map(
        |(entries, stream, options)| {
            let mut object: serde_json::Map<String, Value> = entries.into_iter().collect();
            if stream {
                object.insert("stream".to_owned(), true.into());
            }
            if let Some(include) = options {
                object.insert("stream_options".to_owned(), json!({"x": [{}], "include_usage": include}));
            }
            Value::Object(object)
        },
    )
}

/// What an edit is to come to.
fn wanted(body: &Value) -> Option<Value> {
    (body.get("stream")? == true).then_some(())?;
    let mut wanted = body.clone();
    match wanted.as_object_mut()?.entry("stream_options").or_insert(Value::Null) {
        Value::Object(options) => match options.get("include_usage") {
            None | Some(Value::Null | Value::Bool(false)) => {
                drop(options.insert("include_usage".to_owned(), true.into()));
            }
            Some(_) => return None,
        },
        options @ Value::Null => *options = json!({"include_usage": true}),
        _ => return None,
    }
    Some(wanted)
}

proptest! {
    #[test]
    fn the_result_says_the_same_and_the_option(body in any_json(), pretty: bool, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        let found = edit(&text);
        // A key with an escape in it may be written otherwise than its meaning; then nothing is done.
        let has_escape = |value: &Value| value.as_object().is_some_and(|it| it.keys().any(|key| key.contains(['"', '\\'])));
        let options = &body["stream_options"];
        if has_escape(&body) || has_escape(options) {
            prop_assert!(found.is_none());
            return Ok(());
        }
        let mut splicer = Splicer::default();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        at.windows(2).for_each(|pair| splicer.push(&text[pair[0]..pair[1]]));
        prop_assert_eq!(&splicer.finish(), &found);
        match (wanted(&body), found) {
            (None, found) => prop_assert_eq!(found, None),
            (Some(wanted), found) => {
                let Edit { start, end, text: insert } = found.expect("an edit");
                let result = [&text[..start], insert.as_bytes(), &text[end..]].concat();
                prop_assert_eq!(serde_json::from_slice::<Value>(&result).unwrap(), wanted);
                prop_assert!(matches!(&text[start..end], b"" | b"null" | b"false"));
            }
        }
    }

    /// Nothing is edited that another parser would not read, whatever is done to the text.
    #[test]
    fn broken_texts_stay(body in any_json(), at: prop::sample::Index, byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0-.e tn\n"[..])], remove: bool) {
        let mut text = serde_json::to_vec(&body).unwrap();
        let at = at.index(text.len());
        if remove { text.remove(at); } else { text[at] = byte; }
        let read = serde_json::from_slice::<Value>(&String::from_utf8_lossy(&text).into_owned().into_bytes());
        if let Some(Edit { start, end, text: insert }) = edit(&text) {
            let read = read.expect("only what is JSON is edited");
            let result = [&text[..start], insert.as_bytes(), &text[end..]].concat();
            let result: Value = serde_json::from_str(&String::from_utf8_lossy(&result)).unwrap();
            prop_assert_eq!(Some(result), wanted(&read));
        }
    }
}

const USAGE: &str = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
const DELTA: &str = r#"data: {"id":"c","choices":[{"index":0,"delta":{"content":"say \"choices\":[]"}}],"usage":null}"#;
const LAST: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
const AZURE: &str = r#"data: {"choices":[],"model":"","prompt_filter_results":[{"prompt_index":0}]}"#;
const AZURE_NULL: &str = r#"data: {"choices":[],"prompt_filter_results":[],"usage":null}"#;

/// What comes out, whole and byte by byte.
fn removed(stream: &[u8]) -> Vec<u8> {
    let whole = push_all([Bytes::copy_from_slice(stream)]);
    assert_eq!(push_all(stream.chunks(1).map(Bytes::copy_from_slice)), whole, "byte by byte");
    for cut in 0..stream.len() {
        let halves = [&stream[..cut], &stream[cut..]].map(Bytes::copy_from_slice);
        assert_eq!(push_all(halves), whole, "cut at {cut}");
    }
    whole
}

fn push_all(pieces: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let mut remover = ChunkRemover::default();
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&remover.push(&piece));
    }
    passed.extend_from_slice(&remover.finish());
    assert!(remover.is_empty());
    passed
}

#[test]
fn exactly_the_chunk_of_usage_is_taken_out() {
    for end in ["\n", "\r\n", "\r"] {
        let event = |text: &str| format!("{text}{end}{end}");
        let start = format!("\u{feff}: ping{end}{end}{}{}{}", event(AZURE), event(AZURE_NULL), event(DELTA));
        let rest = format!("{}: ping{end}{}{}", event(LAST), event("event: x\ndata: y"), event("data: [DONE]"));
        let stream = format!("{start}{}{rest}", event(USAGE));
        assert_eq!(String::from_utf8(removed(stream.as_bytes())).unwrap(), format!("{start}{rest}"), "{end:?}");
    }
}

#[test]
fn the_chunk_is_known_however_it_is_written() {
    for (stream, rest) in [
        ("data:{\"usage\" : {} , \"choices\" : [ ] }\n\ndata: [DONE]\n\n", "data: [DONE]\n\n"),
        (": ping\ndata: {\"usage\":{},\ndata: \"choices\":[]}\nid: 1\n\n: bye\n", ": ping\n: bye\n"),
        ("\u{feff}data: {\"usage\":{},\"choices\":[]}\n\nx", "\u{feff}x"),
        ("data: 1\n\ndata: {\"usage\":{},\"choices\":[]}\n", "data: 1\n\n"),
        ("data: 1\n\ndata: {\"usage\":{},\"choices\":[]}", "data: 1\n\n"),
    ] {
        assert_eq!(String::from_utf8(removed(stream.as_bytes())).unwrap(), rest);
    }
}

#[test]
fn what_only_resembles_it_stays() {
    for data in [
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[],"usage":[]}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":[[]],"usage":{}}"#,
        r#"{"choices":null,"usage":{}}"#,
        r#"{"x":{"choices":[],"usage":{}}}"#,
        r#"[{"choices":[],"usage":{}}]"#,
        r#"{"choices":[],"usage":{},"usage":{}}"#,
        r#"{"choices":[],"choices":[{}],"usage":{}}"#,
        r#"{"choices":[],"usage":{}"#,
        r#"{"choices":[],"usage":{}} x"#,
        "[DONE]",
        "",
    ] {
        for stream in [
            format!("data: {data}\n\ndata: z\n\n"),
            format!("event: {data}\n\n"),
            format!("\n\u{feff}data: {data}\n\n"),
        ] {
            assert_eq!(removed(stream.as_bytes()), stream.as_bytes(), "{data}");
        }
    }
}

#[test]
fn an_event_that_is_too_long_is_not_held_back() {
    let mut remover = ChunkRemover::default();
    let mut passed = remover.push(&Bytes::from_static(b"data: {\"usage\":{},\"choices\":[],\"x\":\"")).len();
    for _ in 0..100 {
        passed += remover.push(&Bytes::from(vec![b'x'; 1000])).len();
        assert!(remover.held.len() <= 64 * 1024);
    }
    assert!(passed > 99_000 && remover.is_empty());
    assert_eq!(remover.push(&Bytes::from_static(b"\"}\n\n")), "\"}\n\n");
    assert!(remover.push(&Bytes::from(format!("{USAGE}\n\n"))).is_empty(), "the next is looked at again");
}

#[test]
fn whole_events_are_not_copied() {
    let mut remover = ChunkRemover::default();
    let piece = Bytes::from(format!("{DELTA}\n\n: ping\n\n{DELTA}\n\n"));
    assert_eq!(remover.push(&piece).as_ptr(), piece.as_ptr());
    let ending = Bytes::from(format!("{LAST}\n\n{USAGE}\n\n"));
    let passed = remover.push(&ending);
    assert_eq!((passed.as_ptr(), passed.len()), (ending.as_ptr(), LAST.len() + 2));
    assert_eq!(remover.removed(), 1);
}

fn any_block() -> impl Strategy<Value = (String, String)> {
    let end = prop::sample::select(&["\n", "\r\n", "\r"][..]);
    let comments = prop::collection::vec(prop::sample::select(&[":", ": ping", ":data: x"][..]), 0..3);
    let event = prop_oneof![
        3 => prop::sample::select(&[DELTA, LAST, AZURE, AZURE_NULL, "data: [DONE]", "event: ping", ""][..]).prop_map(|text| (text, false)),
        1 => Just((USAGE, true)),
    ];
    (end, comments, event).prop_map(|(end, comments, (event, is_usage))| {
        let comments = comments.iter().fold(String::new(), |text, comment| text + comment + end);
        let event = format!("{event}{end}{end}");
        let passed = if is_usage { comments.clone() } else { format!("{comments}{event}") };
        (format!("{comments}{event}"), passed)
    })
}

proptest! {
    #[test]
    fn however_it_is_cut_the_rest_is_unchanged_and_not_late(blocks in prop::collection::vec(any_block(), 0..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        // A CR before an LF of the next block would be one line end.
        let all: String = blocks.iter().map(|(all, _)| all.as_str()).collect();
        prop_assume!(!blocks.windows(2).any(|pair| pair[0].0.ends_with('\r') && pair[1].0.starts_with('\n')));
        let expected: String = blocks.iter().map(|(_, passed)| passed.as_str()).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        at.extend([0, all.len()]);
        at.sort_unstable();
        let mut remover = ChunkRemover::default();
        let mut passed = Vec::new();
        for pair in at.windows(2) {
            passed.extend_from_slice(&remover.push(&Bytes::copy_from_slice(&all.as_bytes()[pair[0]..pair[1]])));
            let (mut input, mut due) = (0, 0);
            for (all, passed) in &blocks {
                input += all.len();
                if input <= pair[1] { due += passed.len(); }
            }
            prop_assert!(passed.len() >= due, "{} of {due} bytes", passed.len());
        }
        passed.extend_from_slice(&remover.finish());
        prop_assert_eq!(String::from_utf8(passed).unwrap(), expected);
    }

    #[test]
    fn any_bytes_pass_the_same_however_they_are_cut(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n: data{}"[..])], 0..300), size in 1..40_usize) {
        let whole = push_all([Bytes::from(bytes.clone())]);
        prop_assert_eq!(&push_all(bytes.chunks(size).map(Bytes::copy_from_slice)), &whole);
        prop_assert_eq!(whole, bytes);
    }
}
