//! Reads a few fields out of JSON that passes by, cut anywhere, without holding it.
//!
//! A serde type needs the whole text at once; requests of 100 MB and answers with images in them do not fit that. The
//! scanner follows the given paths, skips everything else at the speed of `memchr`, and keeps at most one key or scalar of
//! [`MAX_TEXT`] bytes. It does not validate: malformed JSON yields fewer fields or odd ones, never a panic.

mod paths;
mod text;

pub(crate) use paths::Paths;
pub(crate) use text::closing_quote;

use std::{marker::PhantomData, ops::Deref};

use self::text::spaces;

/// The longest key or scalar that is read, in bytes as written. Longer ones count as absent.
pub(crate) const MAX_TEXT: usize = 1024;

/// How deep paths may lead, arrays included. What is deeper is skipped.
const MAX_DEPTH: usize = 16;

/// What was found at a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// A whole number that is not negative.
    Number(u64),
    /// Any other number, as written.
    Decimal(&'a str),
    Bool(bool),
    /// The end of an object at this path.
    End,
}

/// Takes what the scanner finds.
pub(crate) trait Visit<F> {
    /// A value at the path of `field`. A `null` is no value.
    fn field(&mut self, field: F, value: Value<'_>);

    /// At the path of `field` stands a `null`, or a text that is too long to be read.
    fn unread(&mut self, _field: F) {}

    /// At the path of `field`, which is one of elements, stands an array of which nothing is read.
    fn nested(&mut self, _field: F) {}

    /// An object at the top, or directly in an array at the top, is complete.
    fn document(&mut self) {}
}

/// The state between two pieces of text.
pub(crate) struct Scanner<F: 'static, P = &'static Paths<F>> {
    paths: P,
    /// The containers open on a path, outermost first; the first `depth` count.
    open: [Open; MAX_DEPTH],
    depth: usize,
    /// Where the next value stands; `None` off all paths.
    target: Option<u16>,
    state: State,
    /// How many containers are open off all paths.
    skipped: u64,
    /// The key or scalar that is being read, as written.
    text: Vec<u8>,
    too_long: bool,
    /// The last byte was a `\` that escapes the next.
    escaping: bool,
    field: PhantomData<F>,
}

#[derive(Clone, Copy)]
struct Open {
    /// The object's own place in the paths, or the one of the array's elements.
    node: u16,
    is_object: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before a value: after a colon, in an array, or at the top.
    Value,
    /// In an object, before a key or the end.
    Key,
    /// Between a key and its value.
    Colon,
    /// In a string.
    Text(Role),
    /// In a number or a word.
    Literal,
    /// Off all paths, outside of strings.
    Skip,
    /// Off all paths, in a string.
    SkipText,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Key,
    Scalar,
    Ignored,
}

impl<F: Copy> Scanner<F> {
    pub(crate) fn new(paths: &'static Paths<F>) -> Self {
        Self::over(paths)
    }
}

impl<F: Copy, P: Deref<Target = Paths<F>>> Scanner<F, P> {
    /// For paths that are static or shared.
    pub(crate) fn over(paths: P) -> Self {
        Self {
            paths,
            open: [Open { node: Paths::<F>::ROOT, is_object: false }; MAX_DEPTH],
            depth: 0,
            target: Some(Paths::<F>::ROOT),
            state: State::Value,
            skipped: 0,
            text: Vec::new(),
            too_long: false,
            escaping: false,
            field: PhantomData,
        }
    }

    /// Forgets an unfinished text, to begin with a new one.
    pub(crate) fn reset(&mut self) {
        self.depth = 0;
        self.skipped = 0;
        self.clear_text();
        self.after_value();
    }

    /// Whether nothing is open: all that was begun has ended.
    pub(crate) fn is_at_top(&self) -> bool {
        self.depth == 0 && self.state == State::Value
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], visit: &mut impl Visit<F>) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Value => self.value(bytes, visit),
                State::Key => self.key(bytes, visit),
                State::Colon => self.colon(bytes, visit),
                State::Text(role) => self.text(role, bytes, visit),
                State::Literal => self.literal(bytes, visit),
                State::Skip => self.skip(bytes),
                State::SkipText => self.skip_text(bytes),
            };
            bytes = &bytes[used..];
        }
    }

    fn value(&mut self, bytes: &[u8], visit: &mut impl Visit<F>) -> usize {
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':');
        let Some(at) = spaces(bytes, |byte| !is_between(byte)) else { return bytes.len() };
        match bytes[at] {
            b'{' => self.open_container(true),
            b'[' => {
                if let Some(field) = self.nested_array() {
                    visit.nested(field);
                }
                self.open_container(false);
            }
            b'}' => self.close(true, visit),
            b']' => self.close(false, visit),
            b'"' => {
                self.clear_text();
                let wanted = self.target.is_some_and(|node| self.paths.field(node).is_some());
                self.state = State::Text(if wanted { Role::Scalar } else { Role::Ignored });
            }
            _ => {
                self.clear_text();
                self.state = State::Literal;
                return at;
            }
        }
        at + 1
    }

    fn key(&mut self, bytes: &[u8], visit: &mut impl Visit<F>) -> usize {
        let Some(at) = spaces(bytes, |byte| matches!(byte, b'"' | b'}')) else { return bytes.len() };
        if bytes[at] == b'"' {
            self.clear_text();
            self.state = State::Text(Role::Key);
        } else {
            self.close(true, visit);
        }
        at + 1
    }

    fn colon(&mut self, bytes: &[u8], visit: &mut impl Visit<F>) -> usize {
        let Some(at) = bytes.iter().position(|byte| matches!(byte, b':' | b'}')) else { return bytes.len() };
        if bytes[at] == b':' {
            self.state = State::Value;
        } else {
            self.close(true, visit);
        }
        at + 1
    }

    fn text(&mut self, role: Role, bytes: &[u8], visit: &mut impl Visit<F>) -> usize {
        let Some(at) = closing_quote(bytes, &mut self.escaping) else {
            self.keep(role, bytes);
            return bytes.len();
        };
        let piece = &bytes[..at];
        if role == Role::Ignored {
            self.after_value();
        } else if self.text.is_empty() && !self.too_long && at <= MAX_TEXT && !piece.contains(&b'\\') {
            // The usual case: all of it is in one piece, and nothing needs copying.
            self.end_text(role, Some(piece), visit);
        } else {
            self.keep(role, piece);
            let kept = std::mem::take(&mut self.text);
            let decoded = if kept.contains(&b'\\') { unescape(&kept) } else { None };
            let plain = || Some(&kept[..]).filter(|kept| !kept.contains(&b'\\'));
            let text = if self.too_long { None } else { decoded.as_deref().map(str::as_bytes).or_else(plain) };
            self.end_text(role, text, visit);
            self.text = kept;
        }
        at + 1
    }

    fn end_text(&mut self, role: Role, text: Option<&[u8]>, visit: &mut impl Visit<F>) {
        if role == Role::Key {
            self.target = text.and_then(|key| self.paths.child(self.open[self.depth - 1].node, key));
            self.state = State::Colon;
            return;
        }
        let field = self.target.and_then(|node| self.paths.field(node));
        match (field, text.map(std::str::from_utf8)) {
            (Some(field), Some(Ok(text))) => visit.field(field, Value::Text(text)),
            (Some(field), _) => visit.unread(field),
            (None, _) => {}
        }
        self.after_value();
    }

    fn literal(&mut self, bytes: &[u8], visit: &mut impl Visit<F>) -> usize {
        let is_end =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b':' | b'"' | b'{' | b'[');
        let end = bytes.iter().position(is_end);
        let at = end.unwrap_or(bytes.len());
        let field = self.target.and_then(|node| self.paths.field(node));
        if field.is_some() {
            self.keep(Role::Scalar, &bytes[..at]);
        }
        if end.is_some() {
            match (field, literal(&self.text), self.too_long) {
                (Some(field), Some(value), false) => visit.field(field, value),
                (Some(field), ..) => visit.unread(field),
                (None, ..) => {}
            }
            self.after_value();
        }
        at
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => {
                    let Some(end) = closing_quote(&bytes[at..], &mut self.escaping) else {
                        self.state = State::SkipText;
                        return bytes.len();
                    };
                    at += end + 1;
                }
                b'{' | b'[' => self.skipped += 1,
                b'}' | b']' => {
                    self.skipped -= 1;
                    if self.skipped == 0 {
                        self.after_value();
                        return at;
                    }
                }
                _ => {}
            }
        }
        at
    }

    fn skip_text(&mut self, bytes: &[u8]) -> usize {
        let Some(at) = closing_quote(bytes, &mut self.escaping) else { return bytes.len() };
        self.state = State::Skip;
        at + 1
    }

    /// What an array counts as that begins as an element of another, where nothing is read in it.
    fn nested_array(&self) -> Option<F> {
        let is_element = self.depth.checked_sub(1).is_some_and(|last| !self.open[last].is_object);
        let node = self.target.filter(|&node| is_element && self.paths.element(node).is_none())?;
        self.paths.field(node)
    }

    fn open_container(&mut self, is_object: bool) {
        let node = if is_object {
            // An element without anything to read in it may still count by being there.
            let is_element = self.depth.checked_sub(1).is_some_and(|last| !self.open[last].is_object);
            let counts = |node| is_element && self.paths.field(node).is_some();
            self.target.filter(|&node| self.paths.has_children(node) || counts(node))
        } else {
            self.target.and_then(|node| self.paths.element(node))
        };
        match node {
            Some(node) if self.depth < MAX_DEPTH => {
                self.open[self.depth] = Open { node, is_object };
                self.depth += 1;
                self.after_value();
            }
            _ => {
                self.skipped = 1;
                self.state = State::Skip;
            }
        }
    }

    /// A bracket that closes what is not open is ignored.
    fn close(&mut self, is_object: bool, visit: &mut impl Visit<F>) {
        let Some(open) = self.depth.checked_sub(1).map(|last| self.open[last]) else { return };
        if open.is_object != is_object {
            return;
        }
        self.depth -= 1;
        if is_object {
            if let Some(field) = self.paths.field(open.node) {
                visit.field(field, Value::End);
            }
            if open.node == Paths::<F>::ROOT {
                visit.document();
            }
        }
        self.after_value();
    }

    fn after_value(&mut self) {
        match self.depth.checked_sub(1).map(|last| self.open[last]) {
            Some(Open { is_object: true, .. }) => self.state = State::Key,
            Some(Open { node, .. }) => {
                self.target = Some(node);
                self.state = State::Value;
            }
            None => {
                self.target = Some(Paths::<F>::ROOT);
                self.state = State::Value;
            }
        }
    }

    fn clear_text(&mut self) {
        self.text.clear();
        self.too_long = false;
        self.escaping = false;
    }

    fn keep(&mut self, role: Role, bytes: &[u8]) {
        if role == Role::Ignored || self.too_long {
        } else if self.text.len() + bytes.len() > MAX_TEXT {
            self.too_long = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }
}

/// A string as written between its quotes. Rare enough to leave surrogates and all to serde.
fn unescape(written: &[u8]) -> Option<String> {
    let quoted = [b"\"", written, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

fn literal(written: &[u8]) -> Option<Value<'_>> {
    match written {
        b"true" => Some(Value::Bool(true)),
        b"false" => Some(Value::Bool(false)),
        [b'-' | b'0'..=b'9', ..] => {
            let text = std::str::from_utf8(written).ok()?;
            let whole = text.parse().ok().or_else(|| whole(text.parse().ok()?));
            Some(whole.map_or(Value::Decimal(text), Value::Number))
        }
        _ => None,
    }
}

/// Some servers write counts as `12.0` or `1e3`.
#[expect(clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests;
