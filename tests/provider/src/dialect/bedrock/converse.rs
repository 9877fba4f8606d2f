//! `Converse` and `ConverseStream`.

use http::StatusCode;
use serde_json::Value;

use super::{JSON, frames, usage_object};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, text_of};
use crate::json::{Object, Raw, obj};
use crate::reply::{Choice, Reply, Turn};
use crate::truth::Usage;

pub(super) fn whole(ask: &Ask) -> Answer {
    let conversation = Conversation::new(ask);
    let content: Vec<Raw> = match &conversation.reply {
        Reply::Text(pieces) => vec![obj! { "text" => pieces.concat() }],
        Reply::Calls(calls) => calls
            .iter()
            .enumerate()
            .map(|(at, call)| {
                let input = Raw(call.arguments.clone());
                obj! { "toolUse" => obj! { "input" => input, "name" => call.name, "toolUseId" => conversation.id(at) } }
            })
            .collect(),
    };
    let message = obj! { "content" => content, "role" => "assistant" };
    let mut body = Object::new();
    body.field("metrics", &conversation.metrics())
        .field("output", &obj! { "message" => message })
        .field("stopReason", conversation.stop_reason());
    if let Some(usage) = conversation.told() {
        body.field("usage", &usage_object(usage, false));
    }
    let mut answer = Answer::new(StatusCode::OK, JSON, body.end().0);
    answer.usage = conversation.told();
    answer
}

pub(super) fn stream(ask: &Ask) -> Answer {
    let conversation = Conversation::new(ask);
    let mut events = Events(ask, Vec::new());
    events.push("messageStart", &[("role", &Raw("\"assistant\"".to_owned()))]);
    match &conversation.reply {
        Reply::Text(pieces) => {
            for piece in pieces {
                events.delta(0, &obj! { "text" => piece }, piece.len());
            }
            events.push("contentBlockStop", &[("contentBlockIndex", &Raw("0".to_owned()))]);
        }
        Reply::Calls(calls) => {
            for (at, call) in calls.iter().enumerate() {
                let index = Raw(at.to_string());
                let tool = obj! { "name" => call.name, "toolUseId" => conversation.id(at) };
                let start = obj! { "toolUse" => tool };
                events.push("contentBlockStart", &[("contentBlockIndex", &index), ("start", &start)]);
                for piece in call.pieces() {
                    events.delta(at, &obj! { "toolUse" => obj! { "input" => piece } }, piece.len());
                }
                events.push("contentBlockStop", &[("contentBlockIndex", &index)]);
            }
        }
    }
    events.push("messageStop", &[("stopReason", &Raw(format!("\"{}\"", conversation.stop_reason())))]);
    if let Some(usage) = conversation.told() {
        let counts = usage_object(usage, false);
        events.push("metadata", &[("metrics", &conversation.metrics()), ("usage", &counts)]).usage = Some(usage);
    }
    let mut answer = Answer::stream(frames::TYPE, events.1);
    answer.error_event = frames::exception(
        "throttlingException",
        obj! { "message" => "Too many tokens, please wait before trying again." },
    );
    answer
}

struct Events<'a>(&'a Ask, Vec<Event>);

impl Events<'_> {
    fn push(&mut self, name: &str, fields: &[(&str, &Raw)]) -> &mut Event {
        let mut object = Object::new();
        for (name, value) in fields {
            object.field(name, *value);
        }
        let seed = self.0.seed.derive(&self.1.len().to_string());
        self.1.push(frames::event(name, object, seed));
        self.1.last_mut().expect("just pushed")
    }

    fn delta(&mut self, index: usize, delta: &Raw, length: usize) {
        let fields = [("contentBlockIndex", &Raw(index.to_string())), ("delta", delta)];
        let event = self.push("contentBlockDelta", &fields);
        *event = event.clone().says(length);
    }
}

struct Conversation<'a> {
    ask: &'a Ask,
    reply: Reply,
    usage: Usage,
}

impl<'a> Conversation<'a> {
    fn new(ask: &'a Ask) -> Self {
        let reply = turn(ask.json()).reply(ask);
        // This API does not tell what was reasoning.
        let usage = Usage { reasoning: 0, ..ask.seed.usage(ask.body_length, reply.words()) };
        Self { ask, reply, usage }
    }

    fn told(&self) -> Option<Usage> {
        (!self.ask.faults.no_usage).then_some(self.usage)
    }

    fn metrics(&self) -> Raw {
        obj! { "latencyMs" => self.ask.seed.number("latency") % 3_000 + 200 }
    }

    fn stop_reason(&self) -> &'static str {
        if matches!(self.reply, Reply::Text(_)) { "end_turn" } else { "tool_use" }
    }

    fn id(&self, call: usize) -> String {
        self.ask.seed.derive(&format!("call {call}")).id("tooluse_", 22)
    }
}

fn turn(request: &Value) -> Turn {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let last_user = messages.iter().rev().find(|message| message["role"] == "user");
    let has_result = |message: &Value| {
        message["content"].as_array().is_some_and(|parts| parts.iter().any(|part| part["toolResult"].is_object()))
    };
    let choice = &request["toolConfig"]["toolChoice"];
    Turn {
        prompt: last_user.map(|message| text_of(&message["content"])).unwrap_or_default(),
        tools: request["toolConfig"]["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| {
                let tool = &tool["toolSpec"];
                Some((tool["name"].as_str()?.to_owned(), tool["inputSchema"]["json"].clone()))
            })
            .collect(),
        has_tool_result: messages.last().is_some_and(has_result),
        choice: choice["tool"]["name"].as_str().map_or(Choice::Any, |name| Choice::Only(name.to_owned())),
        schema: None,
        single_call: false,
    }
}
