//! `POST /v1/chat/completions`.

use serde_json::Value;

use super::likes::{self, Place, usage_object};
use super::{obfuscation, pretty, snapshot};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, Dialect, text_of};
use crate::json::{EMPTY, Null, Object, Raw, obj};
use crate::reply::{Choice, Reply, Turn};
use crate::seed::CREATED;
use crate::truth::Usage;

pub(crate) fn answer(ask: &Ask) -> Answer {
    if ask.faults.refuse_stream_options && ask.json().get("stream_options").is_some() {
        let message = "Unrecognized request argument supplied: stream_options";
        return super::error(http::StatusCode::BAD_REQUEST, message, ask.seed);
    }
    let reply = turn(ask.json()).reply(ask);
    let usage = likes::usage(ask.dialect, ask.seed.usage(ask.body_length, reply.words()));
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
            let mut choice = Object::new();
            choice
                .field("index", &index)
                .field("message", &message)
                .field("logprobs", &Null)
                .field("finish_reason", finish);
            if ask.dialect == Dialect::Azure {
                choice.field("content_filter_results", &likes::filter_results());
            }
            choice.end()
        })
        .collect();
    let mut body = Object::new();
    body.field("id", &completion_id(ask))
        .field("object", "chat.completion")
        .field("created", &CREATED)
        .field("model", model)
        .field("choices", &choices);
    if !ask.faults.no_usage {
        body.field("usage", &usage_object(ask.dialect, usage));
    }
    likes::finish_body(ask, &mut body);
    if matches!(ask.dialect, Dialect::OpenAi | Dialect::Azure) {
        body.field("service_tier", "default").field("system_fingerprint", &fingerprint(ask));
    }
    let answer = Answer::new(http::StatusCode::OK, "application/json", pretty(&body.end()));
    if ask.faults.no_usage { answer } else { answer.usage(usage) }
}

fn stream(ask: &Ask, model: &str, reply: &Reply, usage: Usage, choices: u64) -> Answer {
    let counted = !ask.faults.no_usage;
    let place = if counted { likes::place(ask) } else { Place::Nowhere };
    let is_openai = ask.dialect == Dialect::OpenAi;
    let padded = is_openai && ask.json()["stream_options"]["include_obfuscation"] != false;
    let mut events: Vec<Event> = likes::first_event(ask).into_iter().collect();
    let mut count = 0;
    let mut chunk = |choices: &[Raw], total: Option<Raw>, length: usize| {
        let is_last = total.is_some();
        let mut chunk = Object::new();
        chunk
            .field("id", &completion_id(ask))
            .field("object", "chat.completion.chunk")
            .field("created", &CREATED)
            .field("model", model);
        if matches!(ask.dialect, Dialect::OpenAi | Dialect::Azure) {
            chunk.field("service_tier", "default").field("system_fingerprint", &fingerprint(ask));
        }
        chunk.field("choices", choices);
        let is_in_place = place == Place::LastContent || choices.is_empty();
        if place.is_in_every_chunk() || is_last && is_in_place {
            chunk.field("usage", &total);
        } else if is_last {
            likes::own_place(ask, &mut chunk, total.as_ref());
        }
        if padded {
            chunk.field("obfuscation", &obfuscation(ask.seed, count, length));
        }
        count += 1;
        Event::sse(None, &chunk.end().0).says(length)
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
    let total = || Some(usage_object(ask.dialect, usage));
    for index in 0..choices {
        let is_last = index + 1 == choices && place.is_in_last_content();
        let event = chunk(&[choice(index, &obj! {}, Some(finish))], if is_last { total() } else { None }, 0);
        events.push(if is_last { event.tells(usage) } else { event });
    }
    if place.is_extra_chunk() {
        events.push(chunk(&[], total(), 0).tells(usage));
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
                if ask.dialect == Dialect::Mistral {
                    // Calls come whole.
                    let whole = obj! {
                        "id" => call_id(ask, index), "index" => index as u64, "type" => "function",
                        "function" => obj! { "name" => call.name, "arguments" => call.arguments },
                    };
                    deltas.push((obj! { "tool_calls" => [whole] }, call.arguments.len()));
                    continue;
                }
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

fn completion_id(ask: &Ask) -> String {
    ask.seed.id("chatcmpl-", 29)
}

fn fingerprint(ask: &Ask) -> String {
    format!("fp_{}", ask.seed.hex("fingerprint", 10))
}

fn call_id(ask: &Ask, index: usize) -> String {
    ask.seed.derive(&format!("call {index}")).id("call_", 24)
}
