//! A YAML document as a tree that remembers where each key and value stands.
//!
//! serde stops at the first error, and an error of a derived type has no place. So the file is read into
//! this tree first; `decode` finds the errors one after another and takes their places from here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, MessageFormatter as _, Spanned, UserMessageFormatter};

use crate::error::{Place, Problem};

/// Largest file that is read. Ten thousand rules have room.
pub(crate) const LIMIT: usize = 4 << 20;

/// A value, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Nothing. A key without a value counts as absent, so that a section's keys can be commented out.
    Null,
    Scalar(serde_json::Value),
    /// With the index that each item had in the file, which stays when others are taken out.
    List(Vec<(usize, Spanned<Node>)>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the document to a value: `providers[1].hosts[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

/// A whole file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Spanned<Node>,
}

impl Document {
    /// Reads a text of at most `limit` bytes.
    pub(crate) fn parse(text: &str, limit: usize) -> Result<Self, Problem> {
        if text.len() > limit {
            let message = format!("the file is larger than {limit} bytes");
            return Err(Problem::new(Place::START, &Path::default(), message, "make it smaller"));
        }
        match serde_saphyr::from_str_with_options(text, options(limit)) {
            Ok(root) => Ok(Self { root }),
            Err(error) => Err(syntax(&error)),
        }
    }

    /// Where the value at `path` stands, or the nearest part of the file that holds it.
    pub(crate) fn place(&self, path: &Path) -> Place {
        self.find(path).1
    }

    /// Where the last key of `path` stands; for a list's item, the item.
    pub(crate) fn key_place(&self, path: &Path) -> Place {
        self.find(path).0
    }

    fn find(&self, path: &Path) -> (Place, Place) {
        let mut found = (place(self.root.referenced), place(self.root.referenced));
        let mut node = &self.root;
        for step in &path.0 {
            let next = match (&node.value, step) {
                (Node::Map(entries), Step::Key(name)) => {
                    entries.iter().find(|(key, _)| key.value == *name).map(|(key, value)| (key.referenced, value))
                }
                (Node::List(items), Step::Index(index)) => {
                    items.iter().find(|(at, _)| at == index).map(|(_, item)| (item.referenced, item))
                }
                _ => None,
            };
            let Some((key, value)) = next else { break };
            found = (place(key), place(value.referenced));
            node = value;
        }
        found
    }
}

impl Node {
    /// Without places and without keys that have no value.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(|(_, item)| item.value.to_json()).collect(),
            Self::Map(entries) => entries
                .iter()
                .filter(|(_, value)| value.value != Self::Null)
                .map(|(key, value)| (key.value.clone(), value.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// Takes out what is at `path`, so that the rest can still be checked. Within a list the whole
    /// item goes: half an item would only give errors that follow from the first.
    pub(crate) fn prune(&mut self, path: &[Step]) -> bool {
        let Some((step, rest)) = path.split_first() else { return false };
        match (self, step) {
            (Self::List(items), Step::Index(index)) => {
                let before = items.len();
                items.retain(|(at, _)| at != index);
                items.len() < before
            }
            (Self::Map(entries), Step::Key(name)) => {
                let Some(at) = entries.iter().position(|(key, _)| key.value == *name) else { return false };
                if rest.is_empty() || !entries[at].1.value.prune(rest) {
                    entries.remove(at);
                }
                true
            }
            _ => false,
        }
    }

    /// The steps with the indices of the file, for steps with the indices of what is left of it.
    pub(crate) fn original(&self, path: Path) -> Path {
        let mut node = Some(self);
        let steps = path.0.into_iter().map(|step| match (node, step) {
            (Some(Self::List(items)), Step::Index(index)) => {
                let item = items.get(index);
                node = item.map(|(_, item)| &item.value);
                Step::Index(item.map_or(index, |(at, _)| *at))
            }
            (Some(Self::Map(entries)), Step::Key(name)) => {
                node = entries.iter().find(|(key, _)| key.value == name).map(|(_, value)| &value.value);
                Step::Key(name)
            }
            (_, step) => step,
        });
        Path(steps.collect())
    }
}

impl Path {
    pub(crate) fn key(mut self, name: &str) -> Self {
        self.0.push(Step::Key(name.into()));
        self
    }

    pub(crate) fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// Whether this is `other` or a part of it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if number == 0 => write!(f, "{}", name.escape_debug())?,
                Step::Key(name) => write!(f, ".{}", name.escape_debug())?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Enough for any real file, and far from what hurts: a file may come from someone else's template.
fn options(limit: usize) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            // One is read; of a second the parser itself says so.
            max_documents: 2,
            max_events: limit / 5,
            max_nodes: limit / 10,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: LIMIT,
            max_total_scalar_bytes: 2 * limit,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        // Or `off` and `no` would be booleans, as nobody wants since YAML 1.2.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn syntax(error: &serde_saphyr::Error) -> Problem {
    let at = error.location().map_or(Place::START, place);
    let message = UserMessageFormatter.format_message(error.without_snippet()).replace(char::is_control, "\u{fffd}");
    Problem::new(at, &Path::default(), message, "check the indentation, quotes and colons around this place")
}

fn place(location: Location) -> Place {
    Place { line: location.line().max(1), column: location.column().max(1) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string().into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push((list.len(), item));
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}
