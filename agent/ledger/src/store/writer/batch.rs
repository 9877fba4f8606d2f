use std::collections::HashSet;

use super::super::frame::{Frame, encode};
use super::super::row::Row;
use crate::record::Id;

/// Bytes that are kept at hand for the next batch.
const KEPT: usize = 64 * 1024;
/// Bytes that are written to a disk at once.
const PART: usize = 64 * 1024;

/// What was taken off the queue at once, and is to be committed so.
#[derive(Default)]
pub(super) struct Batch {
    frames: Vec<u8>,
    /// When each exchange that ended began, and where its frame is.
    ended: Vec<(i64, usize)>,
    /// The same by id.
    ids: HashSet<Id, foldhash::fast::RandomState>,
    /// Where the frames of exchanges are that began.
    opened: Vec<(Id, usize)>,
}

impl Batch {
    /// Where to put frames, before [`Batch::sort_out`].
    pub(super) fn frames_mut(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// All frames.
    pub(super) fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Whether nothing that ended is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Looks at all frames, and calls `opened` with those of exchanges that have not ended within the batch.
    pub(super) fn sort_out(&mut self, mut opened: impl FnMut(Id, &[u8])) {
        let Self { frames, ended, ids, opened: began } = self;
        let mut rest = &frames[..];
        let mut at = 0;
        while let Some(frame) = Frame::next(&mut rest) {
            if frame.is_ended() {
                ended.push((frame.started, at));
                ids.insert(frame.id);
            } else {
                began.push((frame.id, at));
            }
            at = frames.len() - rest.len();
        }
        // In the order of the table's key, rows go to the same pages one after the other.
        ended.sort_unstable();
        for (id, at) in began.drain(..).filter(|(id, _)| !ids.contains(id)) {
            let mut rest = &frames[at..];
            if Frame::next(&mut rest).is_some() {
                opened(id, &frames[at..frames.len() - rest.len()]);
            }
        }
        if ended.is_empty() {
            frames.clear();
        }
    }

    /// Adds an exchange that has ended.
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.ended.push((row.started, self.frames.len()));
        self.ids.insert(row.id);
        encode(row, &mut self.frames);
    }

    /// Exchanges that have ended.
    pub(super) fn ended(&self) -> impl Iterator<Item = Frame<'_>> {
        self.ended.iter().filter_map(|(_, at)| Frame::next(&mut &self.frames[*at..]))
    }

    /// Whether this exchange has ended within the batch.
    pub(super) fn has_ended(&self, id: &Id) -> bool {
        self.ids.contains(id)
    }

    /// Each exchange that has ended.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Id> {
        self.ids.iter()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.ended.clear();
        self.ids.clear();
        self.opened.clear();
    }

    /// Gives memory back that a burst took.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.frames.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

/// Frames in parts of moderate size.
pub(super) fn parts(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let (start, whole) = (rest, rest.len());
        while whole - rest.len() < PART && Frame::next(&mut rest).is_some() {}
        Some(&start[..whole - rest.len()]).filter(|part| !part.is_empty())
    })
}
