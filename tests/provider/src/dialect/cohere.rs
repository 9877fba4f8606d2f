//! Cohere's API, version 2: chat, embeddings, reranking.

use http::{Method, StatusCode};
use serde_json::Value;

use super::openai::vector;
use super::{Ask, text_of};
use crate::answer::{Answer, Event};
use crate::json::{EMPTY, Null, Raw, obj};
use crate::reply::{Reply, Turn};
use crate::seed::Seed;
use crate::truth::Usage;

const JSON: &str = "application/json";

pub(crate) fn answer(ask: &Ask) -> Answer {
    let answer = match (&ask.method, ask.path.trim_end_matches('/')) {
        (&Method::POST, "/v2/chat" | "/v2/embed" | "/v2/rerank") if ask.json.is_none() => {
            return error(StatusCode::BAD_REQUEST, "invalid request: body must be a valid JSON", ask.seed);
        }
        (&Method::POST, "/v2/chat") => chat(ask),
        (&Method::POST, "/v2/embed") => embed(ask),
        (&Method::POST, "/v2/rerank") => rerank(ask),
        (_, path) => return error(StatusCode::NOT_FOUND, &format!("404 page not found: {path}"), ask.seed),
    };
    furnish(answer, ask.seed)
}

pub(crate) fn error(status: StatusCode, message: &str, seed: Seed) -> Answer {
    furnish(Answer::new(status, JSON, obj! { "id" => id(seed, "error"), "message" => message }.0), seed)
}

fn furnish(answer: Answer, seed: Seed) -> Answer {
    answer
        .header("x-api-warning", "this is a stand-in")
        .header("x-trial-endpoint-call-limit", "40")
        .header("x-debug-trace-id", seed.hex("trace", 32))
        .header("server", "envoy")
}

/// What is billed, which is less than what the model read: Cohere's own preamble is free.
fn billed(ask: &Ask, words: usize) -> Usage {
    let usage = ask.seed.usage(ask.body_length, words);
    Usage { input: usage.input, output: usage.output - usage.reasoning, ..Usage::default() }
}

fn usage_object(usage: Usage) -> Raw {
    obj! {
        "billed_units" => obj! { "input_tokens" => usage.input, "output_tokens" => usage.output },
        "tokens" => obj! { "input_tokens" => usage.input + 66, "output_tokens" => usage.output },
        "cached_tokens" => 0,
    }
}

fn chat(ask: &Ask) -> Answer {
    let messages = ask.json()["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let user = messages.iter().rev().find(|message| message["role"] == "user");
    let prompt = user.map(|message| text_of(&message["content"])).unwrap_or_default();
    let Reply::Text(pieces) = (Turn { prompt, ..Turn::default() }).reply(ask) else {
        unreachable!("there are no tools to call");
    };
    let usage = billed(ask, pieces.len());
    if ask.json()["stream"] == true { stream(ask, &pieces, usage) } else { whole(ask, &pieces, usage) }
}

fn whole(ask: &Ask, pieces: &[String], usage: Usage) -> Answer {
    let content = obj! { "type" => "text", "text" => pieces.concat() };
    let message = obj! { "role" => "assistant", "content" => [content] };
    let id = id(ask.seed, "chat");
    if ask.faults.no_usage {
        let body = obj! { "id" => id, "message" => message, "finish_reason" => "COMPLETE" };
        return Answer::new(StatusCode::OK, JSON, body.0);
    }
    let body = obj! {
        "id" => id, "message" => message, "finish_reason" => "COMPLETE", "usage" => usage_object(usage),
    };
    Answer::new(StatusCode::OK, JSON, body.0).usage(usage)
}

fn stream(ask: &Ask, pieces: &[String], usage: Usage) -> Answer {
    let named = |name: &str, data: &Raw| Event::sse(Some(name), &data.0);
    let begun = obj! {
        "role" => "assistant", "content" => EMPTY, "tool_plan" => "", "tool_calls" => EMPTY, "citations" => EMPTY,
    };
    let start =
        obj! { "id" => id(ask.seed, "chat"), "type" => "message-start", "delta" => obj! { "message" => begun } };
    let content = |text: Raw| obj! { "message" => obj! { "content" => text } };
    let block =
        obj! { "type" => "content-start", "index" => 0, "delta" => content(obj! { "type" => "text", "text" => "" }) };
    let mut events = vec![named("message-start", &start), named("content-start", &block)];
    events.extend(pieces.iter().map(|piece| {
        let delta = content(obj! { "text" => piece });
        named("content-delta", &obj! { "type" => "content-delta", "index" => 0, "delta" => delta }).says(piece.len())
    }));
    events.push(named("content-end", &obj! { "type" => "content-end", "index" => 0 }));
    let end = |delta: Raw| named("message-end", &obj! { "type" => "message-end", "delta" => delta });
    events.push(if ask.faults.no_usage {
        end(obj! { "finish_reason" => "COMPLETE" })
    } else {
        end(obj! { "finish_reason" => "COMPLETE", "usage" => usage_object(usage) }).tells(usage)
    });
    if !ask.faults.no_done {
        events.push(Event::sse(None, "[DONE]"));
    }
    let mut answer = Answer::stream("text/event-stream", events);
    answer.error_event = end(obj! { "finish_reason" => "ERROR", "error" => "an error occurred" }).bytes;
    answer
}

fn embed(ask: &Ask) -> Answer {
    let texts = ask.json()["texts"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    let vectors: Vec<Vec<f64>> =
        (0..texts.len()).map(|at| vector(ask.seed, at, 256).into_iter().map(f64::from).collect()).collect();
    let usage = Usage { output: 0, ..billed(ask, 0) };
    let body = obj! {
        "id" => id(ask.seed, "embed"),
        "embeddings" => obj! { "float" => vectors },
        "texts" => texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(),
        "meta" => meta(&obj! { "input_tokens" => usage.input }),
        "response_type" => "embeddings_by_type",
    };
    Answer::new(StatusCode::OK, JSON, body.0).usage(usage)
}

/// Billed by the search, not by tokens.
fn rerank(ask: &Ask) -> Answer {
    let documents = ask.json()["documents"].as_array().map_or(0, Vec::len);
    let most = ask.json()["top_n"].as_u64().map_or(documents, |most| documents.min(most as usize));
    let results: Vec<Raw> = (0..most)
        .map(|at| obj! { "index" => (documents - 1 - at) as u64, "relevance_score" => 0.9 / (at as f64 + 1.0) })
        .collect();
    let body = obj! {
        "id" => id(ask.seed, "rerank"), "results" => results, "meta" => meta(&obj! { "search_units" => 1 }),
    };
    Answer::new(StatusCode::OK, JSON, body.0).usage(Usage::default())
}

fn meta(billed: &Raw) -> Raw {
    obj! { "api_version" => obj! { "version" => "2" }, "billed_units" => billed, "warnings" => Null }
}

/// A UUID, as this API names everything.
fn id(seed: Seed, purpose: &str) -> String {
    let hex = seed.hex(purpose, 32);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
