//! What a client's message asks for, as far as a policy wants to know it before the message is passed on.
//!
//! What is decided on must be what the server will do, so whatever could be read in two ways is read in the one that asks for
//! more, or said to be ambiguous.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::call;
use crate::estimate::Sample;
use crate::json::{Paths, Value, Visit};
use crate::request::RequestFacts;

/// Places in a client's message. For the sources see `fields`; what else requests say is read by their own meter.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Type,
    Event,
    /// A request, or what is beside it in a message of its own shape.
    Flat,
    /// The wrapper around a request, at its end.
    Wrapper,
    FlatModel,
    WrappedModel,
    Previous,
    SessionModel,
    SessionBound,
}

pub(super) static PLACES: LazyLock<Paths<Place>> = LazyLock::new(|| {
    Paths::new([
        ("type", Place::Type),
        ("event_id", Place::Event),
        ("model", Place::FlatModel),
        ("max_output_tokens", Place::Flat),
        ("max_response_output_tokens", Place::Flat),
        ("user", Place::Flat),
        ("safety_identifier", Place::Flat),
        ("response", Place::Wrapper),
        ("response.model", Place::WrappedModel),
        ("previous_response_id", Place::Previous),
        ("response.previous_response_id", Place::Previous),
        ("session.model", Place::SessionModel),
        ("session.max_output_tokens", Place::SessionBound),
        ("session.max_response_output_tokens", Place::SessionBound),
    ])
    .in_any_case()
});

/// What a client's message asks for.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct SocketAsk {
    /// It asks for a response.
    pub is_create: bool,
    /// The client's own name for the message.
    pub event_id: Option<Box<str>>,
    /// What the request says, where it is one.
    pub facts: RequestFacts,
    /// It goes on from an earlier response, whose text the model reads again.
    pub continues: bool,
    /// It changes the session.
    pub is_update: bool,
    /// The session is to go on with this model.
    pub session_model: Option<Arc<str>>,
    /// The session's bound on its responses is to change.
    pub changes_bound: bool,
    /// It says in two places, and not the same, what a policy asks for.
    pub is_ambiguous: bool,
    /// Its text.
    pub text: Sample,
    /// It brings sound, in base64: so many bytes.
    pub sound: u64,
    pub(super) model: Option<Arc<str>>,
    pub(super) bytes: u64,
    types: u32,
    names: u32,
    session_names: u32,
    wrappers: u32,
    is_flat: bool,
    is_sound: bool,
}

impl SocketAsk {
    /// The message is whole.
    pub(super) fn end(&mut self, facts: RequestFacts, text: Sample) {
        let is_twice = self.types > 1 || self.wrappers > 1 || self.wrappers > 0 && self.is_flat;
        // Servers take whatever is JSON to them for a message, in whatever frame it comes.
        self.is_ambiguous |= facts.is_unclear || self.is_create && is_twice;
        self.facts = RequestFacts { model: self.model.take(), ..facts };
        self.text = text;
        if self.is_sound {
            self.sound = self.bytes;
        }
    }

    /// The request is in an object of its own.
    pub(super) fn is_wrapped(&self) -> bool {
        self.wrappers > 0
    }

    fn names(&mut self, model: Option<Arc<str>>) {
        // A name that is none is the server's to refuse, but not beside one that is.
        self.is_ambiguous |= self.names > 0 && self.model != model;
        self.names += 1;
        self.model = model;
    }
}

impl Visit<Place> for SocketAsk {
    fn field(&mut self, place: Place, value: Value<'_>) {
        match (place, value) {
            (Place::Type, Value::Text(name)) => {
                // Whichever of several a server takes.
                self.types += 1;
                self.is_update |= matches!(name, "session.update" | "transcription_session.update");
                self.is_create |= name == "response.create";
                self.is_sound |= name == "input_audio_buffer.append";
            }
            (Place::Event, Value::Text(id)) => self.event_id = Some(id.into()),
            (Place::Flat, _) => self.is_flat = true,
            (Place::Wrapper, Value::End) => self.wrappers += 1,
            (Place::FlatModel, Value::Text(name)) => {
                self.is_flat = true;
                self.names(call::model(name));
            }
            (Place::WrappedModel, Value::Text(name)) => self.names(call::model(name)),
            (Place::Previous, _) => self.continues = true,
            (Place::SessionModel, Value::Text(name)) => {
                let model = call::model(name);
                let is_no_name = model.is_none() && !name.is_empty();
                self.is_ambiguous |= is_no_name || self.session_names > 0 && self.session_model != model;
                self.session_names += 1;
                self.session_model = model;
            }
            (Place::SessionBound, _) => self.changes_bound = true,
            _ => {}
        }
    }

    fn unread(&mut self, place: Place) {
        match place {
            Place::FlatModel | Place::WrappedModel => self.names(None),
            Place::SessionBound => self.changes_bound = true,
            _ => {}
        }
    }
}

impl fmt::Debug for SocketAsk {
    /// Without its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketAsk").field("is_create", &self.is_create).finish_non_exhaustive()
    }
}
