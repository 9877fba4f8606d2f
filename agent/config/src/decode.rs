//! From the tree to serde types, with every error instead of the first.
//!
//! The types' own schema finds what has the wrong shape. Then serde runs; where it stops, the error is noted with
//! its place, the part at fault is taken out, and it runs again.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::{Document, Node, Path, Step};
use crate::error::Problem;
use crate::value::shorten;

/// Errors told at once. More would scroll away, and mostly follow from the first.
const MOST: usize = 20;

/// The schema of a type with all its parts in place.
pub(crate) fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Reads a `T`, or says everything that is in the way, in the order of the file.
pub(crate) fn decode<T: DeserializeOwned + JsonSchema>(document: &Document) -> Result<T, Vec<Problem>> {
    let schema = schema::<T>();
    let mut left = document.root.value.clone();
    let mut problems = Vec::new();
    for (path, message, remedy) in misshapen(&left, schema.as_value()) {
        problems.push(Problem::new(document.place(&path), &path, message, remedy));
        if !left.prune(&path.0) {
            return Err(problems);
        }
    }
    while problems.len() < MOST {
        let value = if left == Node::Null { Value::Object(serde_json::Map::new()) } else { left.to_json() };
        let error = match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(read) if problems.is_empty() => return Ok(read),
            Ok(_) => break,
            Err(error) => error,
        };
        let path = left.original(path(error.path()));
        let missing = error.inner().to_string();
        let missing = missing.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        if let Some(name) = missing
            && problems.iter().any(|told| told.field == path.clone().key(name).to_string())
        {
            // It is missing because what stood there was wrong, and nothing more can be read without it.
            break;
        }
        problems.push(explain(document, schema.as_value(), &path, &error.into_inner().to_string()));
        if !left.prune(&path.0) {
            break;
        }
    }
    problems.sort_by_key(|problem| problem.place);
    problems.truncate(MOST);
    Err(problems)
}

/// Where a section, a list or a single value is expected and something else stands.
fn misshapen(root: &Node, schema: &Value) -> Vec<(Path, String, String)> {
    let mut found = Vec::new();
    let mut open = vec![(Path::default(), root, schema)];
    while let Some((path, node, schema)) = open.pop() {
        match (shape(schema), node) {
            (shape, Node::Null) if must_be_said(&path, &shape) => {
                found.push((path, "nothing stands here".into(), "write a value, or take the key out".into()));
            }
            (_, Node::Null) | (Shape::Value | Shape::ValueOrList | Shape::ValueOrKeys, Node::Scalar(_)) => {}
            (Shape::Keys | Shape::ValueOrKeys, Node::Map(entries)) => {
                open.extend(entries.iter().filter_map(|(key, value)| {
                    Some((path.clone().key(&key.value), &value.value, property(schema, &key.value)?))
                }));
            }
            (Shape::List | Shape::ValueOrList, Node::List(items)) => {
                open.extend(items.iter().map(|(at, item)| (path.clone().index(*at), &item.value, &schema["items"])));
            }
            (Shape::Keys, _) if schema["additionalProperties"].is_object() => {
                let remedy = "write a key and its value, such as `app: web`";
                found.push((path, format!("{} stands where keys are expected", kind(node)), remedy.into()));
            }
            (Shape::Keys, _) => {
                let keys = listed(properties(schema));
                found.push((
                    path,
                    format!("{} stands where keys are expected", kind(node)),
                    format!("the keys here are {keys}"),
                ));
            }
            (Shape::List, _) => {
                let remedy = "write `[` and `]` around it, or each item on a line of its own after `- `";
                found.push((path, format!("{} stands where a list is expected", kind(node)), remedy.into()));
            }
            (Shape::ValueOrList, _) => {
                let message = format!("{} stands where one value or a list is expected", kind(node));
                found.push((path, message, expected(schema)));
            }
            (Shape::Value | Shape::ValueOrKeys, _) => {
                found.push((path, format!("{} stands where one value is expected", kind(node)), expected(schema)));
            }
        }
    }
    // What is within another finding goes with it.
    let paths: Vec<Path> = found.iter().map(|(path, ..)| path.clone()).collect();
    found.retain(|(path, ..)| !paths.iter().any(|other| other != path && path.is_within(other)));
    found.truncate(MOST);
    found
}

/// Where a value that is left out is no default but a way to fail open: a rule for one `user:` that a template left empty would be one
/// for all.
fn must_be_said(path: &Path, shape: &Shape) -> bool {
    let is_policy = matches!(path.0.first(), Some(Step::Key(section)) if section == "teams" || section == "policy");
    is_policy && (matches!(shape, Shape::Value) || path.0.iter().any(|step| matches!(step, Step::Index(_))))
}

/// What may stand at a place.
enum Shape {
    Value,
    List,
    Keys,
    /// A list whose brackets may be left out.
    ValueOrList,
    /// A word, or a group of keys in its place.
    ValueOrKeys,
}

fn shape(schema: &Value) -> Shape {
    match schema["type"].as_str() {
        Some("object") => Shape::Keys,
        Some("array") => Shape::List,
        _ if schema.get("anyOf").is_none() => Shape::Value,
        _ if schema.get("items").is_some() => Shape::ValueOrList,
        _ => Shape::ValueOrKeys,
    }
}

/// What may stand at a key.
fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema["properties"].get(key).or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
}

/// What one value may be, also where it may be one of a list.
pub(crate) fn single(schema: &Value) -> &Value {
    schema.get("anyOf").map_or(schema, |any| &any[0])
}

/// Turns what serde says into what helps.
fn explain(document: &Document, schema: &Value, path: &Path, message: &str) -> Problem {
    let here = schema_at(schema, &path.0);
    if message.starts_with("unknown field") {
        let (name, parent) = match path.0.split_last() {
            Some((Step::Key(name), parent)) => (name.as_str(), schema_at(schema, parent)),
            _ => ("", here),
        };
        let known = properties(parent);
        let remedy = nearest(name, &known)
            .map(str::to_owned)
            .or_else(|| elsewhere(schema, name))
            .map_or_else(|| format!("the keys here are {}", listed(known)), |meant| format!("did you mean `{meant}`?"));
        return Problem::new(document.key_place(path), path, "this key is not known", remedy);
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let remedy = format!("add it: {}", expected(&here["properties"][name]));
        return Problem::new(document.place(path), path, format!("`{name}` is missing"), remedy);
    }
    let choices: Vec<String> = choices(here).into_iter().map(|(name, _)| name).collect();
    let written = shown(&document.root.value, &path.0);
    if !choices.is_empty() {
        let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
        let remedy =
            nearest(&written, &choices).map_or_else(|| expected(here), |meant| format!("did you mean `{meant}`?"));
        return Problem::new(document.place(path), path, format!("`{written}` is not possible here"), remedy);
    }
    Problem::new(document.place(path), path, message, expected(here))
}

/// What can stand at a place, as an instruction.
fn expected(schema: &Value) -> String {
    let schema = single(schema);
    let choices = choices(schema);
    if !choices.is_empty() {
        return format!("write {}", listed(choices.iter().map(|(name, _)| name.as_str()).collect()));
    }
    match (schema["title"].as_str(), schema["examples"][0].as_str()) {
        (Some(title), Some(example)) => format!("write {title}, such as `{example}`"),
        _ if schema["type"] == "array" => "write a list".into(),
        _ => "see the reference of the configuration".into(),
    }
}

/// The words that an enumeration takes, and what each means.
pub(crate) fn choices(schema: &Value) -> Vec<(String, Option<String>)> {
    let schema = single(schema);
    let listed = schema["enum"].as_array().into_iter().flatten().map(|name| (name, None));
    let described = schema["oneOf"].as_array().into_iter().flatten().flat_map(|one| {
        let meaning = one["description"].as_str().map(str::to_owned);
        let names = one.get("const").into_iter().chain(one["enum"].as_array().into_iter().flatten());
        names.map(move |name| (name, meaning.clone()))
    });
    listed.chain(described).filter_map(|(name, meaning)| Some((name.as_str()?.to_owned(), meaning))).collect()
}

/// The keys that a section takes.
fn properties(schema: &Value) -> Vec<&str> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn schema_at<'a>(schema: &'a Value, path: &[Step]) -> &'a Value {
    path.iter().fold(schema, |schema, step| match step {
        Step::Key(name) => property(schema, name).unwrap_or(&Value::Null),
        Step::Index(_) => &schema["items"],
    })
}

/// The known name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name: String = name.chars().take(40).collect::<String>().to_lowercase().replace('-', "_");
    let distance = |other: &&str| strsim::damerau_levenshtein(&name, other);
    known.iter().copied().filter(|other| distance(other) <= (other.len() / 3).max(1)).min_by_key(distance)
}

/// The same key in another section, which a wrong indentation is taken for.
fn elsewhere(schema: &Value, name: &str) -> Option<String> {
    let sections = schema["properties"].as_object()?;
    let (section, _) = sections.iter().find(|(_, section)| section["properties"].get(name).is_some())?;
    Some(format!("{section}.{name}"))
}

fn listed(names: Vec<&str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Null => "nothing",
        Node::Scalar(_) => "a single value",
        Node::List(_) => "a list",
        Node::Map(_) => "a group of keys",
    }
}

/// The single value at a path, for a message.
fn shown(node: &Node, path: &[Step]) -> String {
    match (node, path.split_first()) {
        (Node::Scalar(Value::String(text)), None) => shorten(text),
        (Node::Scalar(other), None) => shorten(&other.to_string()),
        (Node::Map(entries), Some((Step::Key(name), rest))) => entries
            .iter()
            .find(|(key, _)| key.value == *name)
            .map_or_else(String::new, |(_, value)| shown(&value.value, rest)),
        (Node::List(items), Some((Step::Index(index), rest))) => {
            items.iter().find(|(at, _)| at == index).map_or_else(String::new, |(_, item)| shown(&item.value, rest))
        }
        _ => String::new(),
    }
}

fn path(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment;
    let steps = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    Path(steps.collect())
}
