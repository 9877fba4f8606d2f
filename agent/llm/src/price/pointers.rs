//! Numbers of an answer that only the operator knows the price of.

use std::fmt;
use std::sync::Arc;

use memchr::memmem::Finder;
use rust_decimal::Decimal;

use crate::json::{Paths, Scanner, Value, Visit};

/// How many pointers there may be, in all files together.
pub(super) const MAX_POINTERS: usize = 32;

/// How many keys a pointer may have, which is what the scanner follows.
const MAX_KEYS: usize = 12;

/// The pointers to be read from a provider's answers.
pub struct Pointers {
    paths: Paths<u8>,
    /// The last key of each. An event without any of them is passed over.
    needles: Vec<Finder<'static>>,
    count: usize,
}

impl Pointers {
    pub(super) fn new(pointers: &[String]) -> Self {
        let rows: Vec<(Vec<String>, u8)> =
            (0..).zip(pointers).filter_map(|(number, pointer)| Some((keys(pointer).ok()?, number))).collect();
        let last = rows.iter().filter_map(|(keys, _)| keys.last());
        // A key may be written with escapes; then nothing can be told without reading.
        let needles = last.map(|key| Finder::new(key).into_owned()).chain([Finder::new("\\").into_owned()]).collect();
        Self { count: pointers.len(), paths: Paths::of_keys(rows), needles }
    }
}

impl fmt::Debug for Pointers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pointers").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The keys of a JSON pointer (RFC 6901), or why it cannot be followed.
pub(super) fn keys(pointer: &str) -> Result<Vec<String>, &'static str> {
    let rest = pointer.strip_prefix('/').ok_or("does not begin with `/`")?;
    let keys: Vec<String> = rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    if keys.len() > MAX_KEYS {
        return Err("has too many keys");
    }
    if pointer.len() > 512 {
        return Err("is too long");
    }
    if keys.iter().any(String::is_empty) {
        return Err("has an empty key");
    }
    if keys.iter().any(|key| key == "-" || key.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("leads into an array, where only objects are followed");
    }
    Ok(keys)
}

/// What the pointers of an answer pointed to: of each the latest number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointed(Box<[Option<Decimal>]>);

impl Pointed {
    /// The number at a pointer; nothing where there was none.
    pub(super) fn get(&self, pointer: u8) -> Option<Decimal> {
        self.0.get(usize::from(pointer)).copied().flatten()
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// Reads the pointers' numbers from an answer as it passes.
pub(crate) struct PointerReader {
    pointers: Arc<Pointers>,
    scanner: Scanner<u8, PathsOf>,
    found: Found,
}

/// The paths within shared pointers.
pub(crate) struct PathsOf(Arc<Pointers>);

impl std::ops::Deref for PathsOf {
    type Target = Paths<u8>;

    fn deref(&self) -> &Paths<u8> {
        &self.0.paths
    }
}

struct Found(Vec<Option<Decimal>>);

impl PointerReader {
    pub(crate) fn new(pointers: Arc<Pointers>) -> Self {
        let found = Found(vec![None; pointers.count]);
        Self { scanner: Scanner::over(PathsOf(Arc::clone(&pointers))), pointers, found }
    }

    /// A whole event.
    pub(crate) fn event(&mut self, data: &[u8]) {
        if self.pointers.needles.iter().any(|needle| needle.find(data).is_some()) {
            self.push(data);
            self.end();
        }
    }

    /// The next bytes of an event or document, cut anywhere.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.scanner.push(data, &mut self.found);
    }

    /// The event has ended.
    pub(crate) fn end(&mut self) {
        self.scanner.reset();
    }

    pub(crate) fn finish(self) -> Pointed {
        Pointed(self.found.0.into())
    }
}

impl Visit<u8> for Found {
    fn field(&mut self, pointer: u8, value: Value<'_>) {
        let number = match value {
            Value::Number(number) => Ok(Decimal::from(number)),
            Value::Decimal(written) if written.contains(['e', 'E']) => Decimal::from_scientific(written),
            Value::Decimal(written) => written.parse(),
            _ => return,
        };
        // What is no count, as a negative one, is not charged.
        if let (Ok(number), Some(found)) = (number, self.0.get_mut(usize::from(pointer)))
            && !number.is_sign_negative()
        {
            *found = Some(number);
        }
    }
}
