//! Whatever is asked for less says the same after it but for the parameter, which is then no larger than the limit, by another reader of
//! JSON; and is the same however the body is cut. The first byte is the API, the second the size of the pieces.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tollgate_llm::{
    Call, Catalogue, Clamp, ClampError, Dialect, Edits, Provider, RequestFacts, RequestMeter, Splicer, identify,
};

const LIMIT: u64 = 100;

/// Host, path, the object that the parameters are in, and their names.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: [Case; 6] = [
    ("api.openai.com", "/v1/chat/completions", &[], &["max_tokens", "max_completion_tokens"]),
    ("api.openai.com", "/v1/responses", &[], &["max_output_tokens"]),
    ("api.anthropic.com", "/v1/messages", &[], &["max_tokens"]),
    (
        "generativelanguage.googleapis.com",
        "/v1beta/models/m:generateContent",
        &["generationConfig", "generation_config"],
        &["maxOutputTokens", "max_output_tokens"],
    ),
    ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", &["inferenceConfig"], &["maxTokens"]),
    ("", "/api/chat", &["options"], &["num_predict"]),
];

static CALLS: LazyLock<Vec<(Provider, Call)>> = LazyLock::new(|| {
    let catalogue = Catalogue::builtin();
    let ollama = Provider::new("ollama", Vec::new(), Some(Dialect::Ollama));
    let calls = CASES.iter().map(|(host, path, ..)| {
        let provider = catalogue.find(host).map_or(&ollama, |provider| &**provider);
        (provider.clone(), identify(provider, &Method::POST, path))
    });
    calls.collect()
});

fuzz_target!(|input: &[u8]| {
    let [which, size, body @ ..] = input else { return };
    let which = usize::from(*which) % CASES.len();
    let (_, _, parents, names) = CASES[which];
    let (provider, call) = &CALLS[which];

    let mut meter = RequestMeter::for_policy(call, None, None);
    meter.push(body);
    let told = meter.finish().max_output_tokens;

    let begun = || Clamp::new(call, provider, &HeaderMap::new(), &RequestFacts::default(), LIMIT);
    let mut clamp = begun();
    clamp.push(body);
    let clamped = clamp.finish();
    let mut clamp = begun();
    body.chunks(usize::from(*size).max(1)).for_each(|piece| clamp.push(piece));
    assert_eq!(clamp.finish(), clamped);

    let read = |bytes: &[u8]| serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes));
    let edits = match clamped {
        Ok(edits) => edits,
        Err(ClampError::Odd { .. } | ClampError::Thinking { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    compose(&edits, body);
    let mut edited = Vec::new();
    edits.write(body, &mut edited);
    assert_eq!(edited.len(), edits.length(body.len()));
    let before = match read(body) {
        Ok(before) => before,
        // What is well written, and serde cannot hold: huge numbers, half a surrogate pair.
        Err(error) => {
            let known = ["number out of range", "surrogate", "hex escape"];
            return assert!(known.iter().any(|what| error.to_string().contains(what)), "{error}");
        }
    };
    let after = match read(&edited) {
        Ok(after) => after,
        Err(error) => panic!("not JSON any more: {error}"),
    };
    let place = |value: &Value| match parents.iter().find(|parent| value[**parent].is_object()) {
        Some(parent) => value[*parent].clone(),
        None if parents.is_empty() => value.clone(),
        None => json!({}),
    };
    let said: Vec<Value> = names.iter().filter_map(|name| place(&after).get(*name).cloned()).collect();
    assert!(said.iter().any(|value| !value.is_null()), "nothing bounds the answer");
    for value in said.iter().filter(|value| !value.is_null()) {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok()).or_else(|| whole(value.as_f64()?));
        assert!(number.is_some_and(|number| number <= LIMIT), "{value}");
    }
    // What was read as small enough was not edited, but for text, in which the meter undoes escapes.
    if told.is_some_and(|told| told <= LIMIT)
        && !said.iter().any(Value::is_string)
        && !edits.iter().any(|edit| body[edit.start..edit.end].starts_with(b"\""))
    {
        assert!(edits.is_empty());
    }
    let rest = |mut value: Value| {
        let is_there = parents.iter().find(|parent| value.get(**parent).is_some()).copied();
        let object = match (parents.first(), is_there) {
            (None, _) => &mut value,
            (Some(first), found) => &mut value[found.unwrap_or(first)],
        };
        if object.is_null() {
            *object = json!({});
        }
        for name in names {
            object.as_object_mut().expect("an object").remove(*name);
        }
        value
    };
    assert_eq!(rest(before), rest(after));
});

/// What asks for usage goes into the same body, and it stays JSON.
fn compose(edits: &Edits, body: &[u8]) {
    let mut splicer = Splicer::default();
    splicer.push(body);
    let Some(edit) = splicer.finish() else { return };
    let mut both = edits.clone();
    both.extend(edit.into()).expect("they are about different members");
    let mut edited = Vec::new();
    both.write(body, &mut edited);
    if let Ok(value) = serde_json::from_str::<Value>(&String::from_utf8_lossy(&edited)) {
        assert_eq!(value["stream_options"]["include_usage"], true);
    } else {
        assert!(serde_json::from_str::<Value>(&String::from_utf8_lossy(body)).is_err());
    }
}

fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && number >= 0.0).then_some(number as u64)
}
