use crate::splice::grammar::Kind;

/// The longest number that is read; longer ones are too large for anything.
const LONGEST: usize = 40;

/// A value in a body that may still be arriving.
pub(super) struct Value {
    start: usize,
    end: Option<usize>,
    kind: Kind,
    text: Vec<u8>,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Held {
    /// A whole number that is not negative, also one that is written as text: many servers read that.
    Number(u64),
    /// Anything else.
    Other,
}

impl Value {
    pub(super) fn new(start: usize, kind: Kind) -> Self {
        Self { start, end: None, kind, text: Vec::new() }
    }

    /// It has ended, at its closing bracket or quotation mark, or before this byte if it is a word or number.
    pub(super) fn end(&mut self, at: usize) {
        let has_bracket = matches!(self.kind, Kind::Object | Kind::Array | Kind::Text);
        self.end = Some(at + usize::from(has_bracket));
    }

    /// Keeps what is in this piece of it, which stands behind `before` other bytes.
    pub(super) fn hold(&mut self, piece: &[u8], before: usize) {
        let from = (self.start + self.text.len()).saturating_sub(before).min(piece.len());
        let to = self.end.map_or(piece.len(), |end| end.saturating_sub(before).min(piece.len()));
        let room = LONGEST - self.text.len();
        if from < to && self.start + self.text.len() >= before {
            self.text.extend_from_slice(&piece[from..to.min(from + room)]);
        }
    }

    /// Whether it says nothing.
    pub(super) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Option<(usize, usize)> {
        Some((self.start, self.end?))
    }

    pub(super) fn held(&self) -> Held {
        let is_whole = self.end.is_some_and(|end| end - self.start == self.text.len());
        let text = std::str::from_utf8(&self.text).ok().filter(|_| is_whole);
        let number = match (self.kind, text) {
            (Kind::Number, Some(text)) => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
            (Kind::Text, Some(text)) => text.trim_matches('"').parse().ok(),
            _ => None,
        };
        number.map_or(Held::Other, Held::Number)
    }
}

/// Some clients write `100.0` or `1e3`, and some servers take it.
#[expect(clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}
