use http::Method;
use proptest::prelude::*;
use serde_json::json;

use crate::usage::ServiceTier;
use crate::{Caching, Catalogue, Dialect, Provider, RequestFacts, RequestMeter, identify};

const CHAT: (&str, &str) = ("api.openai.com", "/v1/chat/completions");
const LEGACY: (&str, &str) = ("api.openai.com", "/v1/completions");
const RESPONSES: (&str, &str) = ("api.openai.com", "/v1/responses");
const MESSAGES: (&str, &str) = ("api.anthropic.com", "/v1/messages");
const GEMINI: (&str, &str) = ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:generateContent");
const CONVERSE: (&str, &str) = ("bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1:0/converse");
const INVOKE: (&str, &str) = ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m.x/invoke");
const COHERE: (&str, &str) = ("api.cohere.com", "/v2/chat");
const MISTRAL: (&str, &str) = ("api.mistral.ai", "/v1/conversations");
const OLLAMA: (&str, &str) = ("", "/api/chat");

fn facts((host, path): (&str, &str), body: &str) -> RequestFacts {
    let catalogue = Catalogue::builtin();
    let ollama = Provider::new("ollama", Vec::new(), Some(Dialect::Ollama));
    let provider = catalogue.find(host).map_or(&ollama, |provider| &**provider);
    let call = identify(provider, &Method::POST, path);
    let mut meter = RequestMeter::for_policy(&call, Some("application/json"), None);
    meter.push(body.as_bytes());
    let whole = meter.finish();
    assert_eq!(whole.body_bytes, body.len() as u64);
    let mut meter = RequestMeter::for_policy(&call, Some("application/json"), None);
    body.as_bytes().chunks(1).for_each(|byte| meter.push(byte));
    assert_eq!(meter.finish(), whole, "byte by byte");
    // Without a policy nothing of it is read.
    let mut meter = RequestMeter::new(&call, Some("application/json"), None);
    meter.push(body.as_bytes());
    let plain = RequestFacts { model: whole.model.clone(), stream: whole.stream, ..RequestFacts::default() };
    assert_eq!(meter.finish(), plain);
    whole
}

#[test]
fn the_largest_answer_is_read_where_each_api_has_it() {
    let most = |to, body| facts(to, body).max_output_tokens;
    for (to, body) in [
        (CHAT, r#"{"max_tokens":77}"#),
        (CHAT, r#"{"max_completion_tokens":77}"#),
        (CHAT, r#"{"max_tokens":"77"}"#),
        (CHAT, r#"{"messages":[{"max_tokens":5}],"max_completion_tokens":77,"max_tokens":5}"#),
        (CHAT, r#"{"max_tokens":5,"max_tokens":77}"#),
        (CHAT, r#"{"max_tokens":77,"Max_Tokens":5}"#),
        (CHAT, r#"{"max_\u0074okens":77}"#),
        (LEGACY, r#"{"max_tokens":77}"#),
        (RESPONSES, r#"{"max_output_tokens":77}"#),
        (MESSAGES, r#"{"max_tokens":77}"#),
        (GEMINI, r#"{"generationConfig":{"maxOutputTokens":77}}"#),
        (GEMINI, r#"{"generation_config":{"max_output_tokens":"77"}}"#),
        (CONVERSE, r#"{"inferenceConfig":{"maxTokens":77}}"#),
        (INVOKE, r#"{"max_tokens":77}"#),
        (INVOKE, r#"{"max_gen_len":77}"#),
        (INVOKE, r#"{"textGenerationConfig":{"maxTokenCount":77}}"#),
        (INVOKE, r#"{"inferenceConfig":{"max_new_tokens":77}}"#),
        (COHERE, r#"{"max_tokens":77}"#),
        (MISTRAL, r#"{"completion_args":{"max_tokens":77}}"#),
        (OLLAMA, r#"{"options":{"num_predict":77}}"#),
    ] {
        assert_eq!(most(to, body), Some(77), "{body}");
    }
    assert_eq!(most(MESSAGES, r#"{"max_tokens":0}"#), Some(0));
}

#[test]
fn what_bounds_nothing_is_no_bound() {
    for (to, body) in [
        (CHAT, "{}"),
        (CHAT, r#"{"max_tokens":null}"#),
        (CHAT, r#"{"max_tokens":5,"max_tokens":null}"#),
        (CHAT, r#"{"max_tokens":null,"max_tokens":5}"#),
        (CHAT, r#"{"max_tokens":-1}"#),
        (CHAT, r#"{"max_tokens":0}"#),
        (CHAT, r#"{"max_tokens":5,"max_tokens":0}"#),
        (CHAT, r#"{"max_tokens":0,"Max_tokens":5}"#),
        (CHAT, r#"{"max_tokens":true}"#),
        (CHAT, r#"{"max_tokens":5,"max_completion_tokens":"inf"}"#),
        (CHAT, r#"{"max_output_tokens":5,"response":{"max_output_tokens":5}}"#),
        (RESPONSES, r#"{"max_tokens":5,"response":{"max_output_tokens":5}}"#),
        (GEMINI, r#"{"maxOutputTokens":5}"#),
        (GEMINI, r#"{"generationConfig":{"maxOutputTokens":5},"generationConfig":{}}"#),
        (OLLAMA, r#"{"options":{"num_predict":-1}}"#),
        (OLLAMA, r#"{"options":{"num_predict":0},"num_predict":5}"#),
    ] {
        assert_eq!(facts(to, body).max_output_tokens, None, "{body}");
    }
}

#[test]
fn answers_are_counted_over_choices_and_prompts() {
    let choices = |to, body| facts(to, body).choices;
    assert_eq!(choices(CHAT, r#"{"n":3}"#), Some(3));
    assert_eq!(choices(CHAT, r#"{"n":3,"N":1}"#), Some(3));
    assert_eq!(choices(LEGACY, r#"{"n":2,"best_of":5,"prompt":"x"}"#), Some(5));
    assert_eq!(choices(LEGACY, r#"{"n":2,"prompt":["a","b","c"]}"#), Some(6));
    assert_eq!(choices(LEGACY, r#"{"n":2,"prompt":[[1,2],[3],[]]}"#), Some(6), "tokens are prompts, too");
    assert_eq!(choices(LEGACY, r#"{"prompt":[1,2,3]}"#), None, "one prompt of three tokens");
    let long = format!(r#"{{"prompt":["a","{}"]}}"#, "x".repeat(5_000));
    assert_eq!(choices(LEGACY, &long), Some(2));
    assert_eq!(choices(GEMINI, r#"{"generationConfig":{"candidateCount":4}}"#), Some(4));
    assert_eq!(choices(("api.openai.com", "/v1/images/generations"), r#"{"n":10}"#), Some(10));
    assert_eq!(choices(CHAT, r#"{"n":99999999999}"#), Some(u32::MAX));
}

#[test]
fn the_end_user_is_read_bounded_and_in_one_line() {
    let user = |to, body: &str| facts(to, body).end_user.map(|user| user.to_string());
    assert_eq!(user(CHAT, r#"{"user":"u"}"#).as_deref(), Some("u"));
    assert_eq!(user(CHAT, r#"{"safety_identifier":"s","user":"u","metadata":{"user_id":"m"}}"#).as_deref(), Some("s"));
    assert_eq!(user(MESSAGES, r#"{"metadata":{"user_id":"m"}}"#).as_deref(), Some("m"));
    assert_eq!(user(RESPONSES, r#"{"metadata":{"user_id":"m"}}"#).as_deref(), Some("m"));
    assert_eq!(user(CHAT, r#"{"user":"a\nb\u001b[31m"}"#).as_deref(), Some("a\u{fffd}b\u{fffd}[31m"));
    assert_eq!(user(CHAT, r#"{"user":"  "}"#), None);
    assert_eq!(user(CHAT, r#"{"user":7}"#), None);
    assert_eq!(user(CHAT, r#"{"user":"u","user":null}"#), None);
    let long = user(CHAT, &format!(r#"{{"user":"{}"}}"#, "ä".repeat(300))).unwrap();
    assert_eq!(long, "ä".repeat(128));
    assert_eq!(user(CHAT, &format!(r#"{{"user":"{}"}}"#, "x".repeat(5_000))), None);
}

#[test]
fn inputs_that_are_no_text_are_counted() {
    let counts = |to, body| {
        let facts = facts(to, body);
        (facts.images, facts.files)
    };
    let chat = r#"{"messages":[{"content":[{"type":"text"},{"type":"image_url"},{"type":"image_url"},{"type":"input_audio"}]},{"content":"x"}]}"#;
    assert_eq!(counts(CHAT, chat), (2, 1));
    assert_eq!(counts(RESPONSES, r#"{"input":[{"content":[{"type":"input_image"},{"type":"input_file"}]}]}"#), (1, 1));
    let messages = r#"{"messages":[{"content":[{"type":"image"},{"type":"tool_result","content":[{"type":"image"},{"type":"document"}]}]}]}"#;
    assert_eq!(counts(MESSAGES, messages), (2, 1));
    let gemini = r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"x"}},{"fileData":{"mimeType":"video/mp4"}},{"text":"x"}]}]}"#;
    assert_eq!(counts(GEMINI, gemini), (1, 1));
    let converse = r#"{"messages":[{"content":[{"image":{"format":"png","source":{}}},{"document":{"format":"pdf"}},{"text":"x"}]}]}"#;
    assert_eq!(counts(CONVERSE, converse), (1, 1));
    let ollama = format!(r#"{{"messages":[{{"images":["x","{}"]}}]}}"#, "A".repeat(5_000));
    assert_eq!(counts(OLLAMA, &ollama), (2, 0));
}

#[test]
fn tiers_and_caching_are_read_where_they_are_asked_for() {
    assert_eq!(facts(CHAT, r#"{"service_tier":"priority"}"#).tier, ServiceTier::Priority);
    assert_eq!(facts(CHAT, r#"{"service_tier":"auto"}"#).tier, ServiceTier::Standard);
    assert_eq!(facts(MESSAGES, r#"{"speed":"fast"}"#).tier, ServiceTier::Fast);
    assert_eq!(facts(CONVERSE, r#"{"serviceTier":{"type":"flex"}}"#).tier, ServiceTier::Flex);
    let caching = |to, body| facts(to, body).caching;
    assert_eq!(caching(MESSAGES, "{}"), None);
    assert_eq!(caching(MESSAGES, r#"{"cache_control":{"type":"ephemeral"}}"#), Some(Caching::Minutes));
    let tools = r#"{"tools":[{"cache_control":{"ttl":"1h"}}],"system":[{"cache_control":{"type":"ephemeral"}}]}"#;
    assert_eq!(caching(MESSAGES, tools), Some(Caching::Hour));
    assert_eq!(caching(CONVERSE, r#"{"system":[{"cachePoint":{"type":"default"}}]}"#), Some(Caching::Minutes));
}

#[test]
fn messages_on_a_websocket_say_it_in_both_shapes() {
    let message = |body: &str| {
        let catalogue = Catalogue::builtin();
        let call = identify(catalogue.find("api.openai.com").unwrap(), &Method::GET, "/v1/responses");
        let mut meter = RequestMeter::for_message(&call);
        meter.push(body.as_bytes());
        let facts = meter.finish();
        (facts.model.map(|model| model.to_string()), facts.max_output_tokens)
    };
    let expected = (Some("m".to_owned()), Some(9));
    assert_eq!(message(r#"{"type":"response.create","model":"m","max_output_tokens":9}"#), expected);
    assert_eq!(message(r#"{"type":"response.create","response":{"model":"m","max_output_tokens":9}}"#), expected);
    assert_eq!(message(r#"{"response":{"max_output_tokens":"inf"}}"#), (None, None));
}

#[test]
fn a_form_says_how_many_images_and_for_whom() {
    let catalogue = Catalogue::builtin();
    let call = identify(catalogue.find("api.openai.com").unwrap(), &Method::POST, "/v1/images/edits");
    let mut meter = RequestMeter::for_policy(&call, Some("multipart/form-data; boundary=b"), None);
    let part =
        |name: &str, value: &str| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    meter.push(format!("{}{}{}--b--\r\n", part("model", "gpt-image-1"), part("n", "4"), part("user", "u")).as_bytes());
    let facts = meter.finish();
    assert_eq!(
        (facts.model.as_deref(), facts.choices, facts.end_user.as_deref()),
        (Some("gpt-image-1"), Some(4), Some("u"))
    );
}

#[test]
fn a_form_that_another_reader_may_read_otherwise_is_unclear() {
    let catalogue = Catalogue::builtin();
    let call = identify(catalogue.find("api.openai.com").unwrap(), &Method::POST, "/v1/images/edits");
    let told = |kind: &str, body: &str| {
        let [first, rest @ ..] = [1, 2, 3, 7, body.len()].map(|size| {
            let mut meter = RequestMeter::for_policy(&call, Some(kind), None);
            body.as_bytes().chunks(size).for_each(|bytes| meter.push(bytes));
            meter.finish()
        });
        assert!(rest.iter().all(|facts| *facts == first), "{body}");
        first
    };
    let kind = "multipart/form-data; boundary=b";
    let part = |head: &str| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\na\r\n");
    let model = part("name=\"model\"");
    let file = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a b.png\"\r\nContent-Type: image/png\r\n\r\n--\r\n--\0\u{ff}\r\n";
    for clear in [format!("{file}{model}--b--\r\n"), format!("{model}--b--"), format!("\r\n{model}--b--\r\n\r\n")] {
        let facts = told(kind, &clear);
        assert_eq!((facts.model.as_deref(), facts.is_unclear), (Some("a"), false), "{clear}");
    }
    for odd in [
        model.clone(),
        format!("{model}{}--b--", model.replace("\r\na\r\n", "\r\nb\r\n")),
        format!("x\r\n{model}--b--"),
        format!("{model}--b--\r\n--c"),
        format!("{model}--bc\r\n--b--"),
        format!("{}--b--", part("name=\"x\"; name=\"model\"")),
        format!("{}--b--", part("filename=x")),
        format!("{}--b--", part("name=\"model\"\r\nContent-Transfer-Encoding: quoted-printable")),
        format!("{}--b--", part("name=\"x\"\r\ncontent-disposition: form-data; name=\"model\"")),
        format!("{}--b--", part(&format!("name=\"model\"; x=\"{}\"", "y".repeat(2000)))),
        r#"{"model":"a"}"#.to_owned(),
    ] {
        assert!(told(kind, &odd).is_unclear, "{odd}");
    }
    assert!(told("multipart/form-data; boundary=b; boundary=c", &format!("{model}--b--")).is_unclear);
    assert!(told("multipart/form-data", &format!("{model}--b--")).is_unclear, "nobody knows where its parts end");
    let json = told("multipart/mixed", r#"{"model":"a"}"#);
    assert_eq!((json.model.as_deref(), json.is_unclear), (Some("a"), false), "it is JSON whatever is said of it");
}

proptest! {
    /// By serde_json, which takes the later of two keys as servers do.
    #[test]
    fn the_bound_is_never_below_what_a_server_reads(
        values in prop::collection::vec((prop::sample::select(&["max_tokens", "max_completion_tokens", "n", "user"][..]), prop_oneof![
            (0_u64..50).prop_map(|number| json!(number)), Just(json!(null)), (-5_i64..0).prop_map(|number| json!(number)), Just(json!("7")), Just(json!(1.5)),
        ]), 0..6),
    ) {
        let members: Vec<String> = values.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let body = format!("{{{}}}", members.join(","));
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        let told = facts(CHAT, &body).max_output_tokens;
        for key in ["max_tokens", "max_completion_tokens"] {
            if let (Some(told), Some(number)) = (told, read[key].as_u64()) {
                prop_assert!(told >= number, "{body}");
            }
            if read[key].as_i64().is_some_and(|number| number <= 0) {
                prop_assert_eq!(told, None, "{}", body);
            }
        }
        if read["max_tokens"].is_null() && read["max_completion_tokens"].is_null() {
            prop_assert_eq!(told, None);
        }
    }
}
