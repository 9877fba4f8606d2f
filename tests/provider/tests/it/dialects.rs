use serde_json::{Value, json};
use tollgate_provider::{Outcome, Usage};

use crate::client::{ANTHROPIC, Fixture, GEMINI, OPENAI, chat, data, json, text};

const CHAT: &str = "/v1/chat/completions";

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn openai_usage(usage: &Value) -> Usage {
    Usage {
        input: number(&usage["prompt_tokens"]),
        output: number(&usage["completion_tokens"]),
        cache_read: number(&usage["prompt_tokens_details"]["cached_tokens"]),
        cache_write: number(&usage["prompt_tokens_details"]["cache_write_tokens"]),
        reasoning: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
    }
}

#[tokio::test]
async fn equal_requests_get_equal_bytes_and_the_truth_tells_their_usage() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        for stream in [false, true] {
            let first = text(client.post(CHAT, chat("gpt-4o-mini", stream)).await).await;
            let second = text(client.post(CHAT, chat("gpt-4o-mini", stream)).await).await;
            assert_eq!(first, second);
            let told = if stream {
                let events = data(&first);
                assert_eq!(events.last(), Some(&"[DONE]"));
                serde_json::from_str::<Value>(events[events.len() - 2]).unwrap()
            } else {
                serde_json::from_str::<Value>(&first).unwrap()
            };
            fixture.provider.truth().settled().await;
            let exchange = fixture.provider.truth().exchanges().pop().unwrap();
            assert_eq!(exchange.usage, Some(openai_usage(&told["usage"])));
            assert_eq!((exchange.outcome, exchange.stream), (Outcome::Completed, stream));
            assert_eq!(exchange.model.as_deref(), Some("gpt-4o-mini"));
            assert_eq!(exchange.response_model.as_deref(), told["model"].as_str());
            assert_eq!(
                exchange.request_sha256,
                Some(tollgate_provider::sha256(chat("gpt-4o-mini", stream).as_bytes()))
            );
            assert_eq!(exchange.response_bytes, first.len() as u64);
        }
    }
    let versions: Vec<_> = fixture.provider.truth().exchanges().into_iter().map(|it| it.version).collect();
    assert_eq!((&versions[0][..], &versions[7][..]), ("HTTP/1.1", "HTTP/2.0"));
    assert_eq!(fixture.provider.truth().sums().completed, 8);
}

#[tokio::test]
async fn a_chat_stream_without_include_usage_tells_none() {
    let fixture = Fixture::start();
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let stream = text(fixture.http1(OPENAI).await.post(CHAT, body).await).await;
    assert!(!stream.contains("usage"));
    fixture.provider.truth().settled().await;
    let exchange = fixture.provider.truth().exchanges().pop().unwrap();
    assert_eq!((exchange.usage, exchange.outcome), (None, Outcome::Completed));
}

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    json!([
        {"type": "function", "function": {"name": "weather", "parameters": schema}},
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
    ])
}

#[tokio::test]
async fn tools_are_called_in_parallel_and_their_results_answered_in_text() {
    let fixture = Fixture::start();
    let mut client = fixture.http2(OPENAI).await;
    let question = json!({"role": "user", "content": "hi"});
    let request = |stream: bool, messages: Value| {
        json!({"model": "gpt-4o-mini", "stream": stream, "tools": tools(), "messages": messages}).to_string()
    };
    let stream = text(client.post(CHAT, request(true, json!([question]))).await).await;
    let mut arguments = [String::new(), String::new()];
    let mut finish = Value::Null;
    for event in data(&stream).iter().filter(|event| **event != "[DONE]") {
        let choice = serde_json::from_str::<Value>(event).unwrap()["choices"][0].clone();
        if let Some(call) = choice["delta"]["tool_calls"].get(0) {
            arguments[number(&call["index"]) as usize] += call["function"]["arguments"].as_str().unwrap();
        }
        finish = choice["finish_reason"].clone();
    }
    assert_eq!(finish, "tool_calls");
    let first: Value = serde_json::from_str(&arguments[0]).unwrap();
    assert!(first["city"].is_string() && first["days"].is_u64());
    assert_eq!(arguments[1], "{}");

    let whole = json(client.post(CHAT, request(false, json!([question]))).await).await;
    let calls = &whole["choices"][0]["message"]["tool_calls"];
    assert_eq!(
        (calls[0]["function"]["name"].as_str(), calls[1]["function"]["name"].as_str()),
        (Some("weather"), Some("time"))
    );
    let result = json!({"role": "tool", "tool_call_id": calls[0]["id"], "content": "sunny"});
    let answer = json(client.post(CHAT, request(false, json!([question, result]))).await).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("Answer "));
}

#[tokio::test]
async fn responses_are_numbered_events_that_end_with_the_whole() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(OPENAI).await;
    let request = |stream: bool| json!({"model": "gpt-5-mini", "input": "hi", "stream": stream}).to_string();
    let stream = text(client.post("/v1/responses", request(true)).await).await;
    let events: Vec<Value> = data(&stream).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], index);
    }
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][1]["content"][0]["text"], deltas);
    fixture.provider.truth().settled().await;
    let usage = fixture.provider.truth().exchanges()[0].usage.unwrap();
    let told = &last["response"]["usage"];
    assert_eq!(number(&told["input_tokens"]), usage.input);
    assert_eq!(number(&told["output_tokens"]), usage.output);
    assert_eq!(number(&told["input_tokens_details"]["cached_tokens"]), usage.cache_read);
    assert_eq!(number(&told["output_tokens_details"]["reasoning_tokens"]), usage.reasoning);
    let whole = json(client.post("/v1/responses", request(false)).await).await;
    assert_eq!((whole["object"].as_str(), whole["status"].as_str()), (Some("response"), Some("completed")));
}

#[tokio::test]
async fn anthropic_counts_cumulatively_and_without_the_cache() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(ANTHROPIC).await;
    let request = |stream: bool| {
        json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": stream, "thinking": {"type": "enabled", "budget_tokens": 1024},
               "messages": [{"role": "user", "content": "hi"}]}).to_string()
    };
    let stream = text(client.post("/v1/messages?beta=true", request(true)).await).await;
    let events: Vec<Value> = data(&stream).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let start = &events[0]["message"]["usage"];
    let delta = &events[events.len() - 2];
    assert_eq!(
        (delta["type"].as_str(), events.last().unwrap()["type"].as_str()),
        (Some("message_delta"), Some("message_stop"))
    );
    assert!(events.iter().any(|event| event["type"] == "ping"));
    fixture.provider.truth().settled().await;
    let exchange = fixture.provider.truth().exchanges().pop().unwrap();
    let usage = exchange.usage.unwrap();
    let last = &delta["usage"];
    let cache = number(&last["cache_read_input_tokens"]) + number(&last["cache_creation_input_tokens"]);
    assert_eq!(number(&last["input_tokens"]) + cache, usage.input);
    assert_eq!(number(&last["output_tokens"]), usage.output);
    assert_eq!(number(&last["output_tokens_details"]["thinking_tokens"]), usage.reasoning);
    assert_eq!(number(&start["output_tokens"]), 1, "provisional");
    assert_eq!(exchange.path, "/v1/messages?beta=true");

    let whole = json(client.post("/v1/messages", request(false)).await).await;
    let kinds: Vec<_> =
        whole["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "text"]);
}

#[tokio::test]
async fn gemini_streams_events_or_one_array_and_both_count_cumulatively() {
    let fixture = Fixture::start();
    let mut client = fixture.http2(GEMINI).await;
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}).to_string();
    let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    let events = text(client.post(&format!("{path}?alt=sse"), body.clone()).await).await;
    let events: Vec<Value> = data(&events).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let array = text(client.post(path, body.clone()).await).await;
    let Value::Array(array) = serde_json::from_str(&array).unwrap() else { panic!("not an array") };
    let counts = |chunks: &[Value]| -> Vec<u64> {
        chunks.iter().map(|chunk| number(&chunk["usageMetadata"]["candidatesTokenCount"])).collect()
    };
    for chunks in [&events, &array] {
        assert!(counts(chunks).windows(2).all(|pair| pair[0] <= pair[1]));
    }
    fixture.provider.truth().settled().await;
    for (exchange, chunks) in fixture.provider.truth().exchanges().iter().zip([&events, &array]) {
        let told = &chunks.last().unwrap()["usageMetadata"];
        let usage = exchange.usage.unwrap();
        assert_eq!(number(&told["promptTokenCount"]), usage.input);
        assert_eq!(number(&told["candidatesTokenCount"]) + number(&told["thoughtsTokenCount"]), usage.output);
        assert_eq!(number(&told["totalTokenCount"]), usage.input + usage.output);
        assert_eq!(exchange.model.as_deref(), Some("gemini-2.5-flash"));
    }
    let whole = json(client.post("/v1/models/gemini-2.5-flash:generateContent", body).await).await;
    assert_eq!(whole["candidates"][0]["finishReason"], "STOP");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_refused_in_the_dialect() {
    let fixture = Fixture::start();
    let mut openai = fixture.http1(OPENAI).await;
    let broken = openai.post(CHAT, "{").await;
    assert_eq!(broken.status(), 400);
    assert_eq!(json(broken).await["error"]["type"], "invalid_request_error");
    let mistyped = openai.faulty(CHAT, "stal", chat("m", false)).await;
    assert!(json(mistyped).await["error"]["message"].as_str().unwrap().contains("unknown fault \"stal\""));
    let missing = fixture.http1(ANTHROPIC).await.post("/v1/nothing", "{}").await;
    assert_eq!(json(missing).await["error"]["type"], "not_found_error");
    let limited =
        fixture.http1(GEMINI).await.faulty("/v1beta/models/x+429:generateContent", "retry-after=7", "{}").await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(json(limited).await["error"]["status"], "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn the_neighbour_on_the_same_address_is_a_plain_web_site() {
    let fixture = Fixture::start();
    for mut client in fixture.clients("other-site.example").await {
        let request = http::Request::get("/").body(crate::client::full("")).unwrap();
        let response = client.send(request).await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(text(response).await.contains("Nothing to do with language models"));
    }
}
