use std::fmt;
use std::sync::Arc;

use foldhash::HashSet;

use super::glob::{Glob, Piece};

/// Most characters of one pattern.
const LONGEST: usize = 512;
/// Most patterns of one list.
const MOST: usize = 10_000;
/// Most of them that are no plain value, prefix or suffix, as those are tried one by one.
const MOST_GLOBS: usize = 100;
/// So many plain values are compared one by one; more are hashed.
const FEW: usize = 8;

/// What a value may be: a list of exact values and globs (`*` any characters, `?` one), those with `!` before them excluded.
/// `\` before one of these, or before itself, takes it as it is.
///
/// It matches what one of the others matches, or anything where there are no others, and none of the excluded. What is absent
/// is matched by exclusions alone.
#[derive(Clone, Default)]
pub struct Patterns {
    texts: Arc<[Box<str>]>,
    /// `None` where there are none.
    included: Option<Arc<Set>>,
    excluded: Option<Arc<Set>>,
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub String);

/// Something that begins or ends all that one pattern matches: what an index can look it up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The whole of it.
    Exact(Box<str>),
    /// Its beginning, which may end within a character.
    Prefix(Box<[u8]>),
    /// Its end, which may begin within a character.
    Suffix(Box<[u8]>),
}

/// Patterns by their kind.
#[derive(Debug, Default)]
struct Set {
    any: bool,
    exact: Exact,
    ends: Option<Box<BothEnds>>,
    globs: Vec<Glob>,
}

#[derive(Debug, Default)]
struct BothEnds {
    prefixes: Ends,
    suffixes: Ends,
}

#[derive(Debug)]
enum Exact {
    Few(Vec<Box<str>>),
    Many(HashSet<Box<str>>),
}

/// Beginnings or ends. They are hashed by length, so that any number of them costs no more than they have lengths.
#[derive(Debug, Default)]
struct Ends {
    /// Lengths in bytes, rising.
    lengths: Vec<usize>,
    texts: HashSet<Box<[u8]>>,
}

impl Patterns {
    /// Reads a list of patterns.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        if patterns.is_empty() {
            return Err(BadPattern(
                "an empty list matches nothing; name at least one pattern, or leave the field out".into(),
            ));
        }
        if patterns.len() > MOST {
            return Err(BadPattern(format!("{} patterns are too many, {MOST} is the most", patterns.len())));
        }
        let read = patterns.iter().map(|text| read(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let globs = read.iter().filter(|(_, pieces)| Kind::of(pieces).is_none()).count();
        if globs > MOST_GLOBS {
            return Err(BadPattern(format!(
                "{globs} patterns with * or ? inside are too many for one list, {MOST_GLOBS} is the most; a * at the beginning \
                 or end alone costs nothing"
            )));
        }
        let texts = patterns.iter().map(|text| text.as_ref().into()).collect();
        Self::build(&texts, &read)
    }

    /// Whether it matches.
    pub fn matches(&self, value: Option<&str>) -> bool {
        match value {
            Some(value) => {
                self.included.as_ref().is_none_or(|set| set.matches(value))
                    && !self.excluded.as_ref().is_some_and(|set| set.matches(value))
            }
            None => self.included.is_none(),
        }
    }

    /// Like [`Patterns::matches`] without regard to upper and lower case (ASCII).
    pub fn matches_ignoring_case(&self, value: Option<&str>) -> bool {
        self.in_lower_case().matches(value.map(str::to_ascii_lowercase).as_deref())
    }

    /// As they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(AsRef::as_ref)
    }

    /// The same in lower case, for values in lower case. The texts stay as they were written.
    pub(crate) fn in_lower_case(&self) -> Self {
        let lower = |text: &str| read(&text.to_ascii_lowercase());
        let read = self.texts().map(lower).collect::<Result<Vec<_>, _>>();
        read.and_then(|read| Self::build(&self.texts, &read)).unwrap_or_else(|_| self.clone())
    }

    /// What an index can look for: one key for each alternative. `None` where some have none, or there are none.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        let set = self.included.as_ref().filter(|set| !set.any)?;
        let mut keys: Vec<Key> = set.exact.iter().map(|text| Key::Exact(text.into())).collect();
        if let Some(ends) = &set.ends {
            keys.extend(ends.prefixes.texts.iter().cloned().map(Key::Prefix));
            keys.extend(ends.suffixes.texts.iter().cloned().map(Key::Suffix));
        }
        for glob in &set.globs {
            let (prefix, suffix) = (glob.literal_prefix(), glob.literal_suffix());
            keys.push(match (prefix.is_empty(), suffix.is_empty()) {
                (true, true) => return None,
                (false, _) => Key::Prefix(prefix.into_bytes().into()),
                (true, false) => Key::Suffix(suffix.into_bytes().into()),
            });
        }
        Some(keys)
    }

    fn build(texts: &Arc<[Box<str>]>, read: &[(bool, Vec<Piece>)]) -> Result<Self, BadPattern> {
        let set = |excluding: bool| -> Result<Option<Arc<Set>>, BadPattern> {
            let mut set = None;
            for ((_, pieces), text) in read.iter().zip(texts.iter()).filter(|((excludes, _), _)| *excludes == excluding)
            {
                set.get_or_insert_with(Set::default).add(pieces, text)?;
            }
            Ok(set.map(Arc::new))
        };
        Ok(Self { included: set(false)?, excluded: set(true)?, texts: Arc::clone(texts) })
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in self.texts.iter().enumerate() {
            write!(f, "{}{text}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts.iter()).finish()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for Patterns {}

/// A pattern that needs no search.
enum Kind {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl Kind {
    fn of(pieces: &[Piece]) -> Option<Self> {
        let text = |pieces: &[Piece]| -> Option<String> {
            pieces.iter().map(|piece| if let Piece::One(character) = piece { Some(*character) } else { None }).collect()
        };
        match pieces {
            [Piece::Star] => Some(Self::Any),
            [head @ .., Piece::Star] if text(head).is_some() => text(head).map(Self::Prefix),
            [Piece::Star, tail @ ..] if text(tail).is_some() => text(tail).map(Self::Suffix),
            _ => text(pieces).map(Self::Exact),
        }
    }
}

impl Key {
    /// Whether it is a beginning rather than an end, and the text.
    pub(crate) fn end(&self) -> Option<(bool, &[u8])> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(text) => Some((true, text)),
            Self::Suffix(text) => Some((false, text)),
        }
    }

    /// Cuts a beginning or an end to fewer bytes.
    pub(crate) fn cut(&mut self, length: usize) {
        match self {
            Self::Exact(_) => {}
            Self::Prefix(text) => *text = text[..length].into(),
            Self::Suffix(text) => *text = text[text.len() - length..].into(),
        }
    }
}

impl Set {
    fn add(&mut self, pieces: &[Piece], text: &str) -> Result<(), BadPattern> {
        match Kind::of(pieces) {
            Some(Kind::Any) => self.any = true,
            Some(Kind::Exact(value)) => self.exact.add(value),
            Some(Kind::Prefix(prefix)) => self.ends.get_or_insert_default().prefixes.add(&prefix),
            Some(Kind::Suffix(suffix)) => self.ends.get_or_insert_default().suffixes.add(&suffix),
            None => self.globs.push(Glob::new(pieces).ok_or_else(|| {
                BadPattern(format!(
                    "{text:?} has more than 64 characters between two * with a ? among them; split it at a *"
                ))
            })?),
        }
        Ok(())
    }

    fn matches(&self, value: &str) -> bool {
        let bytes = value.as_bytes();
        self.any
            || self.exact.contains(value)
            || self.ends.as_ref().is_some_and(|ends| {
                ends.prefixes.any(bytes, |length| &bytes[..length])
                    || ends.suffixes.any(bytes, |length| &bytes[bytes.len() - length..])
            })
            || self.globs.iter().any(|glob| glob.matches(value))
    }
}

impl Exact {
    fn add(&mut self, value: String) {
        match self {
            Self::Few(few) if few.iter().any(|own| **own == *value) => {}
            Self::Few(few) if few.len() < FEW => few.push(value.into()),
            Self::Few(few) => *self = Self::Many(few.drain(..).chain([value.into()]).collect()),
            Self::Many(many) => {
                many.insert(value.into());
            }
        }
    }

    fn contains(&self, value: &str) -> bool {
        match self {
            Self::Few(few) => few.iter().any(|own| **own == *value),
            Self::Many(many) => many.contains(value),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Few(few) => Box::new(few.iter().map(AsRef::as_ref)),
            Self::Many(many) => Box::new(many.iter().map(AsRef::as_ref)),
        }
    }
}

impl Default for Exact {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Ends {
    fn add(&mut self, text: &str) {
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
        self.texts.insert(text.as_bytes().into());
    }

    /// Whether one of them is what `part` gives for its length.
    fn any<'a>(&self, value: &'a [u8], part: impl Fn(usize) -> &'a [u8]) -> bool {
        self.lengths
            .iter()
            .take_while(|length| **length <= value.len())
            .any(|length| self.texts.contains(part(*length)))
    }
}

/// Reads one pattern: whether it excludes, and its pieces.
fn read(text: &str) -> Result<(bool, Vec<Piece>), BadPattern> {
    let bad = |what: &str| Err(BadPattern(format!("{text:?} {what}")));
    if text.chars().count() > LONGEST {
        return Err(BadPattern(format!(
            "a pattern of more than {LONGEST} characters is too long; shorten it with a *"
        )));
    }
    let (excludes, pattern) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if pattern.is_empty() {
        return bad(if excludes {
            "excludes nothing; write what after the !"
        } else {
            "is no pattern; write !* for what is absent"
        });
    }
    if pattern.starts_with('!') {
        return bad(r"has two !; write \! for a value that begins with one");
    }
    if pattern.trim() != pattern {
        return bad("has a blank at its end or beginning, which no value has; take it out");
    }
    if pattern.chars().any(char::is_control) {
        return bad("has a control character, which no value has; take it out");
    }
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '*' if pieces.last() == Some(&Piece::Star) => continue,
            '*' => Piece::Star,
            '?' => Piece::Any,
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '?' | '!' | '\\')) => Piece::One(escaped),
                _ => return bad(r"has a \ before something that needs none; write \\ for a \ itself"),
            },
            _ => Piece::One(character),
        });
    }
    Ok((excludes, pieces))
}
