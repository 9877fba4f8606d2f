//! Makes a request ask for a smaller answer: finds the spans of its body to edit, while its bytes pass.
//!
//! A number that is too large, missing, or none at all is replaced where it stands; where there is none, the parameter is added that
//! the API takes. Nothing else is changed. What cannot be edited for certain, as it says something twice, is signed or compressed, is
//! an error and must not be sent: it would go on unclamped.

mod plan;
mod value;

use std::fmt;

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};

use self::plan::Plan;
use self::value::{Held, Value};
use crate::call::Call;
use crate::catalogue::Provider;
use crate::edit::{Edit, Edits};
use crate::request::RequestFacts;
use crate::response::is_json;
use crate::splice::grammar::{Grammar, Kind, Token};

/// Why a request cannot be made to ask for less. The words are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClampError {
    /// A change would break its signature, as for all that is signed for AWS.
    #[error("it is signed and cannot be changed on its way; send `{parameter}` of at most {limit}")]
    Signed {
        /// What to ask for less with.
        parameter: &'static str,
        /// The most that may be asked for.
        limit: u64,
    },
    /// Its body has a content coding.
    #[error(
        "its body is compressed and cannot be changed on its way; send it as it is, or `{parameter}` of at most {limit}"
    )]
    Encoded {
        /// What to ask for less with.
        parameter: &'static str,
        /// The most that may be asked for.
        limit: u64,
    },
    /// Its body is not well-formed JSON, or says something twice or in an odd way.
    #[error("its body is not plain JSON that says everything once; send `{parameter}` of at most {limit}, once")]
    Odd {
        /// What to ask for less with.
        parameter: &'static str,
        /// The most that may be asked for.
        limit: u64,
    },
    /// The model is to think for longer than it may answer, which Anthropic refuses.
    #[error(
        "its `thinking.budget_tokens` of {budget} must be less than the {limit} output tokens that may be asked for; lower it"
    )]
    Thinking {
        /// How long it is to think, in tokens.
        budget: u64,
        /// The most that may be asked for.
        limit: u64,
    },
    /// It is not known by which parameter the model is asked for less.
    #[error("it is not known how this model is asked for at most {limit} output tokens")]
    Unknown {
        /// The most that may be asked for.
        limit: u64,
    },
}

/// Looks for what to edit so that no answer has more output tokens than a limit, in a body cut anywhere. Memory is bounded whatever
/// the body's size. What has no such answers, such as embeddings, needs no edit.
#[expect(clippy::struct_excessive_bools, reason = "each is another reason to edit nothing")]
pub struct Clamp {
    plan: Option<Plan>,
    limit: u64,
    /// The request's own number is known, and small enough.
    is_fine: bool,
    is_signed: bool,
    is_encoded: bool,
    is_odd: bool,
    grammar: Grammar,
    /// Bytes taken before this piece.
    taken: usize,
    key: Key,
    /// The values of the parameters, each once.
    values: [Option<Value>; plan::NAMES],
    /// Whether the top object has members, and where its closing brace stands.
    top: Object,
    /// The object that the parameters are in, if it is not the top one.
    parent: Option<Parent>,
    thinks: bool,
    budget: Option<Value>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Key {
    /// One of the parameters.
    Most(usize),
    Parent,
    Thinking,
    Budget,
    #[default]
    Other,
}

#[derive(Debug, Default, Clone, Copy)]
struct Object {
    has_members: bool,
    close: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Parent {
    Null { start: usize, end: usize },
    Object(Object),
}

impl Clamp {
    /// For a request of `call` to `provider`, of which `facts` are known.
    pub fn new(call: &Call, provider: &Provider, headers: &HeaderMap, facts: &RequestFacts, limit: u64) -> Self {
        let plan = Plan::of(call, provider);
        let is_json = headers.get(CONTENT_TYPE).is_none_or(|value| value.to_str().is_ok_and(is_json));
        let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        Self {
            is_signed: is_signed(headers),
            is_encoded: headers.get_all(CONTENT_ENCODING).iter().any(|value| !is_plain(value)),
            is_odd: !is_json,
            ..Self::with(plan, facts, limit)
        }
    }

    /// For a client's message on a WebSocket of `call` that asks for an answer, in either of the shapes that clients give it.
    /// `is_wrapped` is that of Realtime, where the parameters are in `response`.
    pub fn for_message(call: &Call, is_wrapped: bool, facts: &RequestFacts, limit: u64) -> Self {
        Self::with(Plan::of_message(call.api, is_wrapped), facts, limit)
    }

    fn with(plan: Option<Plan>, facts: &RequestFacts, limit: u64) -> Self {
        Self {
            plan,
            limit,
            is_fine: facts.max_output_tokens.is_some_and(|most| most <= limit),
            is_signed: false,
            is_encoded: false,
            is_odd: false,
            grammar: Grammar::default(),
            taken: 0,
            key: Key::default(),
            values: [const { None }; plan::NAMES],
            top: Object::default(),
            parent: None,
            thinks: false,
            budget: None,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_odd || self.is_encoded || self.plan.is_none() {
            return;
        }
        let mut grammar = std::mem::take(&mut self.grammar);
        let is_json = grammar.push(bytes, |token| self.token(token));
        self.grammar = grammar;
        self.is_odd |= !is_json;
        for value in self.values.iter_mut().chain([&mut self.budget]).flatten() {
            value.hold(bytes, self.taken);
        }
        self.taken += bytes.len();
    }

    /// The body is complete: what to edit, which may be nothing.
    pub fn finish(self) -> Result<Edits, ClampError> {
        let Some(plan) = &self.plan else { return Ok(Edits::default()) };
        let (parameter, limit) = (plan.parameter(), self.limit);
        if !plan.is_known() {
            return if self.is_fine { Ok(Edits::default()) } else { Err(ClampError::Unknown { limit }) };
        }
        if self.is_encoded {
            let encoded = ClampError::Encoded { parameter, limit };
            return if self.is_fine { Ok(Edits::default()) } else { Err(encoded) };
        }
        if self.is_odd || !self.grammar.is_complete() {
            return Err(ClampError::Odd { parameter, limit });
        }
        let edits = self.edits(plan).ok_or(ClampError::Odd { parameter, limit })?;
        if edits.is_empty() {
            return Ok(edits);
        }
        if self.is_signed {
            return Err(ClampError::Signed { parameter, limit });
        }
        if let Some(Held::Number(budget)) = self.budget.as_ref().map(Value::held)
            && budget >= limit
        {
            return Err(ClampError::Thinking { budget, limit });
        }
        Ok(edits)
    }

    fn edits(&self, plan: &Plan) -> Option<Edits> {
        let mut edits = Edits::default();
        let text = self.limit.to_string();
        let mut replace = |value: &Value| {
            let (start, end) = value.span()?;
            edits.add(Edit { start, end, text: text.clone().into() }).ok()
        };
        let is_said = |value: &&Value| !value.is_null();
        for value in self.values.iter().flatten().filter(is_said) {
            let is_small = match value.held() {
                Held::Number(0) => plan.takes_zero,
                Held::Number(number) => number <= self.limit,
                Held::Other => false,
            };
            if !is_small {
                replace(value)?;
            }
        }
        if self.values.iter().flatten().any(|value| is_said(&value)) {
            self.add_needed(plan, &text, &mut edits)?;
            return Some(edits);
        }
        // A `null` is as good as nothing, and OpenAI refuses two parameters.
        if let Some(value) = self.values.iter().flatten().next() {
            replace(value)?;
            return Some(edits);
        }
        let member = format!("\"{}\":{text}", plan.insert);
        let edit = match (plan.parents.first(), self.parent) {
            (None, _) => insertion(self.top, &member)?,
            (Some(name), None) => insertion(self.top, &format!("\"{name}\":{{{member}}}"))?,
            (Some(_), Some(Parent::Null { start, end })) => Edit { start, end, text: format!("{{{member}}}").into() },
            (Some(_), Some(Parent::Object(object))) => insertion(object, &member)?,
        };
        Some(edit.into())
    }

    /// Adds the parameter that has to be there, where only others are.
    fn add_needed(&self, plan: &Plan, text: &str, edits: &mut Edits) -> Option<()> {
        let Some(needed) = plan.needed else { return Some(()) };
        let index = plan.names.iter().position(|name| *name == needed)?;
        let edit = match &self.values[index] {
            Some(value) if !value.is_null() => return Some(()),
            Some(value) => {
                let (start, end) = value.span()?;
                Edit { start, end, text: text.to_owned().into() }
            }
            None => insertion(self.top, &format!("\"{needed}\":{text}"))?,
        };
        edits.add(edit).ok()
    }

    fn token(&mut self, token: Token<'_>) {
        let depth = if self.plan.as_ref().is_some_and(|plan| !plan.parents.is_empty()) { 2 } else { 1 };
        let in_parent = matches!(self.parent, Some(Parent::Object(Object { close: None, .. })));
        match token {
            Token::Begin { depth: 0, kind, .. } => self.is_odd |= kind != Kind::Object,
            Token::End { depth: 0, at } => self.top.close = Some(at),
            Token::Key { depth: 1, name } => {
                self.top.has_members = true;
                self.top_key(name);
            }
            Token::Key { depth: 2, name } if in_parent => {
                if let Some(Parent::Object(object)) = &mut self.parent {
                    object.has_members = true;
                }
                self.key = self.parameter_key(name);
            }
            Token::Key { depth: 2, name } if self.thinks => self.thinking_key(name),
            Token::Begin { depth: 1, at, kind } if self.key == Key::Parent => self.begin_parent(at, kind),
            Token::Begin { depth: 1, kind, .. } if self.key == Key::Thinking => self.thinks = kind == Kind::Object,
            Token::Begin { depth: at_depth, at, kind } if at_depth == depth => self.begin_value(at, kind),
            Token::Begin { depth: 2, at, kind } if self.key == Key::Budget => self.budget = Some(Value::new(at, kind)),
            Token::End { depth: 2, at } if self.key == Key::Budget => {
                self.end_value(at);
                self.key = Key::Other;
            }
            Token::End { depth: at_depth, at } if at_depth == depth && matches!(self.key, Key::Most(_)) => {
                self.end_value(at);
                self.key = Key::Other;
            }
            Token::End { depth: 1, at } => self.end_top(at),
            _ => {}
        }
    }

    fn top_key(&mut self, name: Option<&[u8]>) {
        let Some(plan) = &self.plan else { return };
        // Written with an escape, it may be any.
        let Some(name) = name else { return self.is_odd = true };
        if plan.parents.is_empty() {
            self.key = self.parameter_key(Some(name));
        } else {
            let is_parent = plan.parents.iter().any(|parent| parent.as_bytes().eq_ignore_ascii_case(name));
            let is_exact = plan.parents.iter().any(|parent| parent.as_bytes() == name);
            self.is_odd |= is_parent && (!is_exact || self.parent.is_some());
            self.key = if is_parent { Key::Parent } else { Key::Other };
        }
        if self.plan.as_ref().is_some_and(|plan| plan.thinks) && name == b"thinking" {
            self.is_odd |= self.budget.is_some();
            self.key = Key::Thinking;
        }
    }

    fn parameter_key(&mut self, name: Option<&[u8]>) -> Key {
        let (Some(plan), Some(name)) = (&self.plan, name) else {
            self.is_odd = true;
            return Key::Other;
        };
        // Some servers do not mind the case, and nobody else writes it so.
        let found = plan.names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        let Some(index) = found else { return Key::Other };
        self.is_odd |= plan.names[index].as_bytes() != name || self.values[index].is_some();
        Key::Most(index)
    }

    fn thinking_key(&mut self, name: Option<&[u8]>) {
        let Some(name) = name else { return self.is_odd = true };
        let is_budget = name == b"budget_tokens";
        self.is_odd |= is_budget && self.budget.is_some();
        self.key = if is_budget { Key::Budget } else { Key::Other };
    }

    fn begin_parent(&mut self, at: usize, kind: Kind) {
        match kind {
            Kind::Object => self.parent = Some(Parent::Object(Object::default())),
            Kind::Null => self.parent = Some(Parent::Null { start: at, end: at }),
            _ => self.is_odd = true,
        }
    }

    fn begin_value(&mut self, at: usize, kind: Kind) {
        if let Key::Most(index) = self.key
            && self.values[index].is_none()
        {
            self.values[index] = Some(Value::new(at, kind));
        }
    }

    fn end_value(&mut self, at: usize) {
        match self.key {
            Key::Most(index) => self.values[index].iter_mut().for_each(|value| value.end(at)),
            Key::Budget => self.budget.iter_mut().for_each(|value| value.end(at)),
            _ => {}
        }
    }

    /// `at` is the closing brace of an object, and the byte after a word.
    fn end_top(&mut self, at: usize) {
        match &mut self.parent {
            Some(Parent::Null { end, .. }) if self.key == Key::Parent => *end = at,
            Some(Parent::Object(Object { close: close @ None, .. })) => *close = Some(at),
            _ => {}
        }
        self.thinks = false;
        self.key = Key::Other;
    }
}

impl fmt::Debug for Clamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clamp").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Another member at an object's end.
fn insertion(object: Object, member: &str) -> Option<Edit> {
    let at = object.close?;
    let comma = if object.has_members { "," } else { "" };
    Some(Edit { start: at, end: at, text: format!("{comma}{member}").into() })
}

/// Whether fields of the head vouch for the body's bytes.
fn is_signed(headers: &HeaderMap) -> bool {
    const DIGESTS: [&str; 6] =
        ["content-md5", "digest", "content-digest", "repr-digest", "signature-input", "x-amz-content-sha256"];
    let is_aws = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"));
    is_aws || DIGESTS.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests;
