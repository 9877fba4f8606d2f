//! `generateContent` and `streamGenerateContent`, the latter as server-sent events or as one JSON array.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{modality, ok};
use crate::answer::{Answer, Event};
use crate::dialect::{Ask, text_of};
use crate::json::{Object, Raw, obj};
use crate::reply::{Call, Choice, Reply, Turn};
use crate::truth::Usage;

const THOUGHTS: [&str; 2] = ["**Weighing** the question: ", "naïve 漢字 🚦."];

pub(crate) fn whole(ask: &Ask) -> Answer {
    let generation = Generation::new(ask);
    let parts: Vec<Raw> = generation.parts().into_iter().flatten().collect();
    let parts = if let Reply::Text(pieces) = &generation.reply {
        let thoughts = parts.len() - pieces.len();
        [&parts[..thoughts], &[obj! { "text" => pieces.concat() }]].concat()
    } else {
        parts
    };
    let answer = ok(&generation.chunk(&parts, true, generation.usage)).model(ask.model_name());
    if ask.faults.no_usage { answer } else { answer.usage(generation.usage) }
}

pub(crate) fn stream(ask: &Ask) -> Answer {
    let generation = Generation::new(ask);
    let as_events = ask.query.split('&').any(|pair| pair == "alt=sse");
    let chunks = generation.parts();
    let last = chunks.len() - 1;
    let visible = generation.usage.output - generation.usage.reasoning;
    let mut events: Vec<Event> = chunks
        .iter()
        .enumerate()
        .map(|(index, parts)| {
            // Cumulative, as the API counts: what was thought counts from the start, what is said as it is said.
            let said = if index == last { visible } else { visible * (index as u64 + 1) / (last as u64 + 2) };
            let usage = Usage { output: said + generation.usage.reasoning, ..generation.usage };
            let chunk = generation.chunk(parts, index == last, usage);
            let bytes = match (as_events, index) {
                (true, _) => format!("data: {}\r\n\r\n", chunk.0),
                (false, 0) => format!("[{}", chunk.pretty()),
                (false, _) => format!(",\r\n{}", chunk.pretty()),
            };
            let mut event = Event::new(bytes);
            event.usage = (!ask.faults.no_usage).then_some(usage);
            generation.said(index).into_iter().fold(event, Event::says)
        })
        .collect();
    let error = obj! {
        "error" => obj! { "code" => 503, "message" => "The model is overloaded.", "status" => "UNAVAILABLE" },
    };
    let (kind, error_event) = if as_events {
        ("text/event-stream", format!("data: {}\r\n\r\n", error.0))
    } else {
        events.push(Event::new(&b"]\n"[..]));
        (super::JSON, format!(",\r\n{}\n]\n", error.pretty()))
    };
    let mut answer = Answer::stream(kind, events).model(ask.model_name()).header("content-disposition", "attachment");
    answer.error_event = error_event.into();
    answer
}

fn turn(request: &Value) -> Turn {
    let contents = request["contents"].as_array().map_or(&[][..], Vec::as_slice);
    let is_user = |content: &&Value| content["role"] == "user" || content["role"].is_null();
    let has_result = |content: &Value| {
        content["parts"].as_array().is_some_and(|parts| parts.iter().any(|part| part["functionResponse"].is_object()))
    };
    let declarations = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool.get("functionDeclarations").or_else(|| tool.get("function_declarations"))?.as_array())
        .flatten();
    let calling = &request["toolConfig"]["functionCallingConfig"];
    let config = &request["generationConfig"];
    let json = config["responseMimeType"] == "application/json";
    Turn {
        prompt: contents.iter().rev().find(is_user).map(|content| text_of(&content["parts"])).unwrap_or_default(),
        tools: declarations
            .filter_map(|declaration| {
                let schema = declaration.get("parameters").or_else(|| declaration.get("parametersJsonSchema"));
                Some((declaration["name"].as_str()?.to_owned(), schema.cloned().unwrap_or_default()))
            })
            .collect(),
        has_tool_result: contents.last().is_some_and(has_result),
        choice: match (calling["mode"].as_str(), calling["allowedFunctionNames"][0].as_str()) {
            (Some("NONE"), _) => Choice::None,
            (_, Some(name)) => Choice::Only(name.to_owned()),
            _ => Choice::Any,
        },
        schema: json
            .then(|| config.get("responseSchema").or_else(|| config.get("responseJsonSchema")).cloned())
            .flatten(),
        single_call: false,
    }
}

struct Generation<'a> {
    ask: &'a Ask,
    reply: Reply,
    usage: Usage,
    /// Whether the thoughts' text is asked for; they are counted anyway.
    shows_thoughts: bool,
}

impl<'a> Generation<'a> {
    fn new(ask: &'a Ask) -> Self {
        let reply = turn(ask.json()).reply(ask);
        // This API does not report cache writes; its caches are made by a call of their own.
        let mut usage = ask.seed.usage(ask.body_length, reply.words());
        usage.cache_write = 0;
        // The Python SDK writes it in snake case, and the API takes both.
        let thinking = &ask.json()["generationConfig"]["thinkingConfig"];
        let shows_thoughts = thinking["includeThoughts"] == true || thinking["include_thoughts"] == true;
        Self { ask, reply, usage, shows_thoughts }
    }

    /// The parts of each chunk of a stream.
    fn parts(&self) -> Vec<Vec<Raw>> {
        let mut chunks = Vec::new();
        if self.shows_thoughts {
            for text in THOUGHTS {
                chunks.push(vec![obj! { "text" => text, "thought" => true }]);
            }
        }
        match &self.reply {
            Reply::Text(pieces) => chunks.extend(pieces.iter().map(|piece| vec![obj! { "text" => piece }])),
            Reply::Calls(calls) => {
                let parts = calls.iter().enumerate().map(|(index, call)| {
                    let function = obj! { "name" => call.name, "args" => Raw(call.arguments.clone()) };
                    // Only the first of parallel calls is signed.
                    let mut part = Object::new();
                    part.field("functionCall", &function);
                    if index == 0 {
                        part.field("thoughtSignature", &STANDARD.encode(self.ask.seed.derive("thought").0.repeat(3)));
                    }
                    part.end()
                });
                chunks.push(parts.collect());
            }
        }
        chunks
    }

    /// The lengths of the pieces that the chunk at `index` holds.
    fn said(&self, index: usize) -> Vec<usize> {
        let thoughts = if self.shows_thoughts { THOUGHTS.len() } else { 0 };
        match (&self.reply, index.checked_sub(thoughts)) {
            (_, None) => Vec::new(),
            (Reply::Text(pieces), Some(index)) => pieces.get(index).map(String::len).into_iter().collect(),
            (Reply::Calls(calls), Some(_)) => calls.iter().flat_map(Call::pieces).map(|piece| piece.len()).collect(),
        }
    }

    fn chunk(&self, parts: &[Raw], last: bool, usage: Usage) -> Raw {
        let mut candidate = Object::new();
        candidate.field("content", &obj! { "parts" => parts, "role" => "model" });
        if last {
            candidate.field("finishReason", "STOP");
        }
        candidate.field("index", &0);
        let mut chunk = Object::new();
        chunk.field("candidates", &[candidate.end()]);
        if !self.ask.faults.no_usage {
            chunk.field("usageMetadata", &usage_metadata(usage));
        }
        chunk.field("modelVersion", self.ask.model_name()).field("responseId", &self.ask.seed.id("", 22));
        chunk.end()
    }
}

/// `candidatesTokenCount` leaves out thoughts; `promptTokenCount` includes what came from the cache.
fn usage_metadata(usage: Usage) -> Raw {
    obj! {
        "promptTokenCount" => usage.input,
        "candidatesTokenCount" => usage.output - usage.reasoning,
        "totalTokenCount" => usage.input + usage.output,
        "cachedContentTokenCount" => usage.cache_read,
        "promptTokensDetails" => [modality(usage.input)],
        "cacheTokensDetails" => [modality(usage.cache_read)],
        "thoughtsTokenCount" => usage.reasoning,
    }
}
