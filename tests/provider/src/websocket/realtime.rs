//! OpenAI's Realtime API, as it is since it became generally available. platform.openai.com/docs/api-reference/realtime-server-events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Line, Plan, Session, Wrote};
use crate::dialect::Ask;
use crate::json::{EMPTY, Null, Object, Put, Raw, obj};
use crate::reply::{Reply, Turn};
use crate::seed::{Random, Seed};
use crate::truth::{Exchange, Said, Usage};

/// What a session is set to.
pub(super) struct State {
    seed: Seed,
    model: String,
    transcription: Option<String>,
    /// The newest text of the user.
    prompt: String,
    /// Of audio, since it was last committed.
    heard: usize,
    events: u64,
}

impl State {
    pub(super) fn new(base: &Exchange) -> Self {
        Self {
            seed: Seed::of(&[base.path.as_bytes()]),
            model: model(&base.path),
            transcription: None,
            prompt: String::new(),
            heard: 0,
            events: 0,
        }
    }

    /// An event: its type, its id, and the rest.
    fn event(&mut self, kind: &str, fields: &[(&str, &dyn Put)]) -> Raw {
        self.events += 1;
        let mut event = Object::new();
        event.field("type", kind).field("event_id", &self.seed.id(&format!("event_{}_", self.events), 12));
        for (name, value) in fields {
            event.field(name, *value);
        }
        event.end()
    }

    pub(super) fn created(&mut self) -> Raw {
        let session = self.session();
        self.event("session.created", &[("session", &session)])
    }

    fn session(&self) -> Raw {
        let transcription = self.transcription.as_ref().map(|model| obj! { "model" => model });
        let format = obj! { "type" => "audio/pcm", "rate" => 24_000 };
        let input = obj! { "format" => format, "transcription" => transcription, "noise_reduction" => Null };
        let output = obj! { "format" => format, "voice" => "marin", "speed" => 1 };
        obj! {
            "type" => "realtime", "object" => "realtime.session", "id" => self.seed.id("sess_", 21), "model" => dated(self.name()),
            "output_modalities" => ["audio".to_owned()], "instructions" => "", "tools" => EMPTY, "tool_choice" => "auto",
            "max_output_tokens" => "inf", "audio" => obj! { "input" => input, "output" => output },
        }
    }

    fn name(&self) -> &str {
        self.model.split_once('+').map_or(&self.model, |(name, _)| name)
    }
}

/// The model that a session's path names.
pub(super) fn model(path: &str) -> String {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model=")).unwrap_or("gpt-realtime");
    model.replace("%2B", "+").replace("%3D", "=")
}

fn dated(model: &str) -> &str {
    match model {
        "gpt-realtime" => "gpt-realtime-2025-08-28",
        "gpt-realtime-mini" => "gpt-realtime-mini-2025-10-06",
        other => other,
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    pub(super) async fn realtime(&mut self, state: &mut State, message: &Value) -> Wrote {
        match message["type"].as_str().unwrap_or_default() {
            "session.update" => {
                if let Some(model) = message["session"]["audio"]["input"]["transcription"]["model"].as_str() {
                    state.transcription = Some(model.to_owned());
                }
                let session = state.session();
                let event = state.event("session.updated", &[("session", &session)]);
                self.say(&[event]).await
            }
            "conversation.item.create" => self.item(state, &message["item"]).await,
            "input_audio_buffer.append" => {
                state.heard += message["audio"].as_str().map_or(0, |audio| audio.len() / 4 * 3);
                Wrote::All
            }
            "input_audio_buffer.commit" => self.commit(state).await,
            "response.create" => self.respond(state, message).await,
            "response.cancel" => {
                self.refuse(message, "response_cancel_not_active", "Cancellation failed: no active response found")
                    .await
            }
            _ => self.refuse(message, "invalid_value", "this type of message is not known here").await,
        }
    }

    async fn item(&mut self, state: &mut State, item: &Value) -> Wrote {
        if let Some(text) =
            item["content"].as_array().and_then(|parts| parts.iter().find_map(|part| part["text"].as_str()))
        {
            text.clone_into(&mut state.prompt);
        }
        let events = ["conversation.item.added", "conversation.item.done"]
            .map(|kind| state.event(kind, &[("previous_item_id", &Null), ("item", item)]));
        self.say(&events).await
    }

    async fn commit(&mut self, state: &mut State) -> Wrote {
        let seed = self.seed(&Value::from(state.heard));
        let id = seed.id("item_", 21);
        state.prompt = format!("{} bytes of sound", state.heard);
        let committed = state.event("input_audio_buffer.committed", &[("previous_item_id", &Null), ("item_id", &id)]);
        if let Wrote::Over = self.say(&[committed]).await {
            return Wrote::Over;
        }
        let heard = std::mem::take(&mut state.heard);
        let Some(model) = state.transcription.clone() else { return Wrote::All };
        let (usage, events) = transcription(state, seed, &model, &id, heard);
        let mut exchange = self.exchange(&model, &model, usage);
        "transcription".clone_into(&mut exchange.method);
        // Nothing says which model it was.
        exchange.response_model = None;
        let faults = self.faults.clone();
        self.play(Plan { exchange, faults, events, failed: String::new(), cancelled: None }).await
    }

    async fn respond(&mut self, state: &mut State, message: &Value) -> Wrote {
        let request = &message["response"];
        let seed = self.seed(message);
        let body = message.to_string();
        let path = format!("/v1/realtime/{}", state.prompt.len());
        let ask = Ask::new(self.dialect(), &Method::POST, &path, body.as_bytes(), seed, false);
        let ask = Ask { model: Some(state.model.clone()), ..ask };
        let Ok(ask) = ask.with_faults(self.faults.clone()) else {
            return self.refuse(message, "invalid_value", "this fault is not known here").await;
        };
        if let Some(status) = ask.faults.status {
            let code = if status == StatusCode::TOO_MANY_REQUESTS { "rate_limit_exceeded" } else { "server_error" };
            return self.refuse(message, code, "a fault was asked for").await;
        }
        let reply = Turn { prompt: state.prompt.clone(), ..Turn::default() }.reply(&ask);
        let Reply::Text(words) = reply else { return Wrote::All };
        let modality = request["output_modalities"][0].as_str().unwrap_or("audio");
        let usage = Usage { cache_write: 0, reasoning: 0, ..seed.usage(state.prompt.len(), words.len()) };
        let response = Response { seed, modality: modality.to_owned(), words, usage, no_usage: ask.faults.no_usage };
        let exchange = self.exchange(&state.model, dated(state.name()), usage);
        let events = response.events(state);
        let failure = obj! { "type" => "server_error", "code" => "server_error" };
        let failed = response.object("failed", &[], None, Some(&failure));
        let failed = state.event("response.done", &[("response", &failed)]).0;
        let part = Usage { output: usage.output / 2, ..usage };
        let cancelled = response.object("cancelled", &[], Some(part), None);
        let cancelled = state.event("response.done", &[("response", &cancelled)]).0;
        let cancelled = Some(Line { text: cancelled, usage: Some(part), said: Said::default() });
        self.play(Plan { exchange, faults: ask.faults, events, failed, cancelled }).await
    }
}

/// The events of a transcription, and what it used.
fn transcription(state: &mut State, seed: Seed, model: &str, item: &str, heard: usize) -> (Usage, Vec<Line>) {
    let kind = "conversation.item.input_audio_transcription";
    let place: [(&str, &dyn Put); 2] = [("item_id", &item), ("content_index", &0)];
    let deltas = ["Hello".to_owned(), ", world".to_owned()];
    let delta = |delta: &String| state.event(&format!("{kind}.delta"), &[&place[..], &[("delta", delta)]].concat());
    let mut lines: Vec<_> = deltas.iter().map(delta).map(quiet).collect();
    let used = seed.usage(0, 0);
    let usage = Usage { input: 10 + heard as u64 / 4800, output: used.output % 50 + 3, ..Usage::default() };
    // Older models bill the length of what was said.
    let (object, told) = if model == "whisper-1" {
        (obj! { "type" => "duration", "seconds" => heard.div_ceil(48_000) as u64 }, None)
    } else {
        let details = obj! { "text_tokens" => 10, "audio_tokens" => usage.input - 10 };
        let object = obj! {
            "type" => "tokens", "total_tokens" => usage.input + usage.output, "input_tokens" => usage.input,
            "input_token_details" => details, "output_tokens" => usage.output,
        };
        (object, Some(usage))
    };
    let transcript = deltas.concat();
    let fields: [(&str, &dyn Put); 2] = [("transcript", &transcript), ("usage", &object)];
    let done = state.event(&format!("{kind}.completed"), &[&place[..], &fields[..]].concat());
    lines.push(Line { text: done.0, usage: told, said: Said::default() });
    (usage, lines)
}

struct Response {
    seed: Seed,
    modality: String,
    words: Vec<String>,
    usage: Usage,
    no_usage: bool,
}

impl Response {
    fn id(&self) -> String {
        self.seed.id("resp_", 21)
    }

    fn item(&self, status: &str, content: &[Raw]) -> Raw {
        obj! {
            "id" => self.seed.id("item_", 21), "object" => "realtime.item", "type" => "message", "status" => status,
            "role" => "assistant", "content" => content,
        }
    }

    fn part(&self, text: &str) -> Raw {
        if self.modality == "text" {
            obj! { "type" => "output_text", "text" => text }
        } else {
            obj! { "type" => "output_audio", "transcript" => text }
        }
    }

    fn object(&self, status: &str, output: &[Raw], usage: Option<Usage>, failure: Option<&Raw>) -> Raw {
        let details = match status {
            "failed" => Some(obj! { "type" => "failed", "error" => failure }),
            "cancelled" => Some(obj! { "type" => "cancelled", "reason" => "client_cancelled" }),
            _ => None,
        };
        obj! {
            "object" => "realtime.response", "id" => self.id(), "status" => status, "status_details" => details,
            "output" => output, "conversation_id" => self.seed.id("conv_", 21),
            "output_modalities" => std::slice::from_ref(&self.modality), "max_output_tokens" => "inf",
            "audio" => obj! { "output" => obj! { "format" => obj! { "type" => "audio/pcm", "rate" => 24_000 }, "voice" => "marin" } },
            "usage" => usage.filter(|_| !self.no_usage).map(|usage| self.usage(usage)), "metadata" => Null,
        }
    }

    /// Text and sound on both sides, and in the cache; no number is another's.
    fn usage(&self, usage: Usage) -> Raw {
        let heard = usage.input / 3;
        let spoken = if self.modality == "text" { 0 } else { usage.output - usage.output / 4 };
        let cached_sound = usage.cache_read / 5;
        let cached = obj! { "text_tokens" => usage.cache_read - cached_sound, "audio_tokens" => cached_sound, "image_tokens" => 0 };
        let input = obj! {
            "text_tokens" => usage.input - heard, "audio_tokens" => heard, "image_tokens" => 0,
            "cached_tokens" => usage.cache_read, "cached_tokens_details" => cached,
        };
        obj! {
            "total_tokens" => usage.input + usage.output, "input_tokens" => usage.input, "output_tokens" => usage.output,
            "input_token_details" => input,
            "output_token_details" => obj! { "text_tokens" => usage.output - spoken, "audio_tokens" => spoken },
        }
    }

    fn events(&self, state: &mut State) -> Vec<Line> {
        let begun = self.object("in_progress", &[], None, None);
        let (response, item) = (self.id(), self.seed.id("item_", 21));
        let (empty, text) = (self.item("in_progress", &[]), self.words.concat());
        let place: [(&str, &dyn Put); 4] =
            [("response_id", &response), ("item_id", &item), ("output_index", &0), ("content_index", &0)];
        let mut lines = vec![
            quiet(state.event("response.created", &[("response", &begun)])),
            quiet(state.event(
                "response.output_item.added",
                &[("response_id", &response), ("output_index", &0), ("item", &empty)],
            )),
            quiet(state.event("conversation.item.added", &[("previous_item_id", &Null), ("item", &empty)])),
            quiet(state.event("response.content_part.added", &[&place[..], &[("part", &self.part(""))]].concat())),
        ];
        let with = |name: &'static str, value: &dyn Put, state: &mut State, kind: &str| {
            state.event(kind, &[&place[..], &[(name, value)]].concat())
        };
        let mut random = Random::new(self.seed.number("sound"));
        for word in &self.words {
            let said = Said { tokens: 1, bytes: word.len() as u64 };
            if self.modality == "text" {
                let event = with("delta", word, state, "response.output_text.delta");
                lines.push(Line { said, ..quiet(event) });
                continue;
            }
            let mut sound = vec![0; 2400];
            random.fill(&mut sound);
            let event = with("delta", word, state, "response.output_audio_transcript.delta");
            lines.push(Line { said, ..quiet(event) });
            lines.push(quiet(with("delta", &STANDARD.encode(sound), state, "response.output_audio.delta")));
        }
        if self.modality == "text" {
            lines.push(quiet(with("text", &text, state, "response.output_text.done")));
        } else {
            lines.push(quiet(state.event("response.output_audio.done", &place)));
            lines.push(quiet(with("transcript", &text, state, "response.output_audio_transcript.done")));
        }
        let part = self.part(&text);
        lines.push(quiet(with("part", &part, state, "response.content_part.done")));
        let whole = self.item("completed", &[part]);
        lines.push(quiet(state.event("conversation.item.done", &[("previous_item_id", &Null), ("item", &whole)])));
        lines.push(quiet(state.event(
            "response.output_item.done",
            &[("response_id", &response), ("output_index", &0), ("item", &whole)],
        )));
        let done = self.object("completed", &[whole], Some(self.usage), None);
        let done = state.event("response.done", &[("response", &done)]);
        lines.push(Line { usage: (!self.no_usage).then_some(self.usage), ..quiet(done) });
        lines
    }
}

fn quiet(event: Raw) -> Line {
    Line { text: event.0, usage: None, said: Said::default() }
}
