//! `POST /v1/chat/completions`.

use serde_json::Value;

use super::{obfuscation, pretty, snapshot};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, text_of};
use crate::json::{EMPTY, Null, Object, Raw, obj};
use crate::reply::{Choice, Reply, Turn};
use crate::seed::CREATED;
use crate::truth::Usage;

pub(crate) fn answer(ask: &Ask) -> Answer {
    let reply = turn(ask.json()).reply(ask);
    let words = match &reply {
        Reply::Text(pieces) => pieces.len(),
        Reply::Calls(calls) => calls.iter().map(|call| call.pieces().len()).sum(),
    };
    let usage = ask.seed.usage(ask.body_length, words);
    let model = snapshot(ask.model_name());
    let choices = ask.json()["n"].as_u64().unwrap_or(1).clamp(1, 8);
    if ask.json()["stream"] == true {
        stream(ask, model, &reply, usage, choices).model(model)
    } else {
        whole(ask, model, &reply, usage, choices).model(model)
    }
}

fn turn(request: &Value) -> Turn {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let last_user = messages.iter().rev().find(|message| message["role"] == "user");
    let tools = request["tools"].as_array().into_iter().flatten();
    Turn {
        prompt: last_user.map(|message| text_of(&message["content"])).unwrap_or_default(),
        tools: tools
            .filter_map(|tool| {
                Some((tool["function"]["name"].as_str()?.to_owned(), tool["function"]["parameters"].clone()))
            })
            .collect(),
        has_tool_result: messages.last().is_some_and(|message| message["role"] == "tool"),
        choice: match &request["tool_choice"] {
            Value::String(choice) if choice == "none" => Choice::None,
            Value::Object(choice) => {
                choice["function"]["name"].as_str().map_or(Choice::Any, |name| Choice::Only(name.to_owned()))
            }
            _ => Choice::Any,
        },
        schema: request["response_format"]["json_schema"].get("schema").cloned(),
        single_call: request["parallel_tool_calls"] == false,
    }
}

fn whole(ask: &Ask, model: &str, reply: &Reply, usage: Usage, choices: u64) -> Answer {
    let (message, finish) = match reply {
        Reply::Text(pieces) => (
            obj! { "role" => "assistant", "content" => pieces.concat(), "refusal" => Null, "annotations" => EMPTY },
            "stop",
        ),
        Reply::Calls(calls) => {
            let calls: Vec<Raw> = calls
                .iter()
                .enumerate()
                .map(|(index, call)| {
                    let function = obj! { "name" => call.name, "arguments" => call.arguments };
                    obj! { "id" => call_id(ask, index), "type" => "function", "function" => function }
                })
                .collect();
            (
                obj! { "role" => "assistant", "content" => Null, "tool_calls" => calls, "refusal" => Null, "annotations" => EMPTY },
                "tool_calls",
            )
        }
    };
    let choices: Vec<Raw> = (0..choices)
        .map(|index| {
            obj! { "index" => index, "message" => message, "logprobs" => Null, "finish_reason" => finish }
        })
        .collect();
    let mut body = Object::new();
    body.field("id", &completion_id(ask))
        .field("object", "chat.completion")
        .field("created", &CREATED)
        .field("model", model)
        .field("choices", &choices);
    if !ask.faults.no_usage {
        body.field("usage", &usage_object(usage));
    }
    body.field("service_tier", "default").field("system_fingerprint", &fingerprint(ask));
    let answer = Answer::new(http::StatusCode::OK, "application/json", pretty(&body.end()));
    if ask.faults.no_usage { answer } else { answer.usage(usage) }
}

fn stream(ask: &Ask, model: &str, reply: &Reply, usage: Usage, choices: u64) -> Answer {
    let with_usage = ask.json()["stream_options"]["include_usage"] == true && !ask.faults.no_usage;
    let padded = ask.json()["stream_options"]["include_obfuscation"] != false;
    let mut events = Vec::new();
    let mut count = 0;
    let mut chunk = |choices: &[Raw], total: Option<Raw>, length: usize| {
        let mut chunk = Object::new();
        chunk
            .field("id", &completion_id(ask))
            .field("object", "chat.completion.chunk")
            .field("created", &CREATED)
            .field("model", model)
            .field("service_tier", "default")
            .field("system_fingerprint", &fingerprint(ask))
            .field("choices", choices);
        if with_usage {
            chunk.field("usage", &total);
        }
        if padded {
            chunk.field("obfuscation", &obfuscation(ask.seed, count, length));
        }
        count += 1;
        Event::sse(None, &chunk.end().0)
    };
    let choice = |index: u64, delta: &Raw, finish: Option<&str>| {
        obj! { "index" => index, "delta" => delta, "logprobs" => Null, "finish_reason" => finish }
    };
    let deltas = deltas(ask, reply);
    let finish = if matches!(reply, Reply::Text(_)) { "stop" } else { "tool_calls" };
    for (delta, length) in &deltas {
        for index in 0..choices {
            events.push(chunk(&[choice(index, delta, None)], None, *length));
        }
    }
    for index in 0..choices {
        events.push(chunk(&[choice(index, &obj! {}, Some(finish))], None, 0));
    }
    if with_usage {
        events.push(chunk(&[], Some(usage_object(usage)), 0).tells(usage));
    }
    if !ask.faults.no_done {
        events.push(Event::sse(None, "[DONE]"));
    }
    let mut answer = Answer::stream("text/event-stream; charset=utf-8", events);
    let message = "The server had an error while processing your request. Sorry about that!";
    let error = obj! { "error" => super::error_object(message, "server_error", None) };
    answer.error_event = Event::sse(None, &error.0).bytes;
    answer
}

/// The deltas of one choice, each with the length of its text.
fn deltas(ask: &Ask, reply: &Reply) -> Vec<(Raw, usize)> {
    match reply {
        Reply::Text(pieces) => {
            let first = (obj! { "role" => "assistant", "content" => "", "refusal" => Null }, 0);
            let rest = pieces.iter().map(|piece| (obj! { "content" => piece }, piece.len()));
            [first].into_iter().chain(rest).collect()
        }
        Reply::Calls(calls) => {
            let mut deltas = vec![(obj! { "role" => "assistant", "content" => Null }, 0)];
            for (index, call) in calls.iter().enumerate() {
                let head = obj! {
                    "index" => index as u64, "id" => call_id(ask, index), "type" => "function",
                    "function" => obj! { "name" => call.name, "arguments" => "" },
                };
                deltas.push((obj! { "tool_calls" => [head] }, 0));
                for piece in call.pieces() {
                    let delta = obj! { "index" => index as u64, "function" => obj! { "arguments" => piece } };
                    deltas.push((obj! { "tool_calls" => [delta] }, piece.len()));
                }
            }
            deltas
        }
    }
}

fn usage_object(usage: Usage) -> Raw {
    obj! {
        "prompt_tokens" => usage.input,
        "completion_tokens" => usage.output,
        "total_tokens" => usage.input + usage.output,
        "prompt_tokens_details" => obj! {
            "cached_tokens" => usage.cache_read, "cache_write_tokens" => usage.cache_write, "audio_tokens" => 0,
        },
        "completion_tokens_details" => obj! {
            "reasoning_tokens" => usage.reasoning, "audio_tokens" => 0,
            "accepted_prediction_tokens" => 0, "rejected_prediction_tokens" => 0,
        },
    }
}

fn completion_id(ask: &Ask) -> String {
    ask.seed.id("chatcmpl-", 29)
}

fn fingerprint(ask: &Ask) -> String {
    format!("fp_{}", ask.seed.hex("fingerprint", 10))
}

fn call_id(ask: &Ask, index: usize) -> String {
    ask.seed.derive(&format!("call {index}")).id("call_", 24)
}
