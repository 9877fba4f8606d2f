//! Reading a body before any of it is sent, within bounds, so that its length is known when its head leaves.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tollgate_llm::{Edits, RequestFacts, RequestMeter, Splicer, mentions_stream};

use super::{Keep, RequestSource, State};
use crate::admit::Unreadable;

/// The largest body that is collected. Those with images in them are larger, and go on as they come.
pub(in crate::http) const LARGEST: usize = 4 << 20;

/// What all bodies that are collected at a time may hold.
const TOTAL: usize = 128 << 20;

/// How much is read of a request that is not sent, for its connection's sake.
pub(in crate::http) const DISCARDED: usize = 1 << 20;

/// How many of the largest requests that a policy reads fit at a time, at least.
const AT_ONCE: usize = 8;

/// How long a client may pause within a body that is collected. It may be waiting for an answer to what it has sent.
pub(in crate::http) const PAUSE: Duration = Duration::from_secs(5);

/// What all connections may collect. Nobody waits for it: where it is used up, a body goes on as it comes. Clones are the same.
#[derive(Clone)]
pub(in crate::http) struct Budget {
    room: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(TOTAL)
    }
}

impl Budget {
    pub(in crate::http) fn new(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes)) }
    }

    /// Makes it so large that some of the largest bodies that a policy reads fit.
    pub(in crate::http) fn widen(&self, largest: usize) {
        let wanted = largest.saturating_mul(AT_ONCE).min(Semaphore::MAX_PERMITS / 2);
        self.room.add_permits(wanted.saturating_sub(TOTAL));
    }

    /// Makes what is held in `room` enough for so many bytes.
    pub(in crate::http) fn grow(&self, room: &mut Option<Room>, bytes: usize) -> bool {
        let more = bytes.saturating_sub(room.as_ref().map_or(0, |room| room.0.num_permits()));
        if more == 0 {
            return true;
        }
        let Some(taken) = self.take(more) else { return false };
        match room {
            Some(room) => room.0.merge(taken),
            none => *none = Some(Room(taken)),
        }
        true
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// A share of what may be collected, given back when it is dropped.
pub(in crate::http) struct Room(OwnedSemaphorePermit);

/// On what terms a body is collected.
#[derive(Clone, Copy)]
pub(in crate::http) struct Terms {
    /// Its length, where that is known.
    pub(in crate::http) length: Option<usize>,
    /// How much of it may be collected.
    pub(in crate::http) largest: usize,
    /// How long its client may pause.
    pub(in crate::http) pause: Duration,
    /// Whether to look for the place to ask for usage.
    pub(in crate::http) asks_usage: bool,
    /// Whether somebody needs it as a whole. Otherwise it is collected only as long as there may be something to edit.
    pub(in crate::http) is_needed: bool,
}

/// What came of collecting.
pub(in crate::http) enum Collection {
    /// The body is here as a whole, and this is how to ask for usage in it.
    Whole(Option<Edits>),
    /// There is nothing to edit, or no room. What came was collected, and the rest goes on as it comes.
    Part(Option<Unreadable>),
    /// The client broke off.
    Broken,
}

/// The beginning of a body, or all of it.
pub(super) struct Collected {
    bytes: Bytes,
    /// The frame for which there was no room.
    last: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// What an attempt sends of it.
pub(super) struct Ahead {
    collected: Arc<Collected>,
    edits: Option<Arc<Edits>>,
    next: usize,
}

impl Ahead {
    pub(super) fn new(collected: Arc<Collected>, edits: Option<Arc<Edits>>) -> Self {
        Self { collected, edits, next: 0 }
    }

    /// Whether there is no other piece.
    pub(super) fn is_spent(&self) -> bool {
        Self { collected: Arc::clone(&self.collected), edits: self.edits.clone(), next: self.next }.next().is_none()
    }

    /// The next piece, none of them empty.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        loop {
            let Collected { bytes, last, .. } = &*self.collected;
            let piece = match (&self.edits, self.next) {
                (None, 0) => bytes.clone(),
                (None, 1) => last.clone(),
                (None, _) => return None,
                (Some(edits), next) => edits.piece(bytes, next)?,
            };
            self.next += 1;
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}

impl RequestSource {
    /// Reads the body, as long as its terms and the room for it allow. Every attempt to send the body begins with what was read.
    /// Dropped, it is as if the client had broken off.
    pub(in crate::http) async fn collect(&self, terms: Terms, budget: &Budget) -> Collection {
        self.state.lock().keep = Keep::Collected;
        let mut collecting = Collecting::new(terms, budget);
        let collection = loop {
            let next = poll_fn(|context| self.state.lock().poll_client(context));
            match timeout(terms.pause, next).await {
                Ok(Some(Ok(frame))) => {
                    // Trailers are kept with the state.
                    let Ok(data) = frame.into_data() else { break Collection::Whole(None) };
                    let is_last = self.state.lock().has_ended();
                    if let Err(why) = collecting.add(data, is_last) {
                        break Collection::Part(why);
                    }
                }
                Ok(None) => break Collection::Whole(None),
                Ok(Some(Err(_))) => break Collection::Broken,
                Err(_elapsed) => break Collection::Part(Some(Unreadable::Slow)),
            }
        };
        let (collected, splicer) = collecting.end();
        let mut state = self.state.lock();
        state.keep = Keep::Nothing;
        state.collected = Some(Arc::new(collected));
        if let Collection::Whole(_) = collection {
            Collection::Whole(splicer.and_then(Splicer::finish).map(Edits::from))
        } else {
            collection
        }
    }

    /// Has the next attempts send the body with these edits, or as it came. To be called where the body was collected as a whole.
    /// `is_refusable` says that the provider may want it otherwise.
    pub(in crate::http) fn set_edits(&self, edits: Option<Arc<Edits>>, is_refusable: bool) {
        let mut state = self.state.lock();
        (state.edits, state.is_refusable) = (edits, is_refusable);
    }

    /// What was collected.
    pub(in crate::http) fn collected(&self) -> Bytes {
        self.state.lock().collected.as_ref().map(|collected| collected.bytes.clone()).unwrap_or_default()
    }

    /// What is known of the request by now. All that came is looked at.
    pub(in crate::http) fn facts(&self) -> RequestFacts {
        let mut state = self.state.lock();
        state.look();
        let has_ended = state.has_ended();
        let Some(meter) = &mut state.meter else { return RequestFacts::default() };
        if has_ended {
            meter.end();
        }
        meter.facts()
    }

    /// How many tokens the model is given to read, at most, as far as it is known by now.
    pub(in crate::http) fn estimated_input(&self) -> u64 {
        self.state.lock().meter.as_ref().map_or(0, RequestMeter::estimated_input)
    }

    /// Reads what is left of a request that is not sent, so that its connection can carry another, within bounds.
    pub(in crate::http) async fn discard(&self) {
        let reading = async {
            let mut bytes = 0;
            while bytes <= DISCARDED {
                match poll_fn(|context| self.state.lock().poll_client(context)).await {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) | None => break,
                }
            }
        };
        self.state.lock().keep = Keep::Collected;
        drop(timeout(PAUSE, reading).await);
    }

    /// Lets go of what was collected: there will be no other attempt.
    pub(in crate::http) fn release(&self) {
        let State { collected, lost, .. } = &mut *self.state.lock();
        *lost |= collected.take().is_some();
    }
}

/// A body while it is collected.
struct Collecting<'a> {
    terms: Terms,
    budget: &'a Budget,
    splicer: Option<Splicer>,
    room: Option<OwnedSemaphorePermit>,
    /// The only frame so far. Most bodies are one, which is not copied.
    first: Bytes,
    /// Frames are copied together, since each of a few bytes may pin a buffer.
    bytes: BytesMut,
    last: Bytes,
}

impl<'a> Collecting<'a> {
    fn new(terms: Terms, budget: &'a Budget) -> Self {
        let (first, bytes, last) = (Bytes::new(), BytesMut::new(), Bytes::new());
        Self { terms, budget, splicer: terms.asks_usage.then(Splicer::default), room: None, first, bytes, last }
    }

    /// `is_last` says that there is nothing after it. The error says why not to go on, where somebody may need to go on.
    fn add(&mut self, data: Bytes, is_last: bool) -> Result<(), Option<Unreadable>> {
        if is_last && self.first.is_empty() && self.bytes.is_empty() && !mentions_stream(&data) {
            self.splicer = None;
            if !self.terms.is_needed {
                // It goes on as it came, and needs no room.
                self.last = data;
                return Err(None);
            }
        }
        if let Err(why) = self.fits(data.len()) {
            self.last = data;
            return Err(Some(why));
        }
        if let Some(splicer) = &mut self.splicer {
            splicer.push(&data);
        }
        if self.first.is_empty() && self.bytes.is_empty() {
            self.first = data;
        } else {
            let first = std::mem::take(&mut self.first);
            if self.bytes.is_empty() {
                let announced = self.terms.length.unwrap_or_default().min(LARGEST);
                self.bytes.reserve(announced.max(first.len() + data.len()));
            }
            self.bytes.extend_from_slice(&first);
            self.bytes.extend_from_slice(&data);
        }
        let is_hopeless = self.splicer.as_ref().is_none_or(Splicer::is_hopeless);
        if is_hopeless && !self.terms.is_needed { Err(None) } else { Ok(()) }
    }

    fn fits(&mut self, more: usize) -> Result<(), Unreadable> {
        if self.first.len() + self.bytes.len() + more > self.terms.largest {
            return Err(Unreadable::TooLarge);
        }
        let room = self.budget.take(more).ok_or(Unreadable::NoRoom)?;
        match &mut self.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
        Ok(())
    }

    fn end(self) -> (Collected, Option<Splicer>) {
        let bytes = if self.bytes.is_empty() { self.first } else { self.bytes.freeze() };
        (Collected { bytes, last: self.last, _room: self.room }, self.splicer)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_llm::Edit;

    use super::*;

    #[test]
    fn nobody_waits_for_room_and_it_comes_back() {
        let budget = Budget::new(100);
        let body = |length: usize| Bytes::from(format!("{{{}", " ".repeat(length - 1)));
        let terms = |length, is_needed| Terms { length, largest: LARGEST, pause: PAUSE, asks_usage: true, is_needed };
        let mut first = Collecting::new(terms(Some(80), false), &budget);
        assert!(first.add(body(40), false).is_ok() && first.add(Bytes::from_static(&[b' '; 40]), true).is_ok());
        let mut second = Collecting::new(terms(None, false), &budget);
        assert_eq!(second.add(body(30), false), Err(Some(Unreadable::NoRoom)));
        let (collected, _) = second.end();
        assert_eq!((collected.bytes.len(), collected.last.len()), (0, 30), "what came is kept");
        let (collected, _) = first.end();
        assert_eq!((collected.bytes.len(), budget.room.available_permits()), (80, 20));
        drop(collected);
        assert_eq!(budget.room.available_permits(), 100);
        let large = Budget::default();
        let mut third = Collecting::new(terms(None, false), &large);
        assert_eq!(third.add(body(LARGEST), false), Ok(()));
        assert_eq!(third.add(Bytes::from_static(b" "), false), Err(Some(Unreadable::TooLarge)), "each has its bound");
        let mut odd = Collecting::new(terms(None, false), &large);
        assert_eq!(odd.add(Bytes::from_static(b"["), false), Err(None), "there is nothing to edit");
        let mut needed = Collecting::new(terms(None, true), &large);
        assert_eq!(needed.add(Bytes::from_static(b"["), false), Ok(()), "but somebody to read it");
        let one_piece = |is_needed, text: &'static str| {
            let mut collecting = Collecting::new(terms(None, is_needed), &large);
            let added = collecting.add(Bytes::from_static(text.as_bytes()), true);
            (added, collecting.splicer.is_some(), large.room.available_permits() < TOTAL)
        };
        drop((third, odd, needed));
        assert_eq!(one_piece(false, "{}"), (Err(None), false, false), "without a stream there is nothing to edit");
        assert_eq!(one_piece(true, "{}"), (Ok(()), false, true));
        assert_eq!(one_piece(false, r#"{"stream":true}"#), (Ok(()), true, true));
    }

    #[test]
    fn an_attempt_sends_the_body_with_its_edit_or_as_it_came() {
        let collected = |bytes: &'static [u8], last: &'static [u8]| {
            Arc::new(Collected { bytes: Bytes::from_static(bytes), last: Bytes::from_static(last), _room: None })
        };
        let all = |mut ahead: Ahead| std::iter::from_fn(|| ahead.next()).collect::<Vec<_>>();
        assert_eq!(all(Ahead::new(collected(b"", b""), None)), Vec::<Bytes>::new());
        assert_eq!(all(Ahead::new(collected(b"ab", b"c"), None)), ["ab", "c"]);
        let edits = Edits::from(Edit { start: 1, end: 2, text: "xy".into() });
        assert_eq!(all(Ahead::new(collected(b"abc", b""), Some(Arc::new(edits)))), ["a", "xy", "c"]);
    }
}
