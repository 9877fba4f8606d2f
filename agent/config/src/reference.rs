use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::decode::{self, choices, single};
use crate::raw::Raw;

/// The JSON Schema (2020-12) of the configuration, for editors and for whatever makes such files.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Raw>().as_value().clone();
    schema["title"] = "Tollgate's configuration".into();
    schema
}

/// The reference page of the configuration, in Markdown, made from the fields that read it.
pub fn reference() -> String {
    let schema = decode::schema::<Raw>();
    let sections = schema.as_value()["properties"].as_object().expect("the configuration has keys");
    let mut page = Page { text: INTRODUCTION.to_owned(), told: Vec::new() };
    for (name, section) in sections {
        write!(page.text, "\n## `{name}`\n\n{}\n", text(section)).expect(STRING);
        let group = if section["items"].get("properties").is_some() { &section["items"] } else { section };
        if group.get("properties").is_none() {
            page.text.push('\n');
            push_key(&mut page.text, section, false);
        }
        let here = if section["type"] == "array" { format!("{name}[]") } else { name.clone() };
        page.push_group(&here, group);
    }
    page.text
}

/// What is written, and which groups of keys it has.
struct Page<'a> {
    text: String,
    told: Vec<(&'a Value, String)>,
}

impl<'a> Page<'a> {
    /// The keys of a group, each followed by the keys in it.
    fn push_group(&mut self, here: &str, group: &'a Value) {
        let required = group["required"].as_array();
        for (key, value) in group["properties"].as_object().into_iter().flatten() {
            let name = format!("{here}.{key}");
            let required = required.is_some_and(|required| required.iter().any(|name| name == key));
            write!(self.text, "\n### `{name}`\n\n{}\n\n", text(value)).expect(STRING);
            let (inner, inside) = match value["items"].get("properties") {
                Some(_) => (&value["items"], format!("{name}[]")),
                None => (value, name),
            };
            let Some(keys) = inner.get("properties") else {
                push_key(&mut self.text, value, required);
                continue;
            };
            if let Some((_, first)) = self.told.iter().find(|(told, _)| *told == keys) {
                writeln!(self.text, "- Keys: those of `{first}`").expect(STRING);
                continue;
            }
            if value["type"] == "array" {
                writeln!(self.text, "- Type: a list, each with the following keys\n- Default: `[]`").expect(STRING);
            } else if value.get("anyOf").is_some() {
                push_key(&mut self.text, value, required);
            } else {
                writeln!(self.text, "- Type: the following keys").expect(STRING);
            }
            self.told.push((keys, inside.clone()));
            self.push_group(&inside, inner);
        }
    }
}

const INTRODUCTION: &str = "\
<!-- Generated from agent/config; `cargo run -p tollgate-config --example reference > docs/configuration.md` -->

# Configuration

One YAML file, all of it optional: an empty file, or none, is the default of every key. It is checked as a whole before
anything starts; what is wrong with it is told by file, line, field and remedy, and the exit code is 64.

```yaml
providers:
  - name: vllm
    hosts: [llm.internal.example.com]
    dialect: openai
upstream:
  roots: [/etc/ssl/private-ca.pem]
log:
  format: json
```

A key that stands without a value counts as absent. Durations are numbers with units, such as `250ms`, `10s`, `5m` or
`1h 30m`; sizes likewise, `64KiB` (1024) or `64KB` (1000). Paths are absolute.
";

const STRING: &str = "writing to a string does not fail";

/// Type and default of a key, and the choices where it is one of several words.
fn push_key(page: &mut String, schema: &Value, required: bool) {
    let choices = choices(schema);
    writeln!(page, "- Type: {}", type_name(schema)).expect(STRING);
    for (word, meaning) in &choices {
        let meaning = meaning.as_deref().map(|meaning| format!(": {}", one_line(meaning))).unwrap_or_default();
        writeln!(page, "  - `{word}`{meaning}").expect(STRING);
    }
    let default = match schema.get("default") {
        _ if required => "none, it must be given".into(),
        None | Some(Value::Object(_)) => "none".into(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(other) => format!("`{other}`"),
    };
    writeln!(page, "- Default: {default}").expect(STRING);
}

fn type_name(schema: &Value) -> String {
    if schema["type"] == "array" {
        return format!("a list, each {}", type_name(&schema["items"]));
    }
    if schema.get("anyOf").is_some() && schema.get("items").is_some() {
        return format!("one or a list of these: {}", type_name(single(schema)));
    }
    if schema.get("anyOf").is_some() {
        return format!("{}, or the following keys", type_name(single(schema)));
    }
    if schema["additionalProperties"].is_object() {
        return format!("keys of your own, each with {}", type_name(&schema["additionalProperties"]));
    }
    match (schema["title"].as_str(), schema["examples"][0].as_str()) {
        (Some(title), Some(example)) => format!("{title}, such as `{example}`"),
        _ => "one of these words".into(),
    }
}

fn text(schema: &Value) -> String {
    one_line(schema["description"].as_str().unwrap_or_default())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
