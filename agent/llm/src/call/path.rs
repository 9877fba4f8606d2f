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

    /// Whether the query says one of these at most, and says it plainly. Servers differ in which of several they take.
    pub(super) fn says_once(&self, names: &[&str]) -> bool {
        let mut said: Option<&str> = None;
        for pair in self.query.split(['&', ';']) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name);
            let decoded = decoded.as_deref().unwrap_or_default().trim();
            if !names.iter().any(|known| known.eq_ignore_ascii_case(decoded)) {
                continue;
            }
            if !names.contains(&name) || said.is_some_and(|said| said != value) {
                return false;
            }
            said = Some(value);
        }
        true
    }
}

/// How often a path is decoded at most on its way through servers.
const DECODED: usize = 3;

/// The segments of a path as the most lenient of servers reads it: decoded as often as there is something to decode, all that may
/// separate separating, parameters of segments left out, and steps walked. `None` where that is how everybody reads it.
pub(super) fn walked(path_and_query: &str) -> Option<Vec<String>> {
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    if !path.contains(['%', '\\', ';']) && !path.contains("/.") && path.matches('/').count() <= MAX_SEGMENTS {
        return None;
    }
    let mut path = path.as_bytes().to_vec();
    for _ in 0..DECODED {
        path = decode_leniently(&path);
    }
    let mut segments = Vec::new();
    for segment in String::from_utf8_lossy(&path).split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.to_owned()),
        }
    }
    Some(segments)
}

/// Leaves alone what is no escape.
fn decode_leniently(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        decoded.push(escaped.map_or(byte, |(high, low)| high << 4 | low));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    decoded
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
