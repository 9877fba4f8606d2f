//! Labels that callers cannot make many or large.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

/// Characters of a value that are kept.
const LENGTH: usize = 80;

/// Stands for every value beyond the bound.
pub(crate) static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "other".into());

/// The values of one label: the first so many that are seen, then `other`. Who came first stays, so that a series does not
/// stop and start again; a restart makes room.
#[derive(Debug)]
pub(crate) struct Values {
    most: usize,
    seen: RwLock<HashSet<Arc<str>>>,
}

impl Values {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, seen: RwLock::default() }
    }

    /// The value itself, if it has been seen; else `other`. For values that anybody can make up at no cost.
    pub(crate) fn known(&self, value: &str) -> Arc<str> {
        self.seen.read().get(&*clean(value)).map_or_else(|| Arc::clone(&OTHER), Arc::clone)
    }

    /// The value itself, fit for a label, or `other`.
    pub(crate) fn bound(&self, value: &str) -> Arc<str> {
        let value = clean(value);
        let seen = self.seen.read();
        if let Some(known) = seen.get(&*value) {
            return Arc::clone(known);
        }
        // Decided under the shared lock, so that many new values do not make everyone wait in turn.
        if seen.len() >= self.most {
            return Arc::clone(&OTHER);
        }
        drop(seen);
        let mut seen = self.seen.write();
        if seen.len() >= self.most && !seen.contains(&*value) {
            return Arc::clone(&OTHER);
        }
        let value: Arc<str> = value.into();
        seen.insert(Arc::clone(&value));
        value
    }
}

/// Cut to a bounded length, and without characters that break lines or terminals.
pub(crate) fn clean(value: &str) -> Cow<'_, str> {
    let short = value.char_indices().nth(LENGTH).map_or(value, |(end, _)| &value[..end]);
    if short.contains(char::is_control) { short.replace(char::is_control, "\u{fffd}").into() } else { short.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_stay_and_the_rest_is_other() {
        let values = Values::new(2);
        for _ in 0..2 {
            assert_eq!(&*values.bound("a"), "a");
            assert_eq!(&*values.bound("b"), "b");
            assert_eq!(&*values.bound("c"), "other");
        }
        assert_eq!(values.seen.read().len(), 2);
    }

    #[test]
    fn values_are_short_and_on_one_line() {
        let values = Values::new(10);
        assert_eq!(values.bound(&"é".repeat(10_000)).chars().count(), LENGTH);
        assert_eq!(&*values.bound("a\nb\u{1b}[0m"), "a\u{fffd}b\u{fffd}[0m");
    }
}
