//! The APIs that follow OpenAI's, and those of Cohere and Ollama.

use serde_json::{Value, json};
use tollgate_provider::{Exchange, Outcome, Usage};

use crate::client::{ANTHROPIC, Fixture, GEMINI, OPENAI, chat, data, json, text};

const CHAT: &str = "/v1/chat/completions";
const AZURE: &str = "stand-in.openai.azure.com";
const COHERE: &str = "api.cohere.com";
const OLLAMA: &str = "ollama.com";

fn ask(options: Option<Value>) -> String {
    let mut ask = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "say naïve 漢字"}]});
    if let Some(options) = options {
        ask["stream_options"] = options;
    }
    ask.to_string()
}

async fn last(fixture: &Fixture) -> Exchange {
    fixture.provider.truth().settled().await;
    fixture.provider.truth().exchanges().pop().unwrap()
}

/// The chunks of a stream, and what the provider noted of it.
async fn chunks(fixture: &Fixture, host: &'static str, path: &str, body: String) -> (Vec<Value>, Exchange) {
    let stream = text(fixture.http1(host).await.post(path, body).await).await;
    let chunks = data(&stream).into_iter().filter(|data| *data != "[DONE]");
    (chunks.map(|data| serde_json::from_str(data).unwrap()).collect(), last(fixture).await)
}

fn tokens(usage: &Value) -> (u64, u64) {
    (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap())
}

fn said(usage: Option<Usage>) -> (u64, u64) {
    let usage = usage.unwrap();
    (usage.input, usage.output)
}

/// platform.openai.com/docs/api-reference/chat-streaming: null in all chunks, then one more without choices.
#[tokio::test]
async fn usage_is_one_more_chunk_where_it_is_asked_for_and_nothing_where_not() {
    let fixture = Fixture::start();
    for host in [OPENAI, AZURE] {
        let (asked, exchange) = chunks(&fixture, host, CHAT, ask(Some(json!({"include_usage": true})))).await;
        let (extra, others) = asked.split_last().unwrap();
        let others = if host == AZURE { &others[1..] } else { others };
        assert_eq!((&extra["choices"], tokens(&extra["usage"])), (&json!([]), said(exchange.usage)));
        for chunk in others {
            assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
            assert!(chunk.as_object().unwrap()["usage"].is_null(), "it is there, and null");
        }
        for options in [None, Some(json!({"include_usage": false})), Some(json!({}))] {
            let (plain, exchange) = chunks(&fixture, host, CHAT, ask(options)).await;
            assert_eq!((plain.len(), exchange.usage), (asked.len() - 1, None));
            assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
            assert!(exchange.said.tokens > 10 && exchange.planned_usage.is_none());
        }
    }
}

#[tokio::test]
async fn a_host_that_does_not_know_the_option_refuses_it_by_name() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(OPENAI).await;
    let refused = client.faulty(CHAT, "refuse-stream-options", ask(Some(json!({"include_usage": true})))).await;
    assert_eq!(refused.status(), 400);
    assert!(json(refused).await["error"]["message"].as_str().unwrap().contains("stream_options"));
    assert_eq!(client.faulty(CHAT, "refuse-stream-options", ask(None)).await.status(), 200);
}

#[tokio::test]
async fn azures_first_chunk_is_a_verdict_without_choices() {
    let fixture = Fixture::start();
    let path = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
    let body = r#"{"stream":true,"messages":[]}"#.to_owned();
    let (events, exchange) = chunks(&fixture, AZURE, path, body).await;
    assert_eq!(events[0]["choices"], json!([]));
    assert!(events[0]["prompt_filter_results"][0]["content_filter_results"]["hate"].is_object());
    assert_eq!(events[1]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(exchange.model.as_deref(), Some("my-gpt"));
}

#[tokio::test]
async fn some_tell_usage_in_the_last_chunk_unasked() {
    let fixture = Fixture::start();
    for (host, path, place) in [
        ("api.mistral.ai", CHAT, "/usage"),
        ("api.deepseek.com", "/chat/completions", "/usage"),
        ("api.groq.com", "/openai/v1/chat/completions", "/x_groq/usage"),
    ] {
        let (events, exchange) = chunks(&fixture, host, path, ask(None)).await;
        let last = events.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "stop", "{host}");
        assert_eq!(tokens(last.pointer(place).unwrap()), said(exchange.usage), "{host}");
        let others = events[..events.len() - 1].iter();
        assert!(others.filter_map(|event| event.pointer(place)).all(Value::is_null), "{host}");
        let whole = json(fixture.http1(host).await.post(path, chat("m", false)).await).await;
        assert_eq!(tokens(&whole["usage"]), said(self::last(&fixture).await.usage), "{host}");
    }
    let asked = ask(Some(json!({"include_usage": true})));
    let (events, exchange) = chunks(&fixture, "api.groq.com", "/openai/v1/chat/completions", asked).await;
    let [.., last, extra] = &events[..] else { panic!("two chunks at least") };
    assert_eq!(tokens(&last["x_groq"]["usage"]), tokens(&extra["usage"]));
    assert_eq!((&extra["choices"], tokens(&extra["usage"])), (&json!([]), said(exchange.usage)));
    let deepseek =
        json(fixture.http1("api.deepseek.com").await.post("/chat/completions", chat("m", false)).await).await;
    let usage = &deepseek["usage"];
    let hit_or_miss = ["prompt_cache_hit_tokens", "prompt_cache_miss_tokens"].map(|key| usage[key].as_u64().unwrap());
    assert_eq!(hit_or_miss.iter().sum::<u64>(), usage["prompt_tokens"].as_u64().unwrap());
}

#[tokio::test]
async fn cohere_bills_by_units_which_are_not_its_tokens() {
    let fixture = Fixture::start();
    let body = |stream: bool| {
        json!({"model": "command-a-03-2025", "stream": stream, "messages": [{"role": "user", "content": "say naïve"}]})
            .to_string()
    };
    let mut client = fixture.http1(COHERE).await;
    let whole = json(client.post("/v2/chat", body(false)).await).await;
    let billed = |usage: &Value| {
        let units = &usage["billed_units"];
        assert_ne!(units["input_tokens"], usage["tokens"]["input_tokens"]);
        (units["input_tokens"].as_u64().unwrap(), units["output_tokens"].as_u64().unwrap())
    };
    assert_eq!(billed(&whole["usage"]), said(last(&fixture).await.usage));
    let (events, exchange) = chunks(&fixture, COHERE, "/v2/chat", body(true)).await;
    let end = events.last().unwrap();
    assert_eq!((end["type"].as_str(), billed(&end["delta"]["usage"])), (Some("message-end"), said(exchange.usage)));
    let written: String =
        events.iter().filter_map(|event| event["delta"]["message"]["content"]["text"].as_str()).collect();
    assert_eq!(exchange.said.bytes, written.len() as u64);
    let embedded = json(client.post("/v2/embed", r#"{"model":"embed-v4.0","texts":["a","b"]}"#).await).await;
    assert_eq!(embedded["embeddings"]["float"].as_array().unwrap().len(), 2);
    assert_eq!(embedded["meta"]["billed_units"]["input_tokens"], last(&fixture).await.usage.unwrap().input);
    let ranked =
        client.post("/v2/rerank", r#"{"model":"rerank-v3.5","query":"q","documents":["a","b","c"],"top_n":2}"#);
    let ranked = json(ranked.await).await;
    assert_eq!(
        (ranked["results"].as_array().unwrap().len(), &ranked["meta"]["billed_units"]["search_units"]),
        (2, &json!(1))
    );
    let failed = text(client.faulty("/v2/chat", "error=2", body(true)).await).await;
    assert!(failed.contains(r#""finish_reason":"ERROR""#));
    assert_eq!(json(client.faulty("/v2/chat", "429", body(true)).await).await["message"], "a fault was asked for");
}

#[tokio::test]
async fn ollama_streams_lines_unless_told_not_to() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(OLLAMA).await;
    for (path, content, body) in [
        (
            "/api/chat",
            "/message/content",
            json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]}),
        ),
        ("/api/generate", "/response", json!({"model": "llama3.2", "prompt": "hi"})),
    ] {
        let response = client.post(path, body.to_string()).await;
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let lines: Vec<Value> = text(response).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (end, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line["done"] == false && line.get("eval_count").is_none()));
        let counts = |line: &Value| (line["prompt_eval_count"].as_u64().unwrap(), line["eval_count"].as_u64().unwrap());
        let streamed = last(&fixture).await;
        assert_eq!((end["done"].as_bool(), counts(end)), (Some(true), said(streamed.usage)));
        let written: String = lines.iter().filter_map(|line| line.pointer(content)?.as_str()).collect();
        assert_eq!(streamed.said.bytes, written.len() as u64);
        let mut body = body;
        body["stream"] = false.into();
        let whole = json(client.post(path, body.to_string()).await).await;
        assert_eq!(counts(&whole), said(last(&fixture).await.usage));
    }
    let embedded = json(client.post("/api/embed", r#"{"model":"e","input":["a","b"]}"#).await).await;
    assert_eq!(embedded["embeddings"].as_array().unwrap().len(), 2);
    let failed = text(client.faulty("/api/chat", "error=1", r#"{"model":"m","messages":[]}"#).await).await;
    assert!(failed.lines().last().unwrap().starts_with(r#"{"error":"#));
}

/// What estimates are held against.
#[tokio::test]
async fn what_was_said_is_noted_up_to_where_the_client_left() {
    let fixture = Fixture::start();
    let claude = json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    for (host, path, body, events_before) in [
        (OPENAI, CHAT, ask(None), 1),
        (OPENAI, "/v1/responses", json!({"model": "gpt-5-mini", "input": "hi", "stream": true}).to_string(), 6),
        (ANTHROPIC, "/v1/messages", claude.to_string(), 3),
        (GEMINI, "/v1beta/models/m:streamGenerateContent?alt=sse", gemini.to_string(), 0),
        (COHERE, "/v2/chat", ask(None), 2),
        (OLLAMA, "/api/chat", ask(None), 0),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse-stream", gemini.to_string(), 1),
    ] {
        let mut client = fixture.http1(host).await;
        let whole = client.post(path, body.clone()).await;
        assert_eq!(whole.status(), 200, "{host}{path}");
        text_or_frames(whole).await;
        let whole = last(&fixture).await;
        let cut = client.faulty(path, &format!("truncate={}", events_before + 5), body).await;
        drop(http_body_util::BodyExt::collect(cut.into_body()).await);
        let cut = last(&fixture).await;
        assert_eq!((cut.outcome, cut.said.tokens), (Outcome::Faulted, 5), "{host}{path}");
        assert!(cut.said.bytes > 5 && cut.said.bytes < whole.said.bytes, "{host}{path}");
        assert!(whole.said.tokens > 20, "{host}{path}");
    }
}

async fn text_or_frames(response: http::Response<hyper::body::Incoming>) {
    drop(crate::client::bytes(response).await);
}
