//! Names, texts, patterns and conditions.

use tollgate_policy::{Condition, Patterns};

use crate::value::Value;

/// A name, fit for a metric's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl Value for Name {
    const NAME: &str = "a name";
    const EXAMPLE: &str = "research-month";

    fn read(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err("use 1 to 64 letters, digits, `.`, `_` and `-`".into());
        }
        Ok(Self(text.into()))
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

/// A text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

/// Characters of a text. It is in each refusal.
const LONGEST: usize = 500;

impl Value for Text {
    const NAME: &str = "a text";
    const EXAMPLE: &str = "platform@example.com";

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text.chars().nth(LONGEST).is_some() || text.contains(char::is_control) {
            return Err(format!("it must have 1 to {LONGEST} characters on one line"));
        }
        Ok(Self(text.into()))
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

/// One pattern of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(pub(crate) String);

impl Value for Glob {
    const NAME: &str = "a pattern";
    const EXAMPLE: &str = "gpt-5-mini*";

    fn read(text: &str) -> Result<Self, String> {
        match Patterns::parse(&[text]) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(error.to_string().replace(char::is_control, "\u{fffd}")),
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

/// A condition, compiled.
#[derive(Debug, Clone)]
pub(crate) struct When(pub(crate) Condition);

impl Value for When {
    const NAME: &str = "a condition (CEL)";
    const EXAMPLE: &str = "caller.uid >= 1000";

    fn read(text: &str) -> Result<Self, String> {
        // Parsers put line breaks and a drawing of the place into their errors.
        let told = |error: String| {
            let line = error.split_whitespace().collect::<Vec<_>>().join(" ");
            line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).take(300).collect()
        };
        Condition::compile(text).map(Self).map_err(|error| told(error.to_string()))
    }

    fn write(&self) -> String {
        self.0.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::reads;

    #[test]
    fn names_fit_labels_and_texts_fit_one_line() {
        reads(
            &[("ci-small.models_2", Name("ci-small.models_2".into()))],
            &["", "a b", "a\nb", "é", "a/b", &"x".repeat(65)],
        );
        reads(&[(" ask Ann – or Bob ", Text("ask Ann – or Bob".into()))], &["", " ", "a\nb", &"x".repeat(501)]);
    }
}
