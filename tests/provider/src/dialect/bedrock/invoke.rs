//! `InvokeModel` and `InvokeModelWithResponseStream`: what the model itself says, in the shape of its vendor.

use http::StatusCode;

use super::{JSON, frames, usage_object, vendor};
use crate::answer::{Answer, Content, Event};
use crate::dialect::anthropic::messages::Message;
use crate::dialect::openai::{self, vector};
use crate::dialect::{Ask, text_of};
use crate::json::{Null, Object, Raw, obj};
use crate::reply::{Reply, Turn};
use crate::truth::Usage;

pub(super) fn whole(ask: &Ask) -> Answer {
    let (vendor, model) = vendor(ask.model_name());
    let answer = match vendor {
        "anthropic" => Message::new(&claude(ask, model)).whole(),
        "openai" => bare(openai::chat(&ask.with_model(ask.model_name(), Some(false)))),
        _ if model.contains("embed") => embedding(ask, vendor),
        _ => Prompted::new(ask, vendor, model).whole(),
    };
    let told = answer.usage;
    let answer = if ask.faults.no_usage { answer } else { told.into_iter().fold(answer, with_counts) };
    answer.header("x-amzn-bedrock-invocation-latency", (ask.seed.number("latency") % 3_000).to_string())
}

pub(super) fn stream(ask: &Ask) -> Answer {
    let (vendor, model) = vendor(ask.model_name());
    let (mut events, named): (Vec<(String, Event)>, _) = match vendor {
        "anthropic" => {
            let ask = claude(ask, model);
            let message = Message::new(&ask);
            let events = message.events().into_iter().filter(|(name, ..)| *name != "ping");
            let events = events.map(|(_, data, event)| (data.0, event)).collect();
            (events, Some(message.model().to_owned()))
        }
        "openai" => {
            let answer = openai::chat(&ask.with_model(ask.model_name(), Some(true)));
            (bare_events(&answer), answer.model)
        }
        _ => (Prompted::new(ask, vendor, model).events(), None),
    };
    let usage = events.iter().rev().find_map(|(_, event)| event.usage);
    if let (Some((last, event)), Some(usage), false) = (events.last_mut(), usage, ask.faults.no_usage) {
        let metrics = metrics(ask, usage);
        let begun = last.strip_suffix('}').expect("events are objects");
        *last = format!("{begun},\"amazon-bedrock-invocationMetrics\":{}}}", metrics.0);
        event.usage = Some(usage);
    }
    let events = events.into_iter().enumerate().map(|(at, (json, event))| {
        let bytes = frames::chunk(&json, ask.seed.derive(&at.to_string())).bytes;
        Event { bytes, ..event }
    });
    let mut answer = Answer::stream(frames::TYPE, events.collect()).header("x-amzn-bedrock-content-type", JSON);
    answer.model = named;
    answer.error_event = frames::exception(
        "modelStreamErrorException",
        obj! { "message" => "The model failed.", "originalMessage" => "none", "originalStatusCode" => 500 },
    );
    answer
}

/// Claude is asked under the name that it has at home.
fn claude(ask: &Ask, model: &str) -> Ask {
    ask.with_model(model.split("-v").next().unwrap_or(model), None)
}

/// What OpenAI's own headers say is not said here.
fn bare(answer: Answer) -> Answer {
    Answer { headers: vec![("content-type", JSON.to_owned())], ..answer }
}

fn bare_events(answer: &Answer) -> Vec<(String, Event)> {
    let Content::Events(events) = &answer.content else { return Vec::new() };
    events
        .iter()
        .filter_map(|event| {
            let text = std::str::from_utf8(&event.bytes).ok()?;
            let data = text.strip_prefix("data: ")?.trim_end();
            (data != "[DONE]").then(|| (data.to_owned(), event.clone()))
        })
        .collect()
}

/// The counts in headers, where some models' only ones are.
fn with_counts(answer: Answer, usage: Usage) -> Answer {
    let uncached = usage.input - usage.cache_read - usage.cache_write;
    answer
        .header("x-amzn-bedrock-input-token-count", uncached.to_string())
        .header("x-amzn-bedrock-output-token-count", usage.output.to_string())
        .header("x-amzn-bedrock-cache-read-input-token-count", usage.cache_read.to_string())
        .header("x-amzn-bedrock-cache-write-input-token-count", usage.cache_write.to_string())
}

fn metrics(ask: &Ask, usage: Usage) -> Raw {
    obj! {
        "inputTokenCount" => usage.input - usage.cache_read - usage.cache_write,
        "outputTokenCount" => usage.output,
        "invocationLatency" => ask.seed.number("latency") % 3_000,
        "firstByteLatency" => ask.seed.number("first") % 300,
        "cacheReadInputTokenCount" => usage.cache_read,
        "cacheWriteInputTokenCount" => usage.cache_write,
    }
}

fn embedding(ask: &Ask, vendor: &str) -> Answer {
    let vector: Vec<f64> = vector(ask.seed, 0, 256).into_iter().map(f64::from).collect();
    let usage = Usage { input: plain(ask, 0).input, ..Usage::default() };
    let body = if vendor == "cohere" {
        obj! { "id" => ask.seed.hex("embed", 32), "embeddings" => [vector], "response_type" => "embeddings_floats" }
    } else {
        obj! { "embedding" => vector, "inputTextTokenCount" => usage.input }
    };
    Answer::new(StatusCode::OK, JSON, body.0).usage(usage)
}

/// Counts of a model that neither caches nor reasons.
fn plain(ask: &Ask, words: usize) -> Usage {
    let usage = ask.seed.usage(ask.body_length, words);
    Usage { input: usage.input, output: usage.output - usage.reasoning, ..Usage::default() }
}

/// The models that are given a prompt, and Nova, which is given messages.
struct Prompted<'a> {
    ask: &'a Ask,
    kind: Kind,
    pieces: Vec<String>,
    usage: Usage,
}

#[derive(Clone, Copy)]
enum Kind {
    Llama,
    Nova,
    Titan,
    Mistral,
    Cohere,
}

impl<'a> Prompted<'a> {
    fn new(ask: &'a Ask, vendor: &str, model: &str) -> Self {
        let kind = match vendor {
            "amazon" if model.starts_with("titan") => Kind::Titan,
            "amazon" => Kind::Nova,
            "mistral" => Kind::Mistral,
            "cohere" => Kind::Cohere,
            _ => Kind::Llama,
        };
        let json = ask.json();
        let prompt = ["prompt", "inputText", "message"].iter().find_map(|key| json[*key].as_str());
        let prompt = prompt.map_or_else(|| text_of(&json["messages"][0]["content"]), ToOwned::to_owned);
        let Reply::Text(pieces) = (Turn { prompt, ..Turn::default() }).reply(ask) else {
            unreachable!("there are no tools to call");
        };
        let usage = match kind {
            Kind::Nova => Usage { reasoning: 0, ..ask.seed.usage(ask.body_length, pieces.len()) },
            _ => plain(ask, pieces.len()),
        };
        Self { ask, kind, pieces, usage }
    }

    fn whole(&self) -> Answer {
        let text = self.pieces.concat();
        let counted = !self.ask.faults.no_usage;
        let mut body = Object::new();
        match self.kind {
            Kind::Llama => {
                body.field("generation", &text);
                if counted {
                    self.llama_counts(&mut body);
                }
                body.field("stop_reason", "stop");
            }
            Kind::Nova => {
                let message = obj! { "content" => [obj! { "text" => text }], "role" => "assistant" };
                body.field("output", &obj! { "message" => message }).field("stopReason", "end_turn");
                if counted {
                    body.field("usage", &usage_object(self.usage, true));
                }
            }
            Kind::Titan => {
                let result =
                    obj! { "tokenCount" => self.usage.output, "outputText" => text, "completionReason" => "FINISH" };
                body.field("inputTextTokenCount", &self.usage.input).field("results", &[result]);
            }
            Kind::Mistral => {
                body.field("outputs", &[obj! { "text" => text, "stop_reason" => "stop" }]);
            }
            Kind::Cohere => {
                body.field("response_id", &self.ask.seed.hex("response", 32))
                    .field("text", &text)
                    .field("finish_reason", "COMPLETE");
            }
        }
        let answer = Answer::new(StatusCode::OK, JSON, body.end().0);
        if counted { answer.usage(self.usage) } else { answer }
    }

    fn llama_counts(&self, body: &mut Object) {
        body.field("prompt_token_count", &self.usage.input).field("generation_token_count", &self.usage.output);
    }

    /// The events of a stream; the last is without a piece.
    fn events(&self) -> Vec<(String, Event)> {
        let mut events: Vec<(String, Event)> = Vec::new();
        if let Kind::Nova = self.kind {
            events.push((obj! { "messageStart" => obj! { "role" => "assistant" } }.0, Event::new("")));
        }
        for (at, piece) in self.pieces.iter().enumerate() {
            events.push((self.delta(at, piece).0, Event::new("").says(piece.len())));
        }
        if let Kind::Nova = self.kind {
            events.push((obj! { "contentBlockStop" => obj! { "contentBlockIndex" => 0 } }.0, Event::new("")));
            events.push((obj! { "messageStop" => obj! { "stopReason" => "end_turn" } }.0, Event::new("")));
        }
        let last = Event::new("");
        let last = if self.ask.faults.no_usage { last } else { last.tells(self.usage) };
        events.push((self.end().0, last));
        events
    }

    fn delta(&self, at: usize, piece: &str) -> Raw {
        match self.kind {
            Kind::Llama => {
                let prompt = (at == 0 && !self.ask.faults.no_usage).then_some(self.usage.input);
                // Cumulative, and short of the whole until the end.
                let written = (at as u64 + 1).min(self.usage.output);
                obj! {
                    "generation" => piece, "prompt_token_count" => prompt, "generation_token_count" => written,
                    "stop_reason" => Null,
                }
            }
            Kind::Nova => {
                let delta = obj! { "delta" => obj! { "text" => piece }, "contentBlockIndex" => 0 };
                obj! { "contentBlockDelta" => delta }
            }
            Kind::Titan => obj! {
                "outputText" => piece, "index" => 0, "totalOutputTextTokenCount" => Null, "completionReason" => Null,
                "inputTextTokenCount" => (at == 0).then_some(self.usage.input),
            },
            Kind::Mistral => obj! { "outputs" => [obj! { "text" => piece, "stop_reason" => Null }] },
            Kind::Cohere => obj! { "is_finished" => false, "event_type" => "text-generation", "text" => piece },
        }
    }

    fn end(&self) -> Raw {
        let counted = !self.ask.faults.no_usage;
        match self.kind {
            Kind::Llama => obj! {
                "generation" => "", "prompt_token_count" => Null,
                "generation_token_count" => counted.then_some(self.usage.output), "stop_reason" => "stop",
            },
            Kind::Nova if counted => {
                let usage = usage_object(self.usage, true);
                obj! { "metadata" => obj! { "usage" => usage, "metrics" => obj! {}, "trace" => obj! {} } }
            }
            Kind::Nova => obj! { "metadata" => obj! { "metrics" => obj! {}, "trace" => obj! {} } },
            Kind::Titan => obj! {
                "outputText" => "", "index" => 0, "totalOutputTextTokenCount" => counted.then_some(self.usage.output),
                "completionReason" => "FINISH", "inputTextTokenCount" => Null,
            },
            Kind::Mistral => obj! { "outputs" => [obj! { "text" => "", "stop_reason" => "stop" }] },
            Kind::Cohere => obj! {
                "is_finished" => true, "event_type" => "stream-end", "finish_reason" => "COMPLETE",
                "response" => obj! { "text" => self.pieces.concat(), "finish_reason" => "COMPLETE" },
            },
        }
    }
}
