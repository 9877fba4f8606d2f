//! What the stand-in model says: text or tool calls, drawn from the request.

use serde_json::Value;

use crate::dialect::Ask;
use crate::seed::{Random, Seed};

/// The part of a request that decides the reply, as any dialect has it.
#[derive(Default)]
pub(crate) struct Turn {
    /// The newest text of the user.
    pub(crate) prompt: String,
    /// Tools with the JSON schemas of their arguments.
    pub(crate) tools: Vec<(String, Value)>,
    pub(crate) has_tool_result: bool,
    pub(crate) choice: Choice,
    /// The JSON schema that the answer must follow.
    pub(crate) schema: Option<Value>,
    pub(crate) single_call: bool,
}

/// Which tools may be called.
#[derive(Default, PartialEq, Eq)]
pub(crate) enum Choice {
    #[default]
    Any,
    None,
    Only(String),
}

pub(crate) enum Reply {
    /// Pieces, as they are streamed.
    Text(Vec<String>),
    Calls(Vec<Call>),
}

pub(crate) struct Call {
    pub(crate) name: String,
    /// A JSON object.
    pub(crate) arguments: String,
}

impl Call {
    /// The arguments in the pieces they are streamed in: never at the ends of tokens, always at characters'.
    pub(crate) fn pieces(&self) -> Vec<String> {
        let characters: Vec<char> = self.arguments.chars().collect();
        characters.chunks(7).map(|piece| piece.iter().collect()).collect()
    }
}

impl Reply {
    /// How many pieces it is streamed in.
    pub(crate) fn words(&self) -> usize {
        match self {
            Self::Text(pieces) => pieces.len(),
            Self::Calls(calls) => calls.iter().map(|call| call.pieces().len()).sum(),
        }
    }
}

/// How many words a reply has where nobody asks for more.
const DEFAULT_WORDS: usize = 24;

/// Words of one, two, three and four bytes a character, a quotation mark and a line break, since those are what goes wrong.
const WORDS: [&str; 20] = [
    "toll",
    "gate",
    "naïve",
    "façade",
    "漢字",
    "🚦",
    "stream",
    "Straße",
    "token",
    "\"quoted\"",
    "кассета",
    "line\nbreak",
    "tree",
    "river",
    "Ångström",
    "देवनागरी",
    "back\\slash",
    "🧑‍🚀",
    "number",
    "end",
];

impl Turn {
    pub(crate) fn reply(&self, ask: &Ask) -> Reply {
        let callable: Vec<&(String, Value)> = match &self.choice {
            _ if (ask.coding_agent && !ask.faults.tools) || self.has_tool_result => Vec::new(),
            Choice::None => Vec::new(),
            Choice::Any => self.tools.iter().collect(),
            Choice::Only(name) => self.tools.iter().filter(|(tool, _)| tool == name).collect(),
        };
        if !callable.is_empty() {
            // Two calls at once where allowed, because parallel calls are where indices get lost.
            let most = if self.single_call { 1 } else { 2 };
            let call = |(name, schema): &&(String, Value)| Call {
                name: name.clone(),
                arguments: example(schema, ask.seed.derive(name)),
            };
            return Reply::Calls(callable.iter().take(most).map(call).collect());
        }
        if let Some(schema) = &self.schema {
            let call = Call { name: String::new(), arguments: example(schema, ask.seed) };
            return Reply::Text(call.pieces());
        }
        Reply::Text(self.text(ask))
    }

    fn text(&self, ask: &Ask) -> Vec<String> {
        let prompt: String = self.prompt.chars().take(60).collect();
        let mut pieces = vec![format!("Answer {}", ask.seed.hex("answer", 8)), format!(" to “{prompt}”:")];
        let mut random = Random::new(ask.seed.number("words"));
        let words = ask.faults.words.unwrap_or(DEFAULT_WORDS).max(1);
        pieces.extend((0..words).map(|_| format!(" {}", WORDS[(random.next() % WORDS.len() as u64) as usize])));
        pieces
    }
}

/// A JSON text that follows `schema`, drawn from `seed`.
pub(crate) fn example(schema: &Value, seed: Seed) -> String {
    value(schema, schema, seed, 0).to_string()
}

fn value(schema: &Value, root: &Value, seed: Seed, depth: usize) -> Value {
    const DEEPEST: usize = 12;
    if depth > DEEPEST {
        return Value::Null;
    }
    let next = |schema: &Value, purpose: &str| value(schema, root, seed.derive(purpose), depth + 1);
    if let Some(target) = schema["$ref"].as_str().and_then(|path| root.pointer(path.trim_start_matches('#'))) {
        return next(target, "ref");
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    if let Some(Value::Array(choices)) = schema.get("enum") {
        return choices.first().cloned().unwrap_or_default();
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[key].get(0) {
            return next(first, key);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or("object"),
        // Gemini writes types in capitals.
        kind => kind.as_str().unwrap_or("object"),
    };
    match kind.to_ascii_lowercase().as_str() {
        "string" => Value::from(format!("naïve 漢字 {}", seed.hex("string", 6))),
        "integer" => Value::from(seed.number("integer") % 90 + 10),
        "number" => Value::from((seed.number("number") % 90) as f64 + 0.5),
        "boolean" => Value::from(true),
        "null" => Value::Null,
        "array" => Value::from(vec![next(&schema["items"], "item")]),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(properties.map(|(name, schema)| (name.clone(), next(schema, name))).collect())
        }
    }
}
