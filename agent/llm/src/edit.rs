//! What to change in a request's body: a few spans, each replaced by a short text. All other bytes stay as they are.

use std::borrow::Cow;

use bytes::Bytes;

/// One span of a request to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The first byte that is replaced.
    pub start: usize,
    /// The byte after the last that is replaced; equal to `start` where nothing is.
    pub end: usize,
    /// What stands there instead.
    pub text: Cow<'static, str>,
}

/// The edits of one body, in the order of their places, none over another. All places are those of the body as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits(Vec<Edit>);

/// An edit that does not go with those that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two changes of the request fall on one place")]
pub struct EditConflict;

impl Edits {
    /// How many there may be.
    pub const MOST: usize = 4;

    /// Adds one. Of two that insert at the same place, the one added first comes first.
    pub fn add(&mut self, edit: Edit) -> Result<(), EditConflict> {
        let at = self.0.partition_point(|other| (other.start, other.end) <= (edit.start, edit.end));
        let is_after_last = at.checked_sub(1).is_none_or(|last| self.0[last].end <= edit.start);
        let is_before_next = self.0.get(at).is_none_or(|next| edit.end <= next.start);
        if self.0.len() == Self::MOST || edit.start > edit.end || !is_after_last || !is_before_next {
            return Err(EditConflict);
        }
        self.0.insert(at, edit);
        Ok(())
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Self) -> Result<(), EditConflict> {
        other.0.into_iter().try_for_each(|edit| self.add(edit))
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Edit> {
        self.0.iter()
    }

    /// How long a body of so many bytes is with these edits, which must be its own.
    pub fn length(&self, before: usize) -> usize {
        self.0.iter().fold(before, |length, edit| length + edit.text.len() - (edit.end - edit.start))
    }

    /// Writes the edited body behind what is in `to`. Edits that reach beyond the body, which are not its own, change nothing.
    pub fn write(&self, body: &[u8], to: &mut Vec<u8>) {
        to.reserve(body.len() + self.0.iter().map(|edit| edit.text.len()).sum::<usize>());
        let mut at = 0;
        for edit in &self.0 {
            let Some(kept) = body.get(at..edit.start).filter(|_| edit.end <= body.len()) else { continue };
            to.extend_from_slice(kept);
            to.extend_from_slice(edit.text.as_bytes());
            at = edit.end;
        }
        to.extend_from_slice(&body[at..]);
    }

    /// The edited body, in pieces that share the memory of `body`: what stays, and what stands in between. Some may be empty.
    /// `None` behind the last.
    pub fn piece(&self, body: &Bytes, index: usize) -> Option<Bytes> {
        let edit = self.0.get(index / 2);
        if index % 2 == 1 {
            return Some(match &edit?.text {
                Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
                Cow::Owned(text) => Bytes::copy_from_slice(text.as_bytes()),
            });
        }
        let start = match (index / 2).checked_sub(1) {
            Some(last) => self.0.get(last)?.end,
            None => 0,
        };
        Some(body.slice(start..edit.map_or(body.len(), |edit| edit.start)))
    }
}

impl From<Edit> for Edits {
    fn from(edit: Edit) -> Self {
        Self(vec![edit])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(start: usize, end: usize, text: &'static str) -> Edit {
        Edit { start, end, text: text.into() }
    }

    fn written(edits: &Edits, body: &str) -> String {
        let mut written = b"head ".to_vec();
        edits.write(body.as_bytes(), &mut written);
        assert_eq!(written.len() - 5, edits.length(body.len()));
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let pieces: Vec<u8> = (0..).map_while(|index| edits.piece(&bytes, index)).flatten().collect();
        assert_eq!(pieces, written[5..]);
        String::from_utf8(written.split_off(5)).unwrap()
    }

    #[test]
    fn edits_come_in_the_order_of_their_places_whatever_the_order_in_which_they_are_added() {
        let mut edits = Edits::default();
        assert_eq!(written(&edits, "0123456789"), "0123456789");
        edits.add(edit(9, 9, ",x")).unwrap();
        edits.add(edit(2, 4, "cde")).unwrap();
        edits.add(edit(9, 9, ",y")).unwrap();
        edits.add(edit(4, 4, "!")).unwrap();
        assert_eq!(written(&edits, "0123456789"), "01cde!45678,x,y9");
    }

    #[test]
    fn edits_over_each_other_and_too_many_are_refused() {
        let mut edits = Edits::from(edit(2, 5, "x"));
        for (start, end) in [(2, 5), (1, 3), (4, 6), (3, 4), (3, 3), (0, 9), (7, 6)] {
            assert_eq!(edits.add(edit(start, end, "y")), Err(EditConflict), "{start}..{end}");
        }
        for at in [5, 6, 2] {
            edits.add(edit(at, at, "z")).unwrap();
        }
        assert_eq!(edits.add(edit(8, 8, "z")), Err(EditConflict), "the fifth");
    }

    proptest! {
        #[test]
        fn they_say_the_same_as_one_after_the_other_from_the_back(spans in prop::collection::vec((0_usize..40, 0_usize..6), 0..5), body in "[a-z]{45}") {
            let mut edits = Edits::default();
            let mut taken: Vec<Edit> = Vec::new();
            for (start, length) in spans {
                let edit = edit(start, start + length, "<>");
                let clashes = taken.iter().any(|other| {
                    let inside = |at: usize| other.start < at && at < other.end;
                    let over = |at: usize| edit.start < at && at < edit.end;
                    inside(edit.start) || inside(edit.end) || over(other.start) || over(other.end)
                        || other.start < other.end && (other.start, other.end) == (edit.start, edit.end)
                });
                prop_assert_eq!(edits.add(edit.clone()).is_err(), clashes || taken.len() == Edits::MOST);
                if !clashes && taken.len() < Edits::MOST { taken.push(edit); }
            }
            let mut expected = body.clone();
            taken.sort_by_key(|edit| (edit.start, edit.end));
            for edit in taken.iter().rev() { expected.replace_range(edit.start..edit.end, &edit.text); }
            prop_assert_eq!(written(&edits, &body), expected);
        }
    }
}
