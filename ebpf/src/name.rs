//! Which host names are intercepted.
//!
//! A [`Pattern`] is matched twice: coarsely in the kernel, as a [`Rule`](crate::rule::Rule) over the DNS question,
//! and by [`Pattern::matches`] over the server name of the TLS handshake, which decides.

mod compile;

use alloc::string::{String, ToString as _};
use core::{fmt, str::FromStr};

pub use compile::{Compiled, TooManyAlike, accepts, compile};

/// A host name, or a set of host names written with one `*`.
///
/// | written | matches | not |
/// |---|---|---|
/// | `api.openai.com` | that name | `eu.api.openai.com` |
/// | `*.openai.azure.com` | one or more labels before it | `openai.azure.com`, `evilopenai.azure.com` |
/// | `*-aiplatform.googleapis.com` | one label with that ending | `a.b-aiplatform.googleapis.com` |
/// | `bedrock-runtime.*.amazonaws.com` | exactly one label in the middle | `bedrock-runtime.a.b.amazonaws.com` |
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// In lower case, without a trailing dot.
    text: String,
    /// Where the `*` is.
    star: Option<usize>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing was written, or only a dot.
    Empty,
    /// More than 253 characters (RFC 1035, section 2.3.4).
    TooLong,
    /// A label is empty or longer than 63 characters.
    Label(String),
    /// A character other than a letter, a digit, `-`, `_` and `.`.
    Character(char),
    /// More than one `*`.
    Stars,
    /// The `*` is in a place that means nothing here.
    Star,
    /// More than 63 characters before the `*`.
    Head,
    /// The text is an address; addresses have no server name.
    Address,
}

impl Pattern {
    /// As it is written, in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for one name only.
    pub fn is_exact(&self) -> bool {
        self.star.is_none()
    }

    /// Whether the host is one of those meant. Case does not count, nor does one trailing dot.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let Some((head, tail)) = self.parts() else {
            return host.eq_ignore_ascii_case(self.text.as_bytes());
        };
        let Some(middle) = host.len().checked_sub(head.len() + tail.len()).filter(|&length| length > 0) else {
            return false;
        };
        let (start, rest) = host.split_at(head.len());
        let (middle, end) = rest.split_at(middle);
        start.eq_ignore_ascii_case(head.as_bytes())
            && end.eq_ignore_ascii_case(tail.as_bytes())
            && if self.spans_labels() {
                middle.split(|&byte| byte == b'.').all(|label| !label.is_empty())
            } else {
                !middle.contains(&b'.')
            }
    }

    /// The DNS subtree that holds every match, without a leading dot: what an X.509 name constraint can permit
    /// (RFC 5280, section 4.2.1.10).
    pub fn suffix(&self) -> &str {
        match self.parts() {
            None => &self.text,
            Some((_, tail)) => tail.split_once('.').map_or(tail, |(_, suffix)| suffix),
        }
    }

    /// What is before and after the `*`.
    fn parts(&self) -> Option<(&str, &str)> {
        self.star.map(|star| (&self.text[..star], &self.text[star + 1..]))
    }

    /// Whether the `*` stands for one or more labels, and not for one or a part of one.
    fn spans_labels(&self) -> bool {
        self.text.starts_with("*.")
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if text.is_empty() {
            return Err(ParseError::Empty);
        }
        if text.len() > 253 {
            return Err(ParseError::TooLong);
        }
        if text.parse::<core::net::IpAddr>().is_ok() {
            return Err(ParseError::Address);
        }
        let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '*');
        if let Some(other) = text.chars().find(|&char| !allowed(char)) {
            return Err(ParseError::Character(other));
        }
        if let Some(label) = text.split('.').find(|label| label.is_empty() || label.len() > 63) {
            return Err(ParseError::Label(label.to_string()));
        }
        let star = text.find('*');
        if text.matches('*').count() > 1 {
            return Err(ParseError::Stars);
        }
        let pattern = Self { text, star };
        if let Some((head, tail)) = pattern.parts() {
            let whole_label = tail.starts_with('.');
            let ends_a_label = head.is_empty() && tail.contains('.');
            if !(head.is_empty() || head.ends_with('.')) || !(whole_label || ends_a_label) {
                return Err(ParseError::Star);
            }
            if head.len() >= crate::rule::HEAD {
                return Err(ParseError::Head);
            }
        }
        Ok(pattern)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("a host name is needed"),
            Self::TooLong => out.write_str("a host name has at most 253 characters"),
            Self::Label(label) => write!(out, "the label {label:?} is empty or longer than 63 characters"),
            Self::Character(char) => {
                write!(out, "{char:?} cannot be in a host name; write international names in their xn-- form")
            }
            Self::Stars => out.write_str("only one * is possible"),
            Self::Star => out.write_str(
                "the * must be a whole label (*.example.com, api.*.example.com) or begin the first (*-api.example.com)",
            ),
            Self::Head => out.write_str("at most 63 characters are possible before the *"),
            Self::Address => out.write_str("this is an address, but a host name is needed"),
        }
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests;
