//! Replays `tests/corpus`: provider bytes in, usage out, however the bytes are cut, coded or broken off.

#![allow(clippy::unwrap_used, reason = "a test; its helpers too")]

#[path = "corpus/frames.rs"]
mod frames;

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tollgate_llm::{Api, ResponseFacts, ResponseMeter, Usage, UsageSource};

/// What a case's `.facts.json` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    usage: Option<Counts>,
    source: String,
    unmetered: Option<String>,
    model: Option<String>,
    /// In US dollars, where the provider says it.
    cost: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize, Default, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Counts {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_1h: u64,
    reasoning: u64,
    input_audio: u64,
    cache_read_audio: u64,
    output_audio: u64,
    output_image: u64,
    input_image: u64,
    input_tool: u64,
    web_searches: u64,
    server_tools: u64,
    images: u64,
    audio_ms: u64,
    characters: u64,
    search_units: u64,
    tier: Option<String>,
}

fn ok() -> u16 {
    200
}

/// What a body's ending says of it.
const KINDS: [(&str, &str); 4] = [
    ("text/event-stream; charset=utf-8", "sse"),
    ("application/json", "json"),
    ("application/x-ndjson", "ndjson"),
    (frames::TYPE, "frames"),
];

struct Case {
    name: String,
    api: Api,
    content_type: &'static str,
    body: Vec<u8>,
    expected: Expected,
}

impl Case {
    fn meter(&self, coding: Option<&str>) -> ResponseMeter {
        let status = StatusCode::from_u16(self.expected.status).unwrap();
        self.meter_as(status, Some(self.content_type), coding)
    }

    fn meter_as(&self, status: StatusCode, content_type: Option<&str>, coding: Option<&str>) -> ResponseMeter {
        let header = |(name, value): (&String, &String)| (name.parse().unwrap(), value.parse().unwrap());
        let headers: HeaderMap = self.expected.headers.iter().map(header).collect();
        ResponseMeter::new(self.api, status, content_type, coding).with_headers(&headers)
    }

    fn facts<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> ResponseFacts {
        let mut meter = self.meter(None);
        pieces.into_iter().for_each(|piece| meter.push(piece));
        meter.finish()
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut cases = Vec::new();
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let api = match folder.file_name().unwrap().to_str().unwrap() {
            "openai-chat" | "vertex-openai" => Api::ChatCompletions,
            "openai-responses" => Api::Responses,
            "openai-embeddings" => Api::Embeddings,
            "openai-images" => Api::Images,
            "openai-transcription" => Api::Transcription,
            "openai-speech" => Api::Speech,
            "openai-moderations" => Api::Moderations,
            "mistral-conversations" => Api::Conversations,
            "cohere-chat" => Api::CohereChat,
            "cohere-embed" => Api::CohereEmbed,
            "rerank" => Api::Rerank,
            "ollama" => Api::Ollama,
            "vertex-predict" => Api::Predict,
            "anthropic" | "vertex-anthropic" => Api::Messages,
            "gemini" | "vertex-gemini" => Api::GenerateContent,
            "gemini-embed" => Api::EmbedContent,
            "bedrock-converse" => Api::BedrockConverse,
            "bedrock-converse-stream" => Api::BedrockConverseStream,
            "bedrock-invoke" => Api::BedrockInvoke,
            "bedrock-invoke-stream" => Api::BedrockInvokeStream,
            other => panic!("no API is known for the corpus folder {other}"),
        };
        for facts in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let file = facts.file_name().unwrap().to_str().unwrap();
            let Some(stem) = file.strip_suffix(".facts.json") else { continue };
            let (content_type, body) = KINDS
                .into_iter()
                .find_map(|(kind, ending)| Some((kind, fs::read(folder.join(format!("{stem}.{ending}"))).ok()?)))
                .unwrap_or_else(|| panic!("{} has no body beside it", facts.display()));
            let body = if content_type == frames::TYPE { frames::encode(&body) } else { body };
            let expected = serde_json::from_slice(&fs::read(&facts).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", facts.display()));
            let name = format!("{}/{stem}", folder.file_name().unwrap().to_str().unwrap());
            cases.push(Case { name, api, content_type, body, expected });
        }
    }
    assert!(cases.len() > 60, "the corpus is there");
    cases
}

fn counts(usage: &Usage) -> Counts {
    let tier = usage.tier.as_str();
    Counts {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        cache_write_1h: usage.cache_write_1h,
        reasoning: usage.reasoning,
        input_audio: usage.input_audio,
        cache_read_audio: usage.cache_read_audio,
        output_audio: usage.output_audio,
        output_image: usage.output_image,
        input_image: usage.input_image,
        input_tool: usage.input_tool,
        web_searches: usage.web_searches,
        server_tools: usage.server_tools,
        images: usage.images,
        audio_ms: usage.audio_ms,
        characters: usage.characters,
        search_units: usage.search_units,
        tier: (tier != "standard").then(|| tier.to_owned()),
    }
}

#[test]
fn every_case_says_what_was_worked_out_by_hand() {
    let mut wrong = Vec::new();
    for case in cases() {
        let facts = case.facts([&case.body[..]]);
        let found = (
            facts.usage.as_ref().map(counts),
            facts.source.as_str(),
            facts.unmetered.map(|reason| reason.as_str().to_owned()),
            facts.model.map(|model| model.to_string()),
            facts.cost.map(|cost| cost.to_string()),
            facts.error.map(|error| error.as_str().to_owned()),
        );
        let Expected { usage, source, unmetered, model, cost, error, .. } = case.expected;
        let expected = (usage, source.as_str(), unmetered, model, cost, error);
        if found != expected {
            wrong.push(format!("{}:\n  found    {found:?}\n  expected {expected:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_cut_gives_the_same() {
    for case in cases() {
        let whole = case.facts([&case.body[..]]);
        for size in [1, 2, 3, 5, 16, 100] {
            assert_eq!(case.facts(case.body.chunks(size)), whole, "{} in pieces of {size}", case.name);
        }
        for cut in 0..=case.body.len() {
            let (a, b) = case.body.split_at(cut);
            assert_eq!(case.facts([a, b]), whole, "{} cut at {cut}", case.name);
        }
    }
}

#[test]
fn every_cut_gives_the_same_even_to_a_reader_of_another_api() {
    let apis = [
        Api::ChatCompletions,
        Api::Responses,
        Api::Embeddings,
        Api::Images,
        Api::Transcription,
        Api::Messages,
        Api::GenerateContent,
        Api::Predict,
        Api::BedrockConverseStream,
        Api::BedrockInvokeStream,
        Api::CohereChat,
        Api::Rerank,
        Api::Conversations,
        Api::Ollama,
    ];
    for mut case in cases() {
        for api in apis {
            case.api = api;
            let whole = case.facts([&case.body[..]]);
            for size in [1, 60] {
                assert_eq!(case.facts(case.body.chunks(size)), whole, "{} as {api:?} in pieces of {size}", case.name);
            }
        }
    }
}

#[test]
fn a_broken_off_answer_never_claims_other_final_numbers() {
    for case in cases() {
        let whole = case.facts([&case.body[..]]);
        for cut in 0..case.body.len() {
            let facts = case.facts([&case.body[..cut]]);
            if facts.source == UsageSource::Provider {
                assert_eq!(facts.usage, whole.usage, "{} broken off at {cut}", case.name);
            } else {
                assert!(facts.unmetered.is_some(), "{} broken off at {cut} gives a reason", case.name);
            }
            if let (Some(part), Some(whole)) = (facts.usage, whole.usage) {
                assert!(part.output <= whole.output.max(4), "{} broken off at {cut}: {part:?}", case.name);
            }
        }
    }
}

fn encode(coding: &str, mut body: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    let mut encoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzEncoder::new(body, Compression::best()).read_to_end(&mut encoded),
        "deflate" => flate2::read::ZlibEncoder::new(body, Compression::fast()).read_to_end(&mut encoded),
        "br" => brotli::CompressorReader::new(body, 4096, 5, 20).read_to_end(&mut encoded),
        "zstd" => zstd::stream::read::Encoder::new(body, 3).unwrap().read_to_end(&mut encoded),
        "gzip, br" => return encode("br", &encode("gzip", body)),
        _ => body.read_to_end(&mut encoded),
    }
    .unwrap();
    encoded
}

#[test]
fn every_coding_gives_the_same() {
    for case in cases() {
        let whole = case.facts([&case.body[..]]);
        for coding in ["gzip", "deflate", "br", "zstd", "gzip, br", "identity"] {
            for size in [1, 13, usize::MAX] {
                let encoded = encode(coding, &case.body);
                let mut meter = case.meter(Some(coding));
                encoded.chunks(size.min(encoded.len())).for_each(|chunk| meter.push(chunk));
                assert_eq!(meter.finish(), whole, "{} as {coding} in pieces of {size}", case.name);
            }
        }
    }
}

#[test]
fn the_framing_is_found_whatever_the_header_says() {
    for case in cases().into_iter().filter(|case| case.expected.status == 200) {
        let whole = case.facts([&case.body[..]]);
        for header in [None, Some("text/plain"), Some("application/json")] {
            let mut meter = case.meter_as(StatusCode::OK, header, None);
            meter.push(&case.body);
            assert_eq!(meter.finish(), whole, "{} as {header:?}", case.name);
        }
    }
}

#[test]
fn nothing_of_the_content_is_in_what_comes_out() {
    for case in cases() {
        let mut meter = case.meter(None);
        meter.push(&case.body);
        assert_eq!(format!("{meter:?}"), "ResponseMeter { .. }");
        let mut facts = meter.finish();
        facts.model = None;
        let shown = format!("{facts:?}");
        let words = ["Hello", "said", "SECRET", "secret", "API key", "quota,", "weather", "Overloaded\""];
        assert!(words.iter().all(|word| !shown.contains(word)), "{}: {shown}", case.name);
    }
}
