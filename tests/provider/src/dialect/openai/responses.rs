//! `POST /v1/responses`.

use serde_json::Value;

use super::{obfuscation, pretty, snapshot};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, text_of};
use crate::json::{EMPTY, Null, Object, Put, Raw, obj};
use crate::reply::{Choice, Reply, Turn};
use crate::seed::CREATED;
use crate::truth::{Said, Usage};

pub(crate) fn answer(ask: &Ask) -> Answer {
    let reply = turn(ask.json()).reply(ask);
    let usage = ask.seed.usage(ask.body_length, reply.words());
    let model = snapshot(ask.model_name());
    if ask.json()["stream"] == true {
        stream(ask, model, &reply, usage).model(model)
    } else {
        let output = Output::new(ask, &reply).items();
        let body = response(ask, model, "completed", &output, Some(usage), None);
        let answer = Answer::new(http::StatusCode::OK, "application/json", pretty(&body)).model(model);
        if ask.faults.no_usage { answer } else { answer.usage(usage) }
    }
}

fn turn(request: &Value) -> Turn {
    let items = request["input"].as_array().map_or(&[][..], Vec::as_slice);
    let last_user = items.iter().rev().find(|item| item["role"] == "user");
    let tools = request["tools"].as_array().into_iter().flatten().filter(|tool| tool["type"] == "function");
    Turn {
        prompt: match request["input"].as_str() {
            Some(text) => text.to_owned(),
            None => last_user.map(|item| text_of(&item["content"])).unwrap_or_default(),
        },
        tools: tools.filter_map(|tool| Some((tool["name"].as_str()?.to_owned(), tool["parameters"].clone()))).collect(),
        has_tool_result: items.last().is_some_and(|item| item["type"] == "function_call_output"),
        choice: match &request["tool_choice"] {
            Value::String(choice) if choice == "none" => Choice::None,
            Value::Object(choice) => {
                choice.get("name").and_then(Value::as_str).map_or(Choice::Any, |name| Choice::Only(name.to_owned()))
            }
            _ => Choice::Any,
        },
        schema: request["text"]["format"].get("schema").cloned(),
        single_call: request["parallel_tool_calls"] == false,
    }
}

/// The output items: a reasoning item, then a message or function calls.
struct Output<'a> {
    reasoning_id: String,
    message_id: String,
    ids: Vec<(String, String)>,
    reply: &'a Reply,
}

impl<'a> Output<'a> {
    fn new(ask: &Ask, reply: &'a Reply) -> Self {
        let calls = if let Reply::Calls(calls) = reply { calls.len() } else { 0 };
        let id = |prefix: &str, purpose: String| format!("{prefix}{}", ask.seed.hex(&purpose, 50));
        Self {
            reasoning_id: id("rs_", "reasoning".to_owned()),
            message_id: id("msg_", "message".to_owned()),
            ids: (0..calls)
                .map(|index| {
                    let call = ask.seed.derive(&format!("call {index}")).id("call_", 24);
                    (id("fc_", format!("function {index}")), call)
                })
                .collect(),
            reply,
        }
    }

    fn reasoning(&self) -> Raw {
        obj! { "id" => self.reasoning_id, "type" => "reasoning", "summary" => EMPTY }
    }

    fn message(&self, status: &str, content: &[Raw]) -> Raw {
        obj! {
            "id" => self.message_id, "type" => "message", "status" => status, "content" => content,
            "role" => "assistant",
        }
    }

    fn call(&self, index: usize, status: &str, name: &str, arguments: &str) -> Raw {
        let (id, call) = &self.ids[index];
        obj! {
            "id" => id, "type" => "function_call", "status" => status, "arguments" => arguments, "call_id" => call,
            "name" => name,
        }
    }

    fn items(&self) -> Vec<Raw> {
        let mut items = vec![self.reasoning()];
        match self.reply {
            Reply::Text(pieces) => items.push(self.message("completed", &[text_part(&pieces.concat())])),
            Reply::Calls(calls) => items.extend(
                calls.iter().enumerate().map(|(at, call)| self.call(at, "completed", &call.name, &call.arguments)),
            ),
        }
        items
    }
}

fn text_part(text: &str) -> Raw {
    obj! { "type" => "output_text", "annotations" => EMPTY, "logprobs" => EMPTY, "text" => text }
}

/// The response object; settings that the request gives are told back, as the API does.
fn response(ask: &Ask, model: &str, status: &str, output: &[Raw], usage: Option<Usage>, failure: Option<&Raw>) -> Raw {
    let request = ask.json();
    let given = |key: &str, default: &str| {
        request
            .get(key)
            .filter(|value| !value.is_null())
            .map_or_else(|| Raw(default.to_owned()), |value| Raw(value.to_string()))
    };
    let mut body = Object::new();
    body.field("id", &format!("resp_{}", ask.seed.hex("response", 50)))
        .field("object", "response")
        .field("created_at", &CREATED)
        .field("status", status)
        .field("background", &false)
        .field("completed_at", &(status == "completed").then_some(CREATED + 1))
        .field("error", &failure)
        .field("incomplete_details", &Null)
        .field("instructions", &given("instructions", "null"))
        .field("max_output_tokens", &given("max_output_tokens", "null"))
        .field("max_tool_calls", &Null)
        .field("model", model)
        .field("output", output)
        .field("parallel_tool_calls", &given("parallel_tool_calls", "true"))
        .field("previous_response_id", &given("previous_response_id", "null"))
        .field("prompt_cache_key", &Null)
        .field("reasoning", &obj! { "effort" => Null, "summary" => Null })
        .field("safety_identifier", &Null)
        .field("service_tier", "default")
        .field("store", &given("store", "true"))
        .field("temperature", &given("temperature", "1.0"))
        .field("text", &given("text", r#"{"format":{"type":"text"},"verbosity":"medium"}"#))
        .field("tool_choice", &given("tool_choice", "\"auto\""))
        .field("tools", &given("tools", "[]"))
        .field("top_logprobs", &0)
        .field("top_p", &given("top_p", "1.0"))
        .field("truncation", "disabled")
        .field("usage", &usage.filter(|_| !ask.faults.no_usage).map(usage_object))
        .field("user", &Null)
        .field("metadata", &given("metadata", "{}"));
    body.end()
}

fn usage_object(usage: Usage) -> Raw {
    obj! {
        "input_tokens" => usage.input,
        "input_tokens_details" => obj! {
            "cached_tokens" => usage.cache_read, "cache_write_tokens" => usage.cache_write,
        },
        "output_tokens" => usage.output,
        "output_tokens_details" => obj! { "reasoning_tokens" => usage.reasoning },
        "total_tokens" => usage.input + usage.output,
    }
}

/// Numbers the events of one stream.
struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, kind: &str, fields: &[(&str, &dyn Put)]) -> &mut Event {
        let mut data = Object::new();
        data.field("type", kind).field("sequence_number", &(self.0.len() as u64));
        for (name, value) in fields {
            data.field(name, *value);
        }
        self.0.push(Event::sse(Some(kind), &data.end().0));
        self.0.last_mut().expect("just pushed")
    }
}

fn stream(ask: &Ask, model: &str, reply: &Reply, usage: Usage) -> Answer {
    let output = Output::new(ask, reply);
    let mut events = Events(Vec::new());
    let begun = response(ask, model, "in_progress", &[], None, None);
    events.push("response.created", &[("response", &begun)]);
    events.push("response.in_progress", &[("response", &begun)]);
    let reasoning = output.reasoning();
    events.push("response.output_item.added", &[("output_index", &0), ("item", &reasoning)]);
    events.push("response.output_item.done", &[("output_index", &0), ("item", &reasoning)]);
    match reply {
        Reply::Text(pieces) => stream_text(ask, &output, pieces, &mut events),
        Reply::Calls(_) => stream_calls(ask, &output, &mut events),
    }
    let failure = obj! { "code" => "server_error", "message" => "The server had an error processing your request." };
    let failed = response(ask, model, "failed", &[], None, Some(&failure));
    let error_event = Event::sse(
        Some("response.failed"),
        &obj! { "type" => "response.failed", "sequence_number" => events.0.len() as u64, "response" => failed }.0,
    );
    let done = response(ask, model, "completed", &output.items(), Some(usage), None);
    let last = events.push("response.completed", &[("response", &done)]);
    last.usage = (!ask.faults.no_usage).then_some(usage);
    let mut answer = Answer::stream("text/event-stream; charset=utf-8", events.0);
    answer.error_event = error_event.bytes;
    answer
}

fn stream_text(ask: &Ask, output: &Output<'_>, pieces: &[String], events: &mut Events) {
    let place: [(&str, &dyn Put); 3] = [("item_id", &output.message_id), ("output_index", &1), ("content_index", &0)];
    let text = pieces.concat();
    let begun = output.message("in_progress", &[]);
    events.push("response.output_item.added", &[("output_index", &1), ("item", &begun)]);
    events.push("response.content_part.added", &[&place[..], &[("part", &text_part(""))]].concat());
    for (index, piece) in pieces.iter().enumerate() {
        let padding = obfuscation(ask.seed, index as u64, piece.len());
        let rest: [(&str, &dyn Put); 3] = [("delta", piece), ("logprobs", &EMPTY), ("obfuscation", &padding)];
        let event = events.push("response.output_text.delta", &[&place[..], &rest[..]].concat());
        event.said = Said { tokens: 1, bytes: piece.len() as u64 };
    }
    let rest: [(&str, &dyn Put); 2] = [("text", &text), ("logprobs", &EMPTY)];
    events.push("response.output_text.done", &[&place[..], &rest[..]].concat());
    let part = text_part(&text);
    events.push("response.content_part.done", &[&place[..], &[("part", &part)]].concat());
    let done = output.message("completed", &[part]);
    events.push("response.output_item.done", &[("output_index", &1), ("item", &done)]);
}

fn stream_calls(ask: &Ask, output: &Output<'_>, events: &mut Events) {
    let Reply::Calls(calls) = output.reply else { return };
    for (index, call) in calls.iter().enumerate() {
        let at = index as u64 + 1;
        let place: [(&str, &dyn Put); 2] = [("item_id", &output.ids[index].0), ("output_index", &at)];
        let begun = output.call(index, "in_progress", &call.name, "");
        events.push("response.output_item.added", &[("output_index", &at), ("item", &begun)]);
        for (number, piece) in call.pieces().iter().enumerate() {
            let padding = obfuscation(ask.seed, number as u64, piece.len());
            let rest: [(&str, &dyn Put); 2] = [("delta", piece), ("obfuscation", &padding)];
            let event = events.push("response.function_call_arguments.delta", &[&place[..], &rest[..]].concat());
            event.said = Said { tokens: 1, bytes: piece.len() as u64 };
        }
        let rest: [(&str, &dyn Put); 2] = [("arguments", &call.arguments), ("name", &call.name)];
        events.push("response.function_call_arguments.done", &[&place[..], &rest[..]].concat());
        let done = output.call(index, "completed", &call.name, &call.arguments);
        events.push("response.output_item.done", &[("output_index", &at), ("item", &done)]);
    }
}
