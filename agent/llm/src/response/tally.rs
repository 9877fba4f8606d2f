//! Gathers what the events or documents of one answer say.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{
    bill::Bill,
    fields::{Counter, Field, Side},
    total::{Counts, total},
};
use crate::{
    call::{self, Api},
    failure::ErrorKind,
    json::{Value, Visit},
    usage::{ServiceTier, Usage},
};

/// What is known of an answer so far.
pub(super) struct Tally {
    pub(super) api: Api,
    counts: Counts,
    tier: ServiceTier,
    pub(super) model: Option<Arc<str>>,
    pub(super) error: Option<ErrorKind>,
    /// The provider has said that generation ended.
    is_finished: bool,
    /// The latest counts are from an event that broke off, so some of them may be missing.
    is_broken: bool,
    /// The bytes are not what their framing says, and what comes after is not read.
    pub(super) is_corrupt: bool,
    /// What somebody else than the model counted.
    fallback: Option<Box<Counts>>,
    /// What the provider says it charged. Few say it.
    bill: Option<Box<Bill>>,
    /// How many documents were complete.
    pub(super) documents: u64,
    item: Item,
}

/// What the event or document being read says. It counts when it is complete, because its type may come last.
#[derive(Default)]
struct Item {
    kind: Kind,
    counts: Counts,
    shares: Counts,
    tier: Option<ServiceTier>,
    model: Option<Arc<str>>,
    is_finish: bool,
    has_error: bool,
    error: Option<ErrorKind>,
    modality: Modality,
    modality_count: u64,
    lives_an_hour: bool,
    ttl_count: u64,
    /// A tier by speed, which stands above the other.
    speed: Option<ServiceTier>,
    tool: Tool,
    action: Action,
}

impl Item {
    /// Makes it as new without touching numbers that were not said, which are nearly all.
    fn clear(&mut self) {
        self.counts.clear();
        self.shares.clear();
        self.kind = Kind::default();
        self.tier = None;
        self.model = None;
        self.is_finish = false;
        self.has_error = false;
        self.error = None;
        self.modality = Modality::default();
        self.modality_count = 0;
        self.lives_an_hour = false;
        self.ttl_count = 0;
        self.speed = None;
        self.tool = Tool::default();
        self.action = Action::default();
    }
}

/// Tools of a provider that are billed by the call.
#[derive(Default, Clone, Copy)]
enum Tool {
    #[default]
    None,
    Search,
    Other,
}

/// The types of events that matter.
#[derive(Default, PartialEq)]
enum Kind {
    #[default]
    Unsaid,
    /// The end of a response or message, with its final numbers where those are in the same event.
    Terminal,
    /// The whole answer, not streamed.
    Whole,
    Error,
    Other,
}

#[derive(Default, Clone, Copy)]
enum Modality {
    #[default]
    Other,
    Audio,
    Image,
}

/// What a tool did, if it says. Opening a page that was found is in the price of finding it.
#[derive(Default, Clone, Copy)]
enum Action {
    #[default]
    Billed,
    Free,
}

impl Tally {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            counts: Counts::default(),
            tier: ServiceTier::default(),
            model: None,
            error: None,
            is_finished: false,
            is_broken: false,
            is_corrupt: false,
            fallback: None,
            bill: None,
            documents: 0,
            item: Item::default(),
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        let counts = self.fallback.as_ref().map_or(self.counts, |fallback| self.counts.or(fallback));
        total(self.api, &counts).map(|usage| Usage { tier: self.tier, ..usage })
    }

    /// What the provider says it charged, in US dollars.
    pub(super) fn cost(&self) -> Option<Decimal> {
        self.bill.as_ref()?.total()
    }

    /// Whether it was said how much was read.
    pub(super) fn has_input(&self) -> bool {
        let is_input_only = matches!(self.api, Api::Embeddings | Api::Moderations | Api::Rerank);
        self.knows(Counter::Input) || self.knows(Counter::BilledInput) || is_input_only && self.knows(Counter::Total)
    }

    /// Whether it was said how much was written, so far.
    pub(super) fn has_output(&self) -> bool {
        self.knows(Counter::Output) || self.knows(Counter::BilledOutput)
    }

    fn knows(&self, counter: Counter) -> bool {
        let in_fallback = || self.fallback.as_ref().and_then(|counts| counts.get(counter));
        self.counts.get(counter).or_else(in_fallback).is_some()
    }

    /// Whether the numbers are final, where the framing says that the answer `is_complete` or leaves it open.
    pub(super) fn is_final(&self, is_complete: bool) -> bool {
        // Ollama leaves out what it read when it still had it from before.
        let is_whole = self.api != Api::Ollama || self.has_input();
        (self.is_finished || is_complete) && !self.is_broken && is_whole
    }

    /// The event being read will not be completed. Its counts are true as far as they go, but not final.
    pub(super) fn abandon_item(&mut self) {
        self.item.is_finish = false;
        if self.item.kind == Kind::Terminal {
            self.item.kind = Kind::Whole;
        }
        if self.settle_item() {
            self.is_broken = true;
        }
    }

    /// Adds what the event said to what is known; tells whether that were any numbers.
    fn settle_item(&mut self) -> bool {
        let item = &mut self.item;
        // Tools are told again and again while they are called; what counts stands beside the numbers.
        if self.api == Api::Responses && item.counts.is_empty() {
            item.shares.clear();
        }
        // Where an answer took several rounds, its own numbers leave out some of them; the rounds' sum does not.
        item.counts.update(&item.shares);
        let has_counts = !item.counts.is_empty();
        // Responses repeat themselves in every stage, and only the last stage counts.
        let is_stage = self.api == Api::Responses && item.kind == Kind::Other;
        if has_counts && !is_stage {
            self.is_broken = false;
            self.counts.update(&item.counts);
            self.tier = item.speed.or(item.tier).unwrap_or(self.tier);
        }
        self.model = self.model.take().or(item.model.take());
        // The last stage of a response may come without numbers; then no others become final by it.
        self.is_finished |= item.is_finish || item.kind == Kind::Terminal && (has_counts || self.api != Api::Responses);
        if item.has_error || item.kind == Kind::Error {
            self.error = self.error.or(item.error).or(Some(ErrorKind::Other));
        }
        item.clear();
        has_counts
    }

    /// What Bedrock's headers say of an answer, which it sends when all of it was generated.
    pub(super) fn told(&mut self, counter: Counter, count: u64) {
        self.fallback.get_or_insert_default().set(counter, count);
    }

    pub(super) fn billed_at(&mut self, tier: ServiceTier) {
        self.tier = tier;
    }

    /// The answer broke off with this exception of AWS's.
    pub(super) fn fail(&mut self, exception: &str) {
        self.error = self.error.or(ErrorKind::of_exception(exception)).or(Some(ErrorKind::Other));
    }

    fn end_cache_write(&mut self) {
        let counter = if self.item.lives_an_hour { Counter::CacheWrite1h } else { Counter::CacheWrite5m };
        self.item.shares.add(counter, self.item.ttl_count);
        self.item.lives_an_hour = false;
        self.item.ttl_count = 0;
    }

    fn end_tool(&mut self) {
        match (std::mem::take(&mut self.item.tool), std::mem::take(&mut self.item.action)) {
            (Tool::Search, Action::Billed) => self.item.shares.add(Counter::SearchCalls, 1),
            (Tool::Other, _) => self.item.shares.add(Counter::ToolCalls, 1),
            (Tool::Search, Action::Free) | (Tool::None, _) => {}
        }
    }

    fn count(&mut self, counter: Counter, value: Value<'_>) {
        if let Value::Number(n) = value {
            self.item.counts.set(counter, n);
        }
    }

    fn error_name(&mut self, value: Value<'_>) {
        let kind = match value {
            Value::Text(word) => ErrorKind::named(word),
            Value::Number(n) => {
                u16::try_from(n).ok().and_then(|n| http::StatusCode::from_u16(n).ok()).and_then(ErrorKind::from_status)
            }
            _ => return,
        };
        // Of type, code and status, the one that says most.
        if let Some(kind) = kind
            && self.item.error.is_none_or(|known| kind.rank() > known.rank())
        {
            self.item.error = Some(kind);
        }
    }

    fn kind(&self, word: &str) -> Kind {
        match (self.api, word) {
            (
                Api::Responses,
                "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled",
            )
            | (Api::Messages | Api::BedrockInvokeStream, "message_stop")
            | (Api::CohereChat, "message-end" | "stream-end")
            | (Api::Transcription, "transcript.text.done")
            | (Api::Speech, "speech.audio.done")
            | (Api::Images, "image_generation.completed" | "image_edit.completed")
            | (Api::Conversations, "conversation.response.done") => Kind::Terminal,
            (Api::Messages | Api::BedrockInvoke, "message") => Kind::Whole,
            (_, "error") | (Api::Conversations, "conversation.response.error") => Kind::Error,
            _ => Kind::Other,
        }
    }

    fn end_modality(&mut self, side: Side) {
        let counter = match (side, self.item.modality) {
            (Side::Input, Modality::Audio) => Some(Counter::InputAudio),
            (Side::Cache, Modality::Audio) => Some(Counter::CacheReadAudio),
            (Side::Output, Modality::Audio) => Some(Counter::OutputAudio),
            (Side::Input, Modality::Image) => Some(Counter::InputImage),
            (Side::Output, Modality::Image) => Some(Counter::OutputImage),
            _ => None,
        };
        if let Some(counter) = counter {
            self.item.counts.set(counter, self.item.modality_count);
        }
        self.item.modality = Modality::Other;
        self.item.modality_count = 0;
    }
}

impl Visit<Field> for Tally {
    fn field(&mut self, field: Field, value: Value<'_>) {
        match (field, value) {
            (Field::Type, Value::Text(word)) => self.item.kind = self.kind(word),
            (Field::Model, Value::Text(name)) if self.model.is_none() && self.item.model.is_none() => {
                self.item.model = call::model(name);
            }
            (Field::Tier, Value::Text(word)) => self.item.tier = Some(ServiceTier::named(word)),
            // Some servers say "" while there is no reason yet.
            (Field::Finish, Value::Text(reason)) => self.item.is_finish |= !reason.is_empty(),
            (Field::Finish, Value::Bool(is_done)) => self.item.is_finish |= is_done,
            (Field::Speed, Value::Text("fast")) => self.item.speed = Some(ServiceTier::Fast),
            (Field::Error, _) => self.item.has_error = true,
            (Field::ErrorName, value) => self.error_name(value),
            (Field::Count(counter), value) => self.count(counter, value),
            (Field::Fallback(counter), Value::Number(n)) => self.fallback.get_or_insert_default().set(counter, n),
            (Field::Final, Value::End) => self.item.is_finish = true,
            (Field::Ttl, Value::Text(time)) => self.item.lives_an_hour = time == "1h",
            (Field::TtlCount, Value::Number(n)) => self.item.ttl_count = n,
            (Field::TtlEnd, Value::End) => self.end_cache_write(),
            (Field::Share(counter), Value::Number(n)) => self.item.shares.add(counter, n),
            (Field::Each(counter), Value::Text(_) | Value::End) => self.item.shares.add(counter, 1),
            (Field::Seconds(counter), value) => {
                if let Some(ms) = milliseconds(value) {
                    self.item.counts.set(counter, ms);
                }
            }
            (Field::Bill(price), value) => self.bill.get_or_insert_default().set(price, value),
            (Field::IsByok, Value::Bool(is_byok)) => self.bill.get_or_insert_default().is_byok = is_byok,
            (Field::Tool, Value::Text(kind)) => {
                self.item.tool = match kind {
                    "web_search_call" => Tool::Search,
                    "file_search_call" | "code_interpreter_call" => Tool::Other,
                    _ => Tool::None,
                };
            }
            (Field::ToolAction, Value::Text(action)) => {
                self.item.action = if action == "search" { Action::Billed } else { Action::Free };
            }
            (Field::ToolEnd, Value::End) => self.end_tool(),
            (Field::Modality, Value::Text(word)) => {
                self.item.modality = match word {
                    "AUDIO" => Modality::Audio,
                    "IMAGE" => Modality::Image,
                    _ => Modality::Other,
                };
            }
            (Field::ModalityCount, Value::Number(n)) => self.item.modality_count = n,
            (Field::ModalityEnd(side), Value::End) => self.end_modality(side),
            _ => {}
        }
    }

    fn document(&mut self) {
        self.settle_item();
        self.documents += 1;
    }
}

/// Seconds, as a number or as text, in milliseconds.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the range is checked")]
pub(crate) fn milliseconds(value: Value<'_>) -> Option<u64> {
    let seconds: f64 = match value {
        Value::Number(whole) => return whole.checked_mul(1000),
        Value::Decimal(text) | Value::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (0.0..1e12).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}
