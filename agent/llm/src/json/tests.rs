use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

static PATHS: LazyLock<Paths<&'static str>> = LazyLock::new(|| {
    Paths::new(["model", "stream", "a.b", "a.b.c", "list[]", "list[].n", "deep[].x[].y"].map(|path| (path, path)))
});

#[derive(Default)]
struct Log(Vec<(&'static str, String)>, usize);

impl Visit<&'static str> for Log {
    fn field(&mut self, field: &'static str, value: Value<'_>) {
        self.0.push((field, format!("{value:?}")));
    }
    fn document(&mut self) {
        self.1 += 1;
    }
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(&'static str, String)>, usize, bool) {
    let mut scanner = Scanner::new(&PATHS);
    let mut log = Log::default();
    for piece in pieces {
        scanner.push(piece, &mut log);
    }
    assert!(scanner.text.capacity() <= 2 * MAX_TEXT, "memory is bounded");
    (log.0, log.1, scanner.is_at_top())
}

fn found(text: &str) -> Vec<(&'static str, String)> {
    scan([text.as_bytes()]).0
}

fn texts(field: &'static str, values: &[&str]) -> Vec<(&'static str, String)> {
    values.iter().map(|value| (field, format!("{:?}", Value::Text(value)))).collect()
}

#[test]
fn the_model_may_stand_after_any_content() {
    let content = "x \\\" } ] model \\\\".repeat(1000);
    let text = format!(
        r#"{{"messages":[{{"role":"user","content":"{content}","model":"no"}},[[{{}}]]],"x":{{"model":"no"}},"model" : "yes" }}"#
    );
    assert_eq!(found(&text), texts("model", &["yes"]));
}

#[test]
fn escapes_are_read_in_keys_and_values() {
    assert_eq!(found(r#"{"m\u006fdel":"gpt\u002d4\/\ud83d\ude00"}"#), texts("model", &["gpt-4/😀"]));
    assert_eq!(found(r#"{"model":"lone \ud83d surrogate"}"#), [], "is no text");
    assert_eq!(found(r#"{"model\"":"no"}"#), []);
}

#[test]
fn the_last_of_two_equal_keys_comes_last() {
    assert_eq!(found(r#"{"model":"a","model":"b"}"#), texts("model", &["a", "b"]));
}

#[test]
fn null_is_absent_and_zero_is_not() {
    let numbers = |text: &str| found(&format!(r#"{{"a":{{"b":{text}}}}}"#));
    assert_eq!(numbers("null"), []);
    assert_eq!(numbers("0"), [("a.b", "Number(0)".into())]);
    assert_eq!(numbers("12.0"), [("a.b", "Number(12)".into())]);
    assert_eq!(numbers("1e3"), [("a.b", "Number(1000)".into())]);
    assert_eq!(numbers("18446744073709551615"), [("a.b", format!("Number({})", u64::MAX))]);
    for other in ["-1", "1.5", "1e300", "0.00014", "18446744073709551616000", "1.5.5", "-"] {
        assert_eq!(numbers(other), [("a.b", format!("Decimal({other:?})"))], "as written");
    }
    for odd in ["nan", "truth"] {
        assert_eq!(numbers(odd), [], "{odd}");
    }
}

#[test]
fn arrays_are_entered_where_the_path_says_so() {
    assert_eq!(
        found(r#"{"list":[{"n":1},{"n":2,"m":[3]},"t",[{"n":9}]],"model":["no"],"deep":[{"x":[{"y":true}]}]}"#),
        [
            ("list[].n", "Number(1)".to_owned()),
            ("list[]", "End".to_owned()),
            ("list[].n", "Number(2)".to_owned()),
            ("list[]", "End".to_owned()),
            ("list[]", "Text(\"t\")".to_owned()),
            ("deep[].x[].y", "Bool(true)".to_owned()),
        ]
    );
}

#[test]
fn documents_are_counted_in_arrays_and_in_lines() {
    for (text, documents, at_top) in [
        ("{}", 1, true),
        ("[{},{}\n,{\"a\":{}}]", 3, true),
        ("{}\n{}\n", 2, true),
        ("[{},{}", 2, false),
        ("{\"a\":", 0, false),
        ("", 0, true),
    ] {
        let (_, n, top) = scan([text.as_bytes()]);
        assert_eq!((n, top), (documents, at_top), "{text}");
    }
}

#[test]
fn endless_texts_and_depths_are_survived() {
    let long = "x".repeat(MAX_TEXT + 1);
    assert_eq!(found(&format!(r#"{{"model":"{long}","{long}":1,"stream":true}}"#)), [("stream", "Bool(true)".into())]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(found(&format!(r#"{{"a":{deep},"model":"m"}}"#)), texts("model", &["m"]));
    assert_eq!(found(&format!(r#"{deep}{{"model":"m"}}"#)), texts("model", &["m"]));
}

#[test]
fn reset_forgets_an_unfinished_text() {
    let mut scanner = Scanner::new(&PATHS);
    let mut log = Log::default();
    for broken in [r#"{"model"#, r#"{"x":[[{"y":"\"#, r#"{"a":{"b":12"#, r#"{"model"}"#] {
        scanner.push(broken.as_bytes(), &mut log);
        scanner.reset();
        scanner.push(br#"{"model":"m"}"#, &mut log);
    }
    assert_eq!(log.0, texts("model", &["m"; 4]));
}

/// The oracle: what serde_json reads at the same paths, in no order.
fn expected(json: &Json) -> Vec<(&'static str, String)> {
    fn scalar(found: &mut Vec<(&'static str, String)>, field: &'static str, json: Option<&Json>) {
        match json {
            Some(Json::String(text)) if text.len() < 100 => found.push((field, format!("{:?}", Value::Text(text)))),
            Some(Json::Bool(bool)) => found.push((field, format!("{:?}", Value::Bool(*bool)))),
            Some(Json::Number(n)) => {
                let text = n.to_string();
                let n = n.as_u64().or_else(|| n.as_f64().and_then(whole));
                let value = n.map_or(Value::Decimal(&text), Value::Number);
                found.push((field, format!("{value:?}")));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    scalar(&mut found, "model", json.get("model"));
    scalar(&mut found, "stream", json.get("stream"));
    if let Some(a) = json.get("a") {
        scalar(&mut found, "a.b", a.get("b"));
        if let Some(b @ Json::Object(_)) = a.get("b") {
            scalar(&mut found, "a.b.c", b.get("c"));
            found.push(("a.b", "End".into()));
        }
    }
    for element in json.get("list").and_then(Json::as_array).into_iter().flatten() {
        scalar(&mut found, "list[]", Some(element));
        if element.is_object() {
            scalar(&mut found, "list[].n", element.get("n"));
            found.push(("list[]", "End".into()));
        }
    }
    for element in json.get("deep").and_then(Json::as_array).into_iter().flatten() {
        for inner in element.get("x").and_then(Json::as_array).into_iter().flatten() {
            scalar(&mut found, "deep[].x[].y", inner.get("y"));
        }
    }
    found.sort();
    found
}

fn any_json() -> impl Strategy<Value = Json> {
    let key = || prop_oneof!["model", "stream", "a", "b", "c", "list", "n", "deep", "x", "y", "\\PC{0,6}"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f32>().prop_map(Json::from),
        "(\\PC|\"|\\\\|\n){0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map(key(), inner, 0..6).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json(json in any_json(), pretty: bool) {
        let document = json!({"model": json.clone(), "a": json.clone(), "list": [json.clone(), {"n": json.clone()}], "deep": json});
        for json in [&json, &document] {
            if !json.is_object() { continue; }
            let text = if pretty { serde_json::to_string_pretty(json) } else { serde_json::to_string(json) }.unwrap();
            let mut found = found(&text);
            found.sort();
            prop_assert_eq!(found, expected(json));
        }
    }

    #[test]
    fn every_cut_gives_the_same(json in any_json(), cuts in prop::collection::vec(0usize..4000, 0..8)) {
        let text = json.to_string();
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let whole = scan([bytes]);
        prop_assert_eq!(scan(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]])), whole.clone());
        prop_assert_eq!(scan(bytes.chunks(1)), whole);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![
        any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b':'), Just(b'a')
    ], 0..200)) {
        prop_assert_eq!(scan(bytes.chunks(1)), scan([&bytes[..]]));
    }
}
