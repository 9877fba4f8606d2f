use std::io::Write as _;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::{Catalogue, identify};

fn meter(path: &str, content_type: Option<&str>, content_encoding: Option<&str>) -> RequestMeter {
    let catalogue = Catalogue::builtin();
    let host = if path.contains("models/") { "generativelanguage.googleapis.com" } else { "api.openai.com" };
    let call = identify(catalogue.find(host).unwrap(), &Method::POST, path);
    RequestMeter::new(&call, content_type, content_encoding)
}

fn facts(body: &[u8]) -> RequestFacts {
    let mut meter = meter("/v1/chat/completions", Some("application/json"), None);
    meter.push(body);
    meter.finish()
}

fn said(model: &str, stream: Option<bool>) -> RequestFacts {
    RequestFacts { model: Some(Arc::from(model)), stream, ..RequestFacts::default() }
}

#[test]
fn model_and_stream_are_read_wherever_they_stand() {
    assert_eq!(facts(br#"{"model":"gpt-5","stream":true,"messages":[]}"#), said("gpt-5", Some(true)));
    assert_eq!(
        facts(
            br#"{"messages":[{"content":"{\"model\":\"no\"}","model":"no","stream":true}],"stream":false,"model":"m"}"#
        ),
        said("m", Some(false))
    );
    assert_eq!(facts(br#"{"model":"m"}"#), said("m", None));
    assert_eq!(facts(b"{}"), RequestFacts::default());
    assert_eq!(facts(b""), RequestFacts::default());
    assert_eq!(facts(br#"{"model":7,"stream":"yes"}"#), RequestFacts::default());
}

#[test]
fn the_later_of_two_models_is_the_one_a_server_would_take() {
    assert_eq!(facts(br#"{"model":"cheap","messages":[],"model":"dear"}"#), said("dear", None));
}

#[test]
fn a_model_name_that_is_no_name_is_not_recorded() {
    for name in ["", " ", "a b", "a\\nb", &"x".repeat(300)] {
        assert_eq!(facts(format!(r#"{{"model":"{name}"}}"#).as_bytes()), RequestFacts::default(), "{name}");
    }
}

#[test]
fn the_path_speaks_before_the_body() {
    let mut meter = meter("/v1beta/models/gemini-2.5-flash:streamGenerateContent", None, None);
    meter.push(br#"{"model":"other","stream":false}"#);
    assert_eq!(meter.finish(), said("gemini-2.5-flash", Some(true)));
}

#[test]
fn facts_are_there_as_soon_as_they_have_passed() {
    let mut meter = meter("/v1/responses", Some("application/json; charset=utf-8"), None);
    meter.push(br#"{"model":"gpt-5","#);
    assert_eq!(meter.facts(), said("gpt-5", None));
    meter.push(br#""stream":true,"#);
    assert_eq!(meter.facts(), said("gpt-5", Some(true)));
}

#[test]
fn forms_and_unknown_operations_are_not_read() {
    let mut form = meter("/v1/chat/completions", Some("multipart/form-data; boundary=x"), None);
    form.push(br#"{"model":"no"}"#);
    assert_eq!(form.finish(), RequestFacts::default());
    let mut unknown = meter("/v1/files", Some("application/json"), None);
    unknown.push(br#"{"model":"no"}"#);
    assert_eq!(unknown.finish(), RequestFacts::default());
}

#[test]
fn forms_name_their_model_behind_the_file() {
    let body = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b\r\n\
                content-disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b\r\n\
                content-disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n--b--\r\n";
    for path in ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits"] {
        let mut meter = meter(path, Some("multipart/form-data; boundary=b"), None);
        body.as_bytes().chunks(5).for_each(|piece| meter.push(piece));
        assert_eq!(meter.finish(), said("gpt-4o-transcribe", Some(true)), "{path}");
    }
    let mut file = meter("/v1/files", Some("multipart/form-data; boundary=b"), None);
    file.push(body.as_bytes());
    assert_eq!(file.finish(), RequestFacts::default(), "an upload asks no model for anything");
}

#[test]
fn a_hundred_megabytes_of_sound_are_no_burden() {
    let mut meter = meter("/v1/audio/transcriptions", Some("multipart/form-data; boundary=b"), None);
    meter.push(b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n");
    let sound: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    (0..100).for_each(|_| meter.push(&sound));
    meter.push(b"\r\n--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--");
    assert_eq!(meter.finish(), said("whisper-1", None));
}

#[test]
fn ollama_streams_unless_told_not_to() {
    let ollama = crate::Provider::new("ollama", Vec::new(), Some(crate::Dialect::Ollama));
    let facts = |path, body: &[u8]| {
        let mut meter = RequestMeter::new(&identify(&ollama, &Method::POST, path), None, None);
        meter.push(body);
        meter.finish()
    };
    assert_eq!(facts("/api/chat", br#"{"model":"llama3.2","messages":[]}"#), said("llama3.2", Some(true)));
    assert_eq!(facts("/api/generate", br#"{"model":"llama3.2","stream":false}"#), said("llama3.2", Some(false)));
    assert_eq!(facts("/api/embed", br#"{"model":"all-minilm","input":"x"}"#), said("all-minilm", None));
}

#[test]
fn compressed_bodies_are_read_through() {
    let body = format!(r#"{{"messages":["{}"],"model":"gpt-5","stream":true}}"#, "word ".repeat(10_000));
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for (coding, encoded) in [("zstd", zstd), ("gzip", gzip)] {
        let mut meter = meter("/v1/responses", Some("application/json"), Some(coding));
        encoded.chunks(11).for_each(|chunk| meter.push(chunk));
        assert_eq!(meter.finish(), said("gpt-5", Some(true)), "{coding}");
    }
}

/// What a policy is told of a body that has ended.
fn told(body: &[u8], coding: Option<&str>) -> RequestFacts {
    let catalogue = Catalogue::builtin();
    let openai = catalogue.find("api.openai.com").unwrap();
    let mut meter = RequestMeter::for_policy(&identify(openai, &Method::POST, "/v1/chat/completions"), None, coding);
    body.chunks(3).for_each(|chunk| meter.push(chunk));
    meter.end();
    assert_eq!(meter.facts(), meter.facts(), "it may be asked again");
    meter.facts()
}

#[test]
fn what_another_reader_may_read_otherwise_is_unclear() {
    let clear = told(br#" {"model":"a","tools":[{"model":"b"}],"model":"a"} "#, None);
    assert_eq!((clear.model.as_deref(), clear.is_unclear), (Some("a"), false));
    let wide: Vec<u8> = r#"{"model":"a"}"#.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let narrow: Vec<u8> = r#"{"model":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let unclear: [&[u8]; 14] = [
        br#"{"model":"a","model":"b"}"#,
        br#"{"model":"a","MODEL":"b"}"#,
        br#"{"model":"a","mod\u0065l":"b"}"#,
        br#"{"model":"a","model":null}"#,
        br#"{"model":" a"}"#,
        br#"{"model":"a\u0000"}"#,
        br#"{"model":"a""#,
        br#"{"model":"a"}{"model":"a"}"#,
        br#"{"model":"a"} x"#,
        br#"[{"model":"a"},{"model":"b"}]"#,
        b"",
        b"\xef\xbb\xbf{\"model\":\"a\"}",
        &wide,
        &narrow,
    ];
    for body in unclear {
        assert!(told(body, None).is_unclear, "{}", String::from_utf8_lossy(body));
    }
    for length in [1, 2, 3, 9] {
        let catalogue = Catalogue::builtin();
        let call = identify(catalogue.find("api.openai.com").unwrap(), &Method::POST, "/v1/chat/completions");
        let mut meter = RequestMeter::for_policy(&call, None, None);
        r#"{"é":"é","model":"a"}"#.as_bytes().chunks(length).for_each(|bytes| meter.push(bytes));
        assert!(!meter.finish().is_unclear, "in pieces of {length}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(br#"{"model":"a"}"#).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(told(&gzip[..gzip.len() - 12], Some("gzip")).is_unclear);
    assert!(told(br#"{"model":"a"}"#, Some("x-own")).is_unclear);
    assert_eq!(told(br#"{"Model":"a"}"#, None).model.as_deref(), Some("a"), "as some servers read it");
}

#[test]
fn a_stream_is_asked_for_in_whatever_way_servers_take() {
    for (value, stream) in [
        ("true", true),
        ("1", true),
        ("1.0", true),
        (r#""true""#, true),
        (r#""on""#, true),
        ("0", false),
        (r#""False""#, false),
    ] {
        assert_eq!(told(format!(r#"{{"stream":{value}}}"#).as_bytes(), None).stream, Some(stream), "{value}");
    }
    assert_eq!(told(br#"{"stream":null}"#, None).stream, None);
}

#[test]
fn what_a_decoder_holds_back_is_read_at_the_end() {
    for length in 1..60 {
        let body = format!(r#"{{"messages":["{}"],"model":"gpt-5"}}"#, "x".repeat(length));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(body.as_bytes()).unwrap();
        let facts = told(&gzip.finish().unwrap(), Some("gzip"));
        assert_eq!((facts.model.as_deref(), facts.is_unclear), (Some("gpt-5"), false), "{length}");
    }
}

#[test]
fn a_hundred_megabytes_before_the_model_are_no_burden() {
    let mut meter = meter("/v1/chat/completions", Some("application/json"), None);
    meter.push(br#"{"messages":[{"role":"user","content":""#);
    let chunk = r#"base64AAAA+\"/ "#.repeat(4096);
    for _ in 0..(100 << 20) / chunk.len() {
        meter.push(chunk.as_bytes());
    }
    meter.push(br#""}],"model":"gpt-5"}"#);
    assert_eq!(meter.finish(), said("gpt-5", None));
}

#[test]
fn debug_shows_no_content() {
    let mut meter = meter("/v1/chat/completions", None, None);
    meter.push(br#"{"model":"gpt-5","messages":["my secret"#);
    assert_eq!(format!("{meter:?}"), "RequestMeter { .. }");
}

proptest! {
    #[test]
    fn agrees_with_serde_json_at_every_cut(
        model in "[a-z0-9.:/_-]{1,30}|\\PC{1,8}", stream in any::<Option<bool>>(), content in "(\\PC|\"|\\\\|\n){0,60}",
        model_first: bool, pretty: bool, size in 1usize..40,
    ) {
        let head = format!("\"model\":{}", serde_json::json!(model));
        let messages = format!("\"messages\":[{{\"content\":{},\"model\":\"no\"}}]", serde_json::json!(content));
        let stream_text = stream.map(|stream| format!(",\"stream\":{stream}")).unwrap_or_default();
        let body = if model_first { format!("{{{head},{messages}{stream_text}}}") } else { format!("{{{messages}{stream_text},{head}}}") };
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let body = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { body };
        let mut meter = meter("/v1/chat/completions", None, None);
        body.as_bytes().chunks(size).for_each(|chunk| meter.push(chunk));
        prop_assert_eq!(meter.finish(), RequestFacts { model: call::model(json["model"].as_str().unwrap()), stream: json.get("stream").and_then(serde_json::Value::as_bool), ..RequestFacts::default() });
    }
}
