//! JSON text written field by field in the order given.
//!
//! Providers send fields in a fixed order, and clients, meters and caches see that order; `serde_json::Value` would
//! sort it away unless the whole workspace switched on `preserve_order`.

use std::fmt::Write as _;

/// A piece of finished JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Raw(pub(crate) String);

/// JSON `null`.
pub(crate) struct Null;

/// What can be written as a JSON value.
pub(crate) trait Put {
    fn put(&self, out: &mut String);
}

/// Builds a [`Raw`] object: `obj! { "a" => 1, "b" => "x" }`.
macro_rules! obj {
    ($($key:literal => $value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "an empty object has no fields to add")]
        let mut object = $crate::json::Object::new();
        $(object.field($key, &$value);)*
        object.end()
    }};
}
pub(crate) use obj;

/// An object being written; [`obj!`] for fixed fields, this for optional ones.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    pub(crate) fn field(&mut self, key: &str, value: &(impl Put + ?Sized)) -> &mut Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        key.put(&mut self.0);
        self.0.push(':');
        value.put(&mut self.0);
        self
    }

    pub(crate) fn end(mut self) -> Raw {
        self.0.push('}');
        Raw(self.0)
    }
}

impl Raw {
    /// The value as its API prints it: two spaces of indent, a space after each colon.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::with_capacity(self.0.len() * 2);
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let mut characters = self.0.chars().peekable();
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        while let Some(character) = characters.next() {
            if quoted {
                out.push(character);
                quoted = escaped || character != '"';
                escaped = !escaped && character == '\\';
                continue;
            }
            match character {
                '"' => {
                    quoted = true;
                    out.push('"');
                }
                '{' | '[' => {
                    out.push(character);
                    if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                        out.push(close);
                    } else {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
                '}' | ']' => {
                    depth -= 1;
                    line(&mut out, depth);
                    out.push(character);
                }
                ',' => {
                    out.push(',');
                    line(&mut out, depth);
                }
                ':' => out.push_str(": "),
                other => out.push(other),
            }
        }
        out
    }
}

impl Put for Raw {
    fn put(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

impl Put for Null {
    fn put(&self, out: &mut String) {
        out.push_str("null");
    }
}

impl Put for str {
    fn put(&self, out: &mut String) {
        out.push_str(&serde_json::to_string(self).expect("a string is always valid JSON"));
    }
}

impl Put for String {
    fn put(&self, out: &mut String) {
        self.as_str().put(out);
    }
}

impl Put for bool {
    fn put(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Put for u64 {
    fn put(&self, out: &mut String) {
        write!(out, "{self}").expect("writing to a string cannot fail");
    }
}

/// Plain literals.
impl Put for i32 {
    fn put(&self, out: &mut String) {
        write!(out, "{self}").expect("writing to a string cannot fail");
    }
}

impl Put for f64 {
    fn put(&self, out: &mut String) {
        write!(out, "{self:?}").expect("writing to a string cannot fail");
    }
}

impl Put for serde_json::Value {
    fn put(&self, out: &mut String) {
        write!(out, "{self}").expect("writing to a string cannot fail");
    }
}

impl<T: Put + ?Sized> Put for &T {
    fn put(&self, out: &mut String) {
        (**self).put(out);
    }
}

impl<T: Put> Put for Option<T> {
    fn put(&self, out: &mut String) {
        match self {
            Some(value) => value.put(out),
            None => Null.put(out),
        }
    }
}

impl<T: Put> Put for [T] {
    fn put(&self, out: &mut String) {
        out.push('[');
        for (index, value) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            value.put(out);
        }
        out.push(']');
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut String) {
        self.as_slice().put(out);
    }
}

impl<T: Put, const N: usize> Put for [T; N] {
    fn put(&self, out: &mut String) {
        self.as_slice().put(out);
    }
}

/// An empty JSON array.
pub(crate) const EMPTY: [Null; 0] = [];

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_survives_writing_and_pretty_printing(key in ".{0,20}", value in ".{0,40}") {
            let mut object = Object::new();
            object.field(&key, &value).field("list", &[Raw(serde_json::to_string(&value).unwrap())]);
            let raw = object.end();
            let parsed: serde_json::Value = serde_json::from_str(&raw.0).unwrap();
            proptest::prop_assert_eq!(&parsed, &serde_json::from_str::<serde_json::Value>(&raw.pretty()).unwrap());
            if key != "list" {
                proptest::prop_assert_eq!(parsed[&key].as_str(), Some(&value[..]));
            }
        }
    }

    #[test]
    fn fields_keep_their_order_and_pretty_printing_keeps_the_value() {
        let raw = obj! { "z" => 1_u64, "a" => [Null], "e" => EMPTY, "s" => "q\"\\{[,:é", "o" => obj! {}, "n" => obj! { "b" => true } };
        assert_eq!(raw.0, r#"{"z":1,"a":[null],"e":[],"s":"q\"\\{[,:é","o":{},"n":{"b":true}}"#);
        let pretty = raw.pretty();
        assert!(pretty.starts_with("{\n  \"z\": 1,\n  \"a\": [\n    null\n  ],\n  \"e\": [],"));
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&pretty), value(&raw.0));
    }
}
