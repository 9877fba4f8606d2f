//! `POST /v1/messages`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{JSON, kind, request_id, snapshot};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, text_of};
use crate::json::{Null, Object, Raw, obj};
use crate::reply::{Choice, Reply, Turn};
use crate::truth::Usage;

/// Output tokens that `message_start` claims, as the API does, before anything is written.
const OUTPUT_AT_START: u64 = 1;

pub(crate) fn answer(ask: &Ask) -> Answer {
    let message = Message::new(ask);
    if ask.json()["stream"] == true { message.stream() } else { message.whole() }
}

fn turn(request: &Value) -> Turn {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let last_user = messages.iter().rev().find(|message| message["role"] == "user");
    let is_result = |part: &Value| part["type"] == "tool_result";
    let tools = request["tools"].as_array().into_iter().flatten();
    let choice = &request["tool_choice"];
    let format = if request["output_config"]["format"].is_object() {
        &request["output_config"]["format"]
    } else {
        &request["output_format"]
    };
    Turn {
        prompt: last_user.map(|message| text_of(&message["content"])).unwrap_or_default(),
        tools: tools
            .filter_map(|tool| Some((tool["name"].as_str()?.to_owned(), tool.get("input_schema")?.clone())))
            .collect(),
        has_tool_result: messages
            .last()
            .is_some_and(|message| message["content"].as_array().is_some_and(|parts| parts.iter().any(is_result))),
        choice: match choice["type"].as_str() {
            Some("none") => Choice::None,
            Some("tool") => Choice::Only(choice["name"].as_str().unwrap_or_default().to_owned()),
            _ => Choice::Any,
        },
        schema: format.get("schema").cloned(),
        single_call: choice["disable_parallel_tool_use"] == true,
    }
}

pub(crate) struct Message<'a> {
    ask: &'a Ask,
    model: &'a str,
    reply: Reply,
    pub(crate) usage: Usage,
    thinks: bool,
}

/// A content block: what a whole message holds, how a stream begins it, and its deltas.
struct Block {
    whole: Raw,
    begun: Raw,
    /// Each with the length of the piece in it; thoughts are none of the answer.
    deltas: Vec<(Raw, usize)>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(ask: &'a Ask) -> Self {
        let reply = turn(ask.json()).reply(ask);
        let thinks = matches!(ask.json()["thinking"]["type"].as_str(), Some("enabled" | "adaptive"));
        let mut usage = ask.seed.usage(ask.body_length, reply.words());
        if !thinks {
            // Without thinking there is no such count; the output is what it was.
            usage.reasoning = 0;
        }
        Self { ask, model: snapshot(ask.model_name()), reply, usage, thinks }
    }

    /// The name that it answers under.
    pub(crate) fn model(&self) -> &str {
        self.model
    }

    pub(crate) fn whole(&self) -> Answer {
        let content: Vec<Raw> = self.blocks().into_iter().map(|block| block.whole).collect();
        let message = self.message(&content, Some(self.stop_reason()), &self.full_usage());
        let answer = Answer::new(http::StatusCode::OK, JSON, message.0).model(self.model);
        if self.ask.faults.no_usage { answer } else { answer.usage(self.usage) }
    }

    fn stream(&self) -> Answer {
        let events = self.events().into_iter().map(|(name, data, event)| {
            let bytes = Event::sse(Some(name), &data.0).bytes;
            Event { bytes, ..event }
        });
        let mut answer = Answer::stream("text/event-stream; charset=utf-8", events.collect()).model(self.model);
        answer = answer.header("cache-control", "no-cache");
        let overloaded = obj! { "type" => kind(http::StatusCode::from_u16(529).expect("a valid status")), "message" => "Overloaded" };
        let error = obj! { "type" => "error", "error" => overloaded, "request_id" => request_id(self.ask.seed) };
        answer.error_event = Event::sse(Some("error"), &error.0).bytes;
        answer
    }

    /// The events of a stream: name, data, and what they tell, their bytes still to be written.
    pub(crate) fn events(&self) -> Vec<(&'static str, Raw, Event)> {
        let named = |name: &'static str, data: Raw| (name, data, Event::new(""));
        let counted = !self.ask.faults.no_usage;
        let provisional = Usage { output: OUTPUT_AT_START, reasoning: 0, ..self.usage };
        let start = self.message(&[], None, &self.usage_object(OUTPUT_AT_START, false));
        let mut start = named("message_start", obj! { "type" => "message_start", "message" => start });
        start.2.usage = counted.then_some(provisional);
        let mut events = vec![start];
        for (index, block) in self.blocks().into_iter().enumerate() {
            let at = index as u64;
            let begun = obj! { "type" => "content_block_start", "index" => at, "content_block" => block.begun };
            events.push(named("content_block_start", begun));
            if index == 0 {
                events.push(named("ping", obj! { "type" => "ping" }));
            }
            for (delta, length) in &block.deltas {
                let delta = obj! { "type" => "content_block_delta", "index" => at, "delta" => delta };
                events.push(("content_block_delta", delta, Event::new("").says(*length)));
            }
            let stop = obj! { "type" => "content_block_stop", "index" => at };
            events.push(named("content_block_stop", stop));
        }
        let delta = obj! { "stop_reason" => self.stop_reason(), "stop_sequence" => Null };
        let mut last = Object::new();
        last.field("type", "message_delta").field("delta", &delta).field("usage", &self.delta_usage());
        let mut last = named("message_delta", last.end());
        last.2.usage = counted.then_some(self.usage);
        events.push(last);
        events.push(named("message_stop", obj! { "type" => "message_stop" }));
        events
    }

    fn message(&self, content: &[Raw], stop_reason: Option<&str>, usage: &Raw) -> Raw {
        let mut message = Object::new();
        message
            .field("model", self.model)
            .field("id", &self.ask.seed.id("msg_01", 22))
            .field("type", "message")
            .field("role", "assistant")
            .field("content", content)
            .field("stop_reason", &stop_reason)
            .field("stop_sequence", &Null)
            .field("usage", usage);
        message.end()
    }

    fn stop_reason(&self) -> &'static str {
        if matches!(self.reply, Reply::Text(_)) { "end_turn" } else { "tool_use" }
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        if self.thinks {
            blocks.push(self.thinking());
        }
        match &self.reply {
            Reply::Text(pieces) => blocks.push(Block {
                whole: obj! { "type" => "text", "text" => pieces.concat() },
                begun: obj! { "type" => "text", "text" => "" },
                deltas: pieces
                    .iter()
                    .map(|piece| (obj! { "type" => "text_delta", "text" => piece }, piece.len()))
                    .collect(),
            }),
            Reply::Calls(calls) => {
                blocks.extend(calls.iter().enumerate().map(|(index, call)| {
                    let id = self.ask.seed.derive(&format!("call {index}")).id("toolu_01", 22);
                    let block = |input: &Raw| {
                        obj! { "type" => "tool_use", "id" => id, "name" => call.name, "input" => input }
                    };
                    let first = std::iter::once(String::new()).chain(call.pieces());
                    Block {
                        whole: block(&Raw(call.arguments.clone())),
                        begun: block(&obj! {}),
                        deltas: first
                            .map(|piece| (obj! { "type" => "input_json_delta", "partial_json" => piece }, piece.len()))
                            .collect(),
                    }
                }));
            }
        }
        blocks
    }

    fn thinking(&self) -> Block {
        let thoughts = ["The user wants ", "an answer. ", "Naïve façades aside, ", "this is one: 漢字 🚦."];
        let signature = STANDARD.encode(self.ask.seed.derive("signature").0.repeat(8));
        let mut deltas: Vec<(Raw, usize)> =
            thoughts.iter().map(|piece| (obj! { "type" => "thinking_delta", "thinking" => piece }, 0)).collect();
        deltas.push((obj! { "type" => "signature_delta", "signature" => signature }, 0));
        Block {
            whole: obj! { "type" => "thinking", "thinking" => thoughts.concat(), "signature" => signature },
            begun: obj! { "type" => "thinking", "thinking" => "", "signature" => "" },
            deltas,
        }
    }

    /// The API's `input_tokens` leaves out what was read from and written to the cache.
    fn input(&self, object: &mut Object) {
        let uncached = self.usage.input - self.usage.cache_read - self.usage.cache_write;
        object
            .field("input_tokens", &uncached)
            .field("cache_creation_input_tokens", &self.usage.cache_write)
            .field("cache_read_input_tokens", &self.usage.cache_read);
    }

    fn full_usage(&self) -> Raw {
        self.usage_object(self.usage.output, true)
    }

    fn usage_object(&self, output: u64, details: bool) -> Raw {
        if self.ask.faults.no_usage {
            return obj! { "input_tokens" => 0, "output_tokens" => 0 };
        }
        let long = self.usage.cache_write / 3;
        let mut usage = Object::new();
        self.input(&mut usage);
        usage
            .field(
                "cache_creation",
                &obj! {
                    "ephemeral_5m_input_tokens" => self.usage.cache_write - long, "ephemeral_1h_input_tokens" => long,
                },
            )
            .field("output_tokens", &output);
        if details && self.thinks {
            usage.field("output_tokens_details", &obj! { "thinking_tokens" => self.usage.reasoning });
        }
        usage.field("service_tier", "standard").field("inference_geo", "not_available");
        usage.end()
    }

    /// Cumulative, as the last word on every field.
    fn delta_usage(&self) -> Raw {
        if self.ask.faults.no_usage {
            return obj! { "output_tokens" => 0 };
        }
        let mut usage = Object::new();
        self.input(&mut usage);
        usage.field("output_tokens", &self.usage.output);
        if self.thinks {
            usage.field("output_tokens_details", &obj! { "thinking_tokens" => self.usage.reasoning });
        }
        usage.end()
    }
}
