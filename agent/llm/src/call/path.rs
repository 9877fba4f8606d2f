//! A request path, taken apart the safe way: split first, decode after, refuse what could be read two ways.

use std::{borrow::Cow, sync::Arc};

/// The longest model name taken from a path or a body, in bytes.
pub(crate) const MAX_MODEL: usize = 256;

/// Enough for every endpoint of the tables under any sane prefix.
const MAX_SEGMENTS: usize = 16;

/// The decoded, non-empty segments of a path, and its query as sent.
pub(super) struct Path<'a> {
    segments: Vec<Cow<'a, str>>,
    query: &'a str,
}

impl<'a> Path<'a> {
    /// `None` for a path that is not absolute, is very deep, is not UTF-8, walks up, or hides a separator.
    pub(super) fn parse(path_and_query: &'a str) -> Option<Self> {
        let target = path_and_query.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut segments: Vec<Cow<'a, str>> = Vec::new();
        // Doubled and trailing slashes come from base URLs that end in one; servers ignore them, and so does this.
        for raw in path.strip_prefix('/')?.split('/').filter(|segment| !segment.is_empty()) {
            let segment = decode(raw)?;
            // Bedrock's names of models may be ARNs, which hold slashes.
            let is_arn = segments.last().is_some_and(|last| last == "model") && segment.starts_with("arn:");
            let ambiguous = |c: char| (c == '/' && !is_arn) || c == '\\' || c == '%' || c.is_control();
            let walks = |part: &str| matches!(part, "" | "." | "..");
            if segments.len() == MAX_SEGMENTS || segment.contains(ambiguous) || segment.split('/').any(walks) {
                return None;
            }
            segments.push(segment);
        }
        Some(Self { segments, query })
    }

    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(AsRef::as_ref).collect()
    }

    /// The value of a query parameter; the first, where there are several.
    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        decode(value)
    }
}

/// A model name fit for a record: not empty, not endless, no white space or control characters.
pub(crate) fn model(name: &str) -> Option<Arc<str>> {
    let sound = !name.is_empty() && name.len() <= MAX_MODEL && !name.contains(|c: char| c.is_control() || c == ' ');
    sound.then(|| Arc::from(name))
}

/// RFC 3986 § 2.1. A stray or half `%` is refused rather than passed on.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}
