use std::fmt::Write as _;

use serde_json::Value;

use crate::decode::{choices, schema};
use crate::raw::Raw;

/// The reference page of the configuration, in Markdown, made from the fields that read it.
pub fn reference() -> String {
    let schema = schema::<Raw>();
    let sections = schema.as_value()["properties"].as_object().expect("the configuration has keys");
    let mut page = INTRODUCTION.to_owned();
    for (name, section) in sections {
        write!(page, "\n## `{name}`\n\n{}\n", text(section)).expect(STRING);
        let (item, keys) = match section["items"].get("properties") {
            Some(keys) => ("[]", keys),
            None => ("", &section["properties"]),
        };
        let Some(keys) = keys.as_object() else {
            page.push('\n');
            push_key(&mut page, section, false);
            continue;
        };
        let required = section["items"]["required"].as_array();
        for (key, value) in keys {
            let required = required.is_some_and(|required| required.iter().any(|name| name == key));
            write!(page, "\n### `{name}{item}.{key}`\n\n{}\n\n", text(value)).expect(STRING);
            push_key(&mut page, value, required);
        }
    }
    page
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
        None => "none".into(),
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
