use http::{HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::{Catalogue, RequestMeter, identify};

const CHAT: (&str, &str) = ("api.openai.com", "/v1/chat/completions");
const GROQ: (&str, &str) = ("api.groq.com", "/openai/v1/chat/completions");
const RESPONSES: (&str, &str) = ("api.openai.com", "/v1/responses");
const LEGACY: (&str, &str) = ("api.openai.com", "/v1/completions");
const MESSAGES: (&str, &str) = ("api.anthropic.com", "/v1/messages");
const GEMINI: (&str, &str) = ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:generateContent");
const CONVERSE: (&str, &str) = ("bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1:0/converse");
const COHERE: (&str, &str) = ("api.cohere.com", "/v2/chat");

fn call((host, path): (&str, &str)) -> (Call, Provider) {
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find(host).unwrap();
    (identify(provider, &Method::POST, path), Provider::clone(provider))
}

fn ollama() -> (Call, Provider) {
    let provider = Provider::new("ollama", Vec::new(), Some(crate::Dialect::Ollama));
    (identify(&provider, &Method::POST, "/api/chat"), provider)
}

fn clamp_with(
    (call, provider): &(Call, Provider),
    headers: &HeaderMap,
    body: &[u8],
    limit: u64,
) -> Result<Edits, ClampError> {
    let mut meter = RequestMeter::for_policy(call, None, None);
    meter.push(body);
    let facts = meter.finish();
    let begun = || Clamp::new(call, provider, headers, &facts, limit);
    let mut clamp = begun();
    clamp.push(body);
    let whole = clamp.finish();
    for cut in 0..=body.len() {
        let mut clamp = begun();
        clamp.push(&body[..cut]);
        clamp.push(&body[cut..]);
        assert_eq!(clamp.finish(), whole, "cut at {cut}");
    }
    whole
}

fn clamped_to(to: &(Call, Provider), body: &str, limit: u64) -> Result<String, ClampError> {
    let edits = clamp_with(to, &HeaderMap::new(), body.as_bytes(), limit)?;
    let mut edited = Vec::new();
    edits.write(body.as_bytes(), &mut edited);
    Ok(String::from_utf8(edited).unwrap())
}

fn clamped(to: (&str, &str), body: &str) -> Result<String, ClampError> {
    clamped_to(&call(to), body, 100)
}

#[test]
fn a_number_that_is_too_large_or_none_is_replaced_where_it_stands() {
    for (to, body, expected) in [
        (CHAT, r#"{"max_completion_tokens":101,"model":"m"}"#, r#"{"max_completion_tokens":100,"model":"m"}"#),
        (CHAT, r#"{"max_tokens": 4096 }"#, r#"{"max_tokens": 100 }"#),
        (CHAT, r#"{"max_tokens":null}"#, r#"{"max_tokens":100}"#),
        (
            CHAT,
            r#"{"max_tokens":null,"max_completion_tokens":500}"#,
            r#"{"max_tokens":null,"max_completion_tokens":100}"#,
        ),
        (
            CHAT,
            r#"{"max_tokens":null,"max_completion_tokens":null}"#,
            r#"{"max_tokens":null,"max_completion_tokens":100}"#,
        ),
        (CHAT, r#"{"max_tokens":-1}"#, r#"{"max_tokens":100}"#),
        (CHAT, r#"{"max_tokens":1e9}"#, r#"{"max_tokens":100}"#),
        (CHAT, r#"{"max_tokens":99999999999999999999999999999999999999999999999999999999}"#, r#"{"max_tokens":100}"#),
        (CHAT, r#"{"max_tokens":"500"}"#, r#"{"max_tokens":100}"#),
        (CHAT, r#"{"max_tokens":{"a":[1]},"n":1}"#, r#"{"max_tokens":100,"n":1}"#),
        (
            CHAT,
            r#"{"max_tokens":5000,"max_completion_tokens":6000}"#,
            r#"{"max_tokens":100,"max_completion_tokens":100}"#,
        ),
        (CHAT, r#"{"max_tokens":50,"max_completion_tokens":6000}"#, r#"{"max_tokens":50,"max_completion_tokens":100}"#),
        (GROQ, r#"{"max_tokens":0}"#, r#"{"max_tokens":100}"#),
        (LEGACY, r#"{"prompt":"x","max_tokens":500}"#, r#"{"prompt":"x","max_tokens":100}"#),
        (RESPONSES, r#"{"max_output_tokens":101}"#, r#"{"max_output_tokens":100}"#),
        (MESSAGES, r#"{"max_tokens":1024,"messages":[]}"#, r#"{"max_tokens":100,"messages":[]}"#),
        (
            GEMINI,
            r#"{"generationConfig":{"maxOutputTokens":"2000"}}"#,
            r#"{"generationConfig":{"maxOutputTokens":100}}"#,
        ),
        (
            GEMINI,
            r#"{"generation_config":{"max_output_tokens":0,"x":{"maxOutputTokens":9}}}"#,
            r#"{"generation_config":{"max_output_tokens":100,"x":{"maxOutputTokens":9}}}"#,
        ),
        (
            CONVERSE,
            r#"{"inferenceConfig":{"topP":1,"maxTokens":500}}"#,
            r#"{"inferenceConfig":{"topP":1,"maxTokens":100}}"#,
        ),
        (COHERE, r#"{"max_tokens":400}"#, r#"{"max_tokens":100}"#),
    ] {
        assert_eq!(clamped(to, body).as_deref(), Ok(expected), "{body}");
    }
    assert_eq!(
        clamped_to(&ollama(), r#"{"options":{"num_predict":-1}}"#, 100).as_deref(),
        Ok(r#"{"options":{"num_predict":100}}"#)
    );
}

#[test]
fn the_parameter_that_the_api_takes_is_added_where_there_is_none() {
    for (to, body, expected) in [
        (CHAT, "{}", r#"{"max_completion_tokens":100}"#),
        (CHAT, r#"{"model":"m" }"#, r#"{"model":"m" ,"max_completion_tokens":100}"#),
        (CHAT, r#"{"messages":[{"max_tokens":1}]}"#, r#"{"messages":[{"max_tokens":1}],"max_completion_tokens":100}"#),
        (GROQ, r#"{"model":"m"}"#, r#"{"model":"m","max_tokens":100}"#),
        (LEGACY, r#"{"prompt":"x"}"#, r#"{"prompt":"x","max_tokens":100}"#),
        (RESPONSES, r#"{"input":"x"}"#, r#"{"input":"x","max_output_tokens":100}"#),
        (MESSAGES, r#"{"messages":[]}"#, r#"{"messages":[],"max_tokens":100}"#),
        (GEMINI, r#"{"contents":[]}"#, r#"{"contents":[],"generationConfig":{"maxOutputTokens":100}}"#),
        (GEMINI, r#"{"generationConfig":{}}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        (
            GEMINI,
            r#"{"generation_config":{"topK":1},"contents":[]}"#,
            r#"{"generation_config":{"topK":1,"maxOutputTokens":100},"contents":[]}"#,
        ),
        (GEMINI, r#"{"generationConfig":null }"#, r#"{"generationConfig":{"maxOutputTokens":100} }"#),
        (CONVERSE, r#"{"messages":[]}"#, r#"{"messages":[],"inferenceConfig":{"maxTokens":100}}"#),
        (COHERE, r#"{"messages":[]}"#, r#"{"messages":[],"max_tokens":100}"#),
    ] {
        assert_eq!(clamped(to, body).as_deref(), Ok(expected), "{body}");
    }
    assert_eq!(
        clamped_to(&ollama(), r#"{"model":"m"}"#, 100).as_deref(),
        Ok(r#"{"model":"m","options":{"num_predict":100}}"#)
    );
}

#[test]
fn a_server_that_may_not_know_the_newer_name_is_told_both() {
    let together = ("api.together.ai", "/v1/chat/completions");
    for (to, body, expected) in [
        (together, r#"{"max_completion_tokens":5}"#, r#"{"max_completion_tokens":5,"max_tokens":100}"#),
        (
            together,
            r#"{"max_tokens":null,"max_completion_tokens":900}"#,
            r#"{"max_tokens":100,"max_completion_tokens":100}"#,
        ),
        (together, r#"{"max_tokens":5}"#, r#"{"max_tokens":5}"#),
        (GROQ, r#"{"max_completion_tokens":5}"#, r#"{"max_completion_tokens":5}"#),
    ] {
        assert_eq!(clamped(to, body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn what_is_small_enough_and_what_has_no_answer_stays() {
    for (to, body) in [
        (CHAT, r#"{"max_completion_tokens":100}"#),
        (CHAT, r#"{"max_tokens":1e2}"#),
        (CHAT, r#"{"max_tokens":0}"#),
        (MESSAGES, r#"{"max_tokens":1,"thinking":{"type":"enabled","budget_tokens":1024}}"#),
        (GEMINI, r#"{"generationConfig":{"maxOutputTokens":"7"}}"#),
        (("api.openai.com", "/v1/embeddings"), r#"{"input":"x"}"#),
        (("api.openai.com", "/v1/images/generations"), "no JSON"),
        (("api.cohere.com", "/v2/embed"), "{}"),
        (("bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.titan-embed-text-v2:0/invoke"), "{}"),
    ] {
        assert_eq!(clamped(to, body).as_deref(), Ok(body), "{body}");
    }
}

#[test]
fn a_body_that_cannot_be_clamped_for_certain_is_an_error() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    for body in [
        "",
        "[]",
        "x",
        r#"{"max_tokens":5"#,
        r#"{"max_tokens":5}{}"#,
        r#"{"max_tokens":5,"max_tokens":5000}"#,
        r#"{"max_tokens":5,"Max_Tokens":5000}"#,
        r#"{"max_\u0074okens":5}"#,
        r#"{"max_tokens":05}"#,
        &deep,
    ] {
        let odd = ClampError::Odd { parameter: "max_completion_tokens", limit: 100 };
        assert_eq!(clamped(CHAT, body), Err(odd), "{body}");
    }
    for body in [
        r#"{"generationConfig":{},"generationConfig":{}}"#,
        r#"{"generationConfig":{},"generation_config":{"maxOutputTokens":1}}"#,
        r#"{"generationConfig":null,"generationConfig":{"maxOutputTokens":9999}}"#,
        r#"{"generationConfig":[]}"#,
        r#"{"GenerationConfig":{"maxOutputTokens":5}}"#,
        r#"{"generationConfi\u0067":{"maxOutputTokens":5}}"#,
        r#"{"generationConfig":{"maxOutputToken\u0073":5}}"#,
        r#"{"generationConfig":{"maxOutputTokens":5,"maxOutputTokens":5}}"#,
    ] {
        let odd = ClampError::Odd { parameter: "maxOutputTokens", limit: 100 };
        assert_eq!(clamped(GEMINI, body), Err(odd), "{body}");
    }
}

#[test]
fn signed_and_compressed_requests_pass_only_if_they_ask_for_little_themselves() {
    let headers = |name: &'static str, value: &'static str| {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    };
    let signed = headers("authorization", "AWS4-HMAC-SHA256 Credential=x");
    let clamp = |to, headers: &HeaderMap, body: &str| {
        clamp_with(&call(to), headers, body.as_bytes(), 100).map(|edits| edits.is_empty())
    };
    let error = ClampError::Signed { parameter: "maxTokens", limit: 100 };
    assert_eq!(clamp(CONVERSE, &signed, r#"{"inferenceConfig":{"maxTokens":500}}"#), Err(error.clone()));
    assert_eq!(clamp(CONVERSE, &signed, "{}"), Err(error.clone()));
    assert_eq!(clamp(CONVERSE, &signed, r#"{"inferenceConfig":{"maxTokens":100}}"#), Ok(true));
    assert_eq!(clamp(CONVERSE, &headers("authorization", "Bearer x"), "{}"), Ok(false), "with a key it is not signed");
    assert_eq!(
        clamp(CHAT, &headers("content-digest", "sha-256=:x:"), "{}").map_err(|error| error.to_string()).unwrap_err(),
        "it is signed and cannot be changed on its way; send `max_completion_tokens` of at most 100"
    );
    // What the meter read of a compressed body counts; here it can read it, as it is not compressed in truth.
    let gzip = headers("content-encoding", "gzip");
    assert_eq!(clamp(CHAT, &gzip, r#"{"max_tokens":50}"#), Ok(true));
    assert_eq!(clamp(CHAT, &gzip, "{}"), Err(ClampError::Encoded { parameter: "max_completion_tokens", limit: 100 }));
    assert_eq!(clamp(CHAT, &headers("content-encoding", "identity"), "{}"), Ok(false));
    assert!(matches!(clamp(CHAT, &headers("content-type", "multipart/form-data"), "{}"), Err(ClampError::Odd { .. })));
    assert_eq!(clamp(CHAT, &headers("content-type", "application/json; charset=utf-8"), "{}"), Ok(false));
}

#[test]
fn each_makers_models_on_bedrock_have_a_parameter_of_their_own() {
    for (model, body, expected) in [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "{}", r#"{"max_tokens":100}"#),
        ("meta.llama3-3-70b-instruct-v1:0", "{}", r#"{"max_gen_len":100}"#),
        (
            "amazon.nova-pro-v1:0",
            r#"{"inferenceConfig":{"max_new_tokens":500}}"#,
            r#"{"inferenceConfig":{"max_new_tokens":100}}"#,
        ),
        ("amazon.titan-text-express-v1", "{}", r#"{"textGenerationConfig":{"maxTokenCount":100}}"#),
        ("openai.gpt-oss-120b-1:0", r#"{"max_tokens":500}"#, r#"{"max_tokens":100}"#),
    ] {
        let path = format!("/model/{model}/invoke");
        assert_eq!(clamped((CONVERSE.0, &path), body).as_deref(), Ok(expected), "{model}");
    }
    let other = (CONVERSE.0, "/model/stranger.model-1/invoke");
    assert_eq!(clamped(other, "{}"), Err(ClampError::Unknown { limit: 100 }));
    assert_eq!(clamped(other, r#"{"max_tokens":5}"#).as_deref(), Ok(r#"{"max_tokens":5}"#));
}

#[test]
fn a_budget_for_thinking_that_would_not_fit_is_an_error_that_says_so() {
    let body =
        |budget: u64| format!(r#"{{"max_tokens":9000,"thinking":{{"type":"enabled","budget_tokens":{budget}}}}}"#);
    assert_eq!(clamped(MESSAGES, &body(100)), Err(ClampError::Thinking { budget: 100, limit: 100 }));
    assert_eq!(clamped(MESSAGES, &body(99)), Ok(body(99).replace("9000", "100")));
    let adaptive = r#"{"thinking":{"type":"adaptive"},"max_tokens":9000}"#;
    assert_eq!(clamped(MESSAGES, adaptive), Ok(adaptive.replace("9000", "100")));
    assert!(
        clamped(MESSAGES, r#"{"thinking":{"budget_tokens":1},"thinking":{"budget_tokens":200},"max_tokens":9000}"#)
            .is_err()
    );
}

#[test]
fn messages_on_a_websocket_are_clamped_in_both_shapes() {
    let message = |path: &str, is_wrapped, body: &str| {
        let catalogue = Catalogue::builtin();
        let call = identify(catalogue.find("api.openai.com").unwrap(), &Method::GET, path);
        let mut clamp = Clamp::for_message(&call, is_wrapped, &RequestFacts::default(), 100);
        clamp.push(body.as_bytes());
        let mut edited = Vec::new();
        clamp.finish().unwrap().write(body.as_bytes(), &mut edited);
        String::from_utf8(edited).unwrap()
    };
    assert_eq!(
        message("/v1/responses", false, r#"{"type":"response.create","model":"m"}"#),
        r#"{"type":"response.create","model":"m","max_output_tokens":100}"#
    );
    assert_eq!(
        message("/v1/responses", true, r#"{"type":"response.create","response":{"max_output_tokens":900}}"#),
        r#"{"type":"response.create","response":{"max_output_tokens":100}}"#
    );
    assert_eq!(
        message("/v1/realtime", false, r#"{"response":{"max_output_tokens":"inf"},"type":"response.create"}"#),
        r#"{"response":{"max_output_tokens":100},"type":"response.create"}"#
    );
    assert_eq!(
        message("/v1/realtime", false, r#"{"type":"response.create"}"#),
        r#"{"type":"response.create","response":{"max_output_tokens":100}}"#
    );
}

#[test]
fn a_clamp_and_the_question_for_usage_go_into_one_body() {
    for (body, expected) in [
        (
            r#"{"stream":true}"#,
            r#"{"stream":true,"max_completion_tokens":100,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"max_tokens":500,"stream_options":null,"stream":true}"#,
            r#"{"max_tokens":100,"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{},"stream":true,"max_tokens":null,"max_completion_tokens":900}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"max_tokens":null,"max_completion_tokens":100}"#,
        ),
    ] {
        let mut edits = clamp_with(&call(CHAT), &HeaderMap::new(), body.as_bytes(), 100).unwrap();
        let mut splicer = crate::Splicer::default();
        splicer.push(body.as_bytes());
        edits.extend(splicer.finish().unwrap().into()).unwrap();
        let mut edited = Vec::new();
        edits.write(body.as_bytes(), &mut edited);
        assert_eq!(String::from_utf8(edited).unwrap(), expected);
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let key = prop::sample::select(
        &[
            "max_tokens",
            "max_completion_tokens",
            "maxOutputTokens",
            "generationConfig",
            "generation_config",
            "options",
            "num_predict",
            "thinking",
            "budget_tokens",
            "x",
            "messages",
        ][..],
    );
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (0_u64..300).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (0_u32..300).prop_map(|number| Json::from(number.to_string())),
        "[a-z\"\\\\é]{0,8}".prop_map(Json::from),
    ];
    let nested = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    });
    let key = prop::sample::select(
        &["max_tokens", "max_completion_tokens", "generationConfig", "options", "thinking", "x", "messages"][..],
    );
    prop::collection::vec((key, nested), 0..5).prop_map(|entries| {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
    })
}

/// What a server reads as the number.
fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

proptest! {
    /// By serde_json: the edited body says the same but for the parameter, and no parameter exceeds the limit or says nothing.
    #[test]
    fn only_the_parameter_changes_and_it_is_small_after_it(body in any_json(), pretty: bool, which in 0_usize..4, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
        let (to, parent, names): (_, Option<&str>, &[&str]) = match which {
            0 => (call(CHAT), None, &["max_tokens", "max_completion_tokens"]),
            1 => (call(GEMINI), Some("generationConfig"), &["maxOutputTokens"]),
            2 => (call(MESSAGES), None, &["max_tokens"]),
            _ => (ollama(), Some("options"), &["num_predict"]),
        };
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        let mut clamp = Clamp::new(&to.0, &to.1, &HeaderMap::new(), &RequestFacts::default(), 100);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        at.windows(2).for_each(|pair| clamp.push(&text[pair[0]..pair[1]]));
        let edits = match clamp.finish() {
            Ok(edits) => edits,
            Err(ClampError::Thinking { budget, .. }) => {
                prop_assert_eq!(body["thinking"]["budget_tokens"].as_u64().or_else(|| number(&body["thinking"]["budget_tokens"])), Some(budget));
                return Ok(());
            }
            Err(error) => {
                let is_odd_parent = parent.is_some_and(|parent| !body[parent].is_object() && !body[parent].is_null());
                prop_assert!(is_odd_parent, "{error} for {body}");
                return Ok(());
            }
        };
        let mut edited = Vec::new();
        edits.write(&text, &mut edited);
        let edited: Json = serde_json::from_slice(&edited).unwrap();
        let place = |value: &Json| parent.map_or_else(|| value.clone(), |parent| value[parent].clone());
        let told: Vec<_> = names.iter().filter_map(|name| place(&edited).get(name).cloned()).collect();
        prop_assert!(told.iter().any(|value| !value.is_null()));
        for value in told.iter().filter(|value| !value.is_null()) {
            let number = number(value);
            prop_assert!(number.is_some_and(|number| number <= 100), "{value}");
        }
        let without = |mut value: Json| {
            let object = match parent {
                Some(parent) => {
                    if value[parent].is_null() { value[parent] = json!({}); }
                    &mut value[parent]
                }
                None => &mut value,
            };
            for name in names {
                object.as_object_mut().unwrap().remove(*name);
            }
            value
        };
        prop_assert_eq!(without(edited), without(body));
    }
}
