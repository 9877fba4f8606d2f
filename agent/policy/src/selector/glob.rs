use memchr::memmem::Finder;

/// Longest part between two stars that may have question marks: one bit of a word for each character.
const WORD: usize = 64;

/// A pattern with `*` or `?`, where it is not just a prefix or a suffix. Its parts between the stars are looked for one after the
/// other, each in one pass, so matching takes time by the length of the value whatever the pattern is.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    /// What must be at the beginning, up to the first star.
    head: Vec<Piece>,
    /// What must follow somewhere, in this order.
    middle: Vec<Part>,
    /// What must be at the end, from the last star on; `None` where there is no star.
    tail: Option<Vec<Piece>>,
}

/// One character of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// This one.
    One(char),
    /// Any.
    Any,
    /// Any number of any.
    Star,
}

/// What stands between two stars.
#[derive(Debug, Clone)]
enum Part {
    /// Without question marks.
    Text(Box<Finder<'static>>),
    /// With them.
    Masked(Masked),
}

/// A part with question marks, looked for with the bits of a word (Shift-And).
#[derive(Debug, Clone)]
struct Masked {
    /// Where each character may stand, by character.
    places: Vec<(char, u64)>,
    /// Where any may.
    any: u64,
    /// How many characters it has.
    length: u32,
}

impl Glob {
    /// Prepares a pattern; `None` where a part with question marks is too long.
    pub(super) fn new(pieces: &[Piece]) -> Option<Self> {
        let mut parts = pieces.split(|piece| *piece == Piece::Star);
        let head = parts.next().unwrap_or_default().to_vec();
        let mut parts: Vec<&[Piece]> = parts.collect();
        let tail = parts.pop().map(<[Piece]>::to_vec);
        let middle = parts.into_iter().filter(|part| !part.is_empty()).map(Part::new).collect::<Option<_>>()?;
        Some(Self { head, middle, tail })
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        let Some(mut rest) = strip_start(value, &self.head) else { return false };
        let Some(tail) = &self.tail else { return rest.is_empty() };
        // The tail is taken off first: nothing of it may be used up by what stands before it.
        let Some(before) = strip_end(rest, tail) else { return false };
        rest = before;
        for part in &self.middle {
            let Some(end) = part.find_end(rest) else { return false };
            rest = &rest[end..];
        }
        true
    }

    /// The characters that all that matches begins with.
    pub(super) fn literal_prefix(&self) -> String {
        self.head.iter().map_while(|piece| piece.literal()).collect()
    }

    /// The characters that all that matches ends with.
    pub(super) fn literal_suffix(&self) -> String {
        let tail = self.tail.as_deref().unwrap_or(&self.head);
        let from = tail.iter().rposition(|piece| *piece == Piece::Any).map_or(0, |at| at + 1);
        tail[from..].iter().filter_map(|piece| piece.literal()).collect()
    }
}

impl Piece {
    fn literal(self) -> Option<char> {
        match self {
            Self::One(character) => Some(character),
            Self::Any | Self::Star => None,
        }
    }

    fn accepts(self, character: char) -> bool {
        match self {
            Self::One(own) => own == character,
            Self::Any | Self::Star => true,
        }
    }
}

impl Part {
    fn new(pieces: &[Piece]) -> Option<Self> {
        let text: Option<String> = pieces.iter().map(|piece| piece.literal()).collect();
        if let Some(text) = text {
            return Some(Self::Text(Box::new(Finder::new(text.as_bytes()).into_owned())));
        }
        if pieces.len() > WORD {
            return None;
        }
        let mut places: Vec<(char, u64)> = Vec::new();
        let mut any = 0;
        for (at, piece) in pieces.iter().enumerate() {
            let bit = 1_u64 << at;
            match piece.literal() {
                None => any |= bit,
                Some(character) => match places.iter_mut().find(|(own, _)| *own == character) {
                    Some((_, bits)) => *bits |= bit,
                    None => places.push((character, bit)),
                },
            }
        }
        places.sort_unstable();
        Some(Self::Masked(Masked { places, any, length: pieces.len() as u32 }))
    }

    /// Where its first occurrence ends.
    fn find_end(&self, value: &str) -> Option<usize> {
        match self {
            Self::Text(finder) => finder.find(value.as_bytes()).map(|at| at + finder.needle().len()),
            Self::Masked(masked) => masked.find_end(value),
        }
    }
}

impl Masked {
    fn find_end(&self, value: &str) -> Option<usize> {
        let last = 1_u64 << (self.length - 1);
        let mut state = 0_u64;
        for (at, character) in value.char_indices() {
            let own = self.places.binary_search_by_key(&character, |(own, _)| *own);
            let accepting = self.any | own.map_or(0, |index| self.places[index].1);
            state = ((state << 1) | 1) & accepting;
            if state & last != 0 {
                return Some(at + character.len_utf8());
            }
        }
        None
    }
}

/// What follows the pieces at the beginning of a value.
fn strip_start<'a>(value: &'a str, pieces: &[Piece]) -> Option<&'a str> {
    let mut characters = value.chars();
    for piece in pieces {
        if !piece.accepts(characters.next()?) {
            return None;
        }
    }
    Some(characters.as_str())
}

/// What is before the pieces at the end of a value.
fn strip_end<'a>(value: &'a str, pieces: &[Piece]) -> Option<&'a str> {
    let mut characters = value.chars();
    for piece in pieces.iter().rev() {
        if !piece.accepts(characters.next_back()?) {
            return None;
        }
    }
    Some(characters.as_str())
}
