use std::path::{Path, PathBuf};

use http::Method;

use super::*;
use crate::estimate::Tokenizers;
use crate::{Catalogue, RequestMeter, identify};

fn call(host: &str, path: &str) -> Call {
    identify(Catalogue::builtin().find(host).unwrap(), &Method::POST, path)
}

fn chat() -> Call {
    call("api.openai.com", "/v1/chat/completions")
}

fn sample(text: &str) -> Sample {
    let body = serde_json::json!({"messages": [{"role": "user", "content": text}]}).to_string();
    let mut meter = RequestMeter::for_policy(&chat(), None, None);
    meter.push(body.as_bytes());
    meter.finish_with_text().1
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Our own documentation, code, and the providers' answers in the corpus, in pieces of different lengths.
#[test]
fn of_a_hundred_texts_ninety_nine_are_fewer_tokens_than_is_estimated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    for folder in ["docs", "tests/corpus", "agent/llm/src", "agent/llm/tests/corpus"] {
        files(&root.join(folder), &mut paths);
    }
    paths.push(root.join("ARCHITECTURE.md"));
    let mut tokenizers = Tokenizers::default();
    let (mut ratios, mut short) = (Vec::new(), Vec::new());
    for (at, path) in paths.iter().enumerate() {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        // Some are longer than what is kept of a text.
        let length = [800, 3_000, 12_000][at % 3];
        let piece: String = text.chars().skip((at % 5) * 500).take(length).collect();
        if piece.len() < 400 {
            continue;
        }
        let sample = sample(&piece);
        let estimate = estimate_input(&sample, &RequestFacts::default());
        let real = tokenizers.estimate(Some("gpt-4o"), &self::sample(&piece));
        let ratio = estimate as f64 / real as f64;
        ratios.push(ratio);
        if ratio < 1.0 {
            short.push(format!("{}: {estimate} for {real}", path.display()));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("{} texts, median {median:.2}, least {:.2}, too low: {short:#?}", ratios.len(), ratios[0]);
    assert!(ratios.len() > 100);
    assert!(short.len() <= ratios.len().div_ceil(100), "{short:#?}");
    assert!(median < 1.6, "and not without measure: {median}");
}

#[test]
fn what_is_no_text_counts_as_well() {
    let facts = |body: &str| {
        let mut meter = RequestMeter::for_policy(&chat(), None, None);
        meter.push(body.as_bytes());
        let estimated = meter.estimated_input();
        let (facts, text) = meter.finish_with_text();
        assert_eq!(estimated, estimate_input(&text, &facts));
        (facts, text)
    };
    let text = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"}PARTS]}]}"#;
    let estimate = |parts: &str| {
        let (facts, text) = facts(&text.replace("PARTS", parts));
        estimate_input(&text, &facts)
    };
    let plain = estimate("");
    assert!((5..30).contains(&plain), "{plain}");
    let image = r#",{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#;
    assert_eq!(estimate(image), plain + 1_600);
    assert_eq!(estimate(&image.repeat(3)), plain + 4_800);
    assert_eq!(estimate(r#",{"type":"file","file":{"file_id":"f"}}"#), plain + 4_096);
    let document = format!(r#",{{"type":"file","file":{{"file_data":"{}"}}}}"#, "A".repeat(1_000_000));
    assert!(estimate(&document) > 50_000);
    // Not read as text: by its length.
    let unread = RequestFacts { body_bytes: 1_000, ..RequestFacts::default() };
    assert_eq!(estimate_input(&Sample::default(), &unread), 500);
    let claude = RequestFacts { model: Some("claude-opus-4-5".into()), ..unread };
    assert_eq!(estimate_input(&Sample::default(), &claude), 625);
}

#[test]
fn the_largest_answer_is_what_is_asked_for_or_what_the_model_can() {
    let of = |model: &str, asked| {
        let model = Some(model.into());
        largest_output(&chat(), &RequestFacts { model, max_output_tokens: asked, ..RequestFacts::default() }, 999)
    };
    assert_eq!(of("gpt-4o-mini", Some(100)), 100);
    assert_eq!(of("gpt-4o-mini", Some(1_000_000)), 16_384);
    assert_eq!(of("stranger", Some(1_000_000)), 1_000_000);
    for (model, most) in [
        ("gpt-5", 128_000),
        ("gpt-5-mini-2025-08-07", 128_000),
        ("gpt-5.1", 128_000),
        ("gpt-5-pro-2025-10-06", 272_000),
        ("gpt-5-chat-latest", 16_384),
        ("gpt-4o-2024-05-13", 4_096),
        ("ft:gpt-4o-mini-2024-07-18:org::id", 16_384),
        ("gpt-4-0613", 8_192),
        ("gpt-4-turbo-2024-04-09", 4_096),
        ("o3-mini", 100_000),
        ("openai/gpt-4.1-nano", 32_768),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", 64_000),
        ("anthropic/claude-3.7-sonnet", 999),
        ("models/gemini-2.5-flash-lite", 65_536),
        ("amazon.nova-pro-v1:0", 10_000),
        ("o1x", 999),
        ("gpt-4ö", 999),
        ("stranger", 999),
    ] {
        assert_eq!(of(model, None), most, "{model}");
    }
}

#[test]
fn choices_multiply_and_what_writes_nothing_has_no_answer() {
    let facts = |choices| RequestFacts { choices, max_output_tokens: Some(10), ..RequestFacts::default() };
    assert_eq!(largest_output(&chat(), &facts(Some(8)), 999), 80);
    assert_eq!(largest_output(&chat(), &facts(Some(0)), 999), 10);
    assert_eq!(
        largest_output(&chat(), &RequestFacts { max_output_tokens: Some(u64::MAX), ..facts(Some(9)) }, 1),
        u64::MAX
    );
    let embeddings = call("api.openai.com", "/v1/embeddings");
    assert_eq!(largest_output(&embeddings, &facts(None), 999), 0);
    let images = call("api.openai.com", "/v1/images/generations");
    assert_eq!(largest_output(&images, &facts(Some(2)), 999), 12_480);
    let gemini = call("generativelanguage.googleapis.com", "/v1beta/models/x:streamGenerateContent");
    assert_eq!(largest_output(&gemini, &RequestFacts::default(), 999), 999);
}

#[test]
fn sounds_and_pictures_are_not_taken_for_text() {
    let estimated = |path: &str, content_type: &str, body: &[u8]| {
        let mut meter = RequestMeter::for_policy(&call("api.openai.com", path), Some(content_type), None);
        meter.push(body);
        meter.estimated_input()
    };
    let form =
        [&b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"[..], &vec![7; 640_000]]
            .concat();
    let sound = estimated("/v1/audio/transcriptions", "multipart/form-data; boundary=b", &form);
    assert!((10_000..10_100).contains(&sound), "{sound}");
    assert_eq!(estimated("/v1/images/edits", "multipart/form-data; boundary=b", &form), 41_600);
    assert_eq!(estimated("/v1/images/generations", "application/json", &[b' '; 100]), 50);
    let image = format!(
        r#"{{"messages":[{{"content":[{{"type":"image_url","image_url":{{"url":"{}"}}}}]}}]}}"#,
        "A".repeat(1 << 20)
    );
    let image = estimated("/v1/chat/completions", "application/json", image.as_bytes());
    assert!((1_600..1_650).contains(&image), "{image}");
}
