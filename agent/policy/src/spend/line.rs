//! Those who wait for room in one cell: in turn between callers, in order of arrival within one.
//!
//! One of them at most is in front, and it alone is woken: it tries, and whether it gets what it needs, finds that something else
//! has no room, gives up or is dropped, it leaves, and that puts the next in front. So each bit of room wakes one, and none is lost.

use std::collections::VecDeque;
use std::task::Waker;

use super::meter::{Bound, Meter};

/// So many wait for one cell at most. Who comes then takes the place of the last of the caller with the most, if that has more.
pub(crate) const LONGEST: usize = 1024;

/// Wakes somebody once all locks are released: a waker may drop a future, and that may want the same lock.
#[derive(Debug, Default)]
#[must_use = "somebody has to be woken"]
pub(crate) struct Wake(Option<Waker>);

impl Wake {
    /// Does it. No lock may be held.
    pub(crate) fn wake(self) {
        if let Some(waker) = self.0 {
            waker.wake();
        }
    }
}

/// One who comes to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Who calls: turns go round these.
    pub(crate) caller: u64,
    /// The lower came first. No two are the same.
    pub(crate) order: u64,
    /// What it needs.
    pub(crate) need: i128,
    /// Of what.
    pub(crate) bound: Bound,
    /// Until when it waits.
    pub(crate) deadline: u64,
}

#[derive(Debug)]
struct Waiting {
    arrival: Arrival,
    waker: Option<Waker>,
    /// It is to try, and does not know yet.
    called: bool,
}

#[derive(Debug)]
struct Queue {
    caller: u64,
    waiting: VecDeque<Waiting>,
}

/// How it stands with one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is its turn to try.
    Called,
    /// It is not, or it has tried since.
    Waiting,
    /// No more in the line: it was too long.
    Out,
}

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// In the order in which they have their turns, none empty.
    queues: VecDeque<Queue>,
    length: usize,
    /// The `order` of who is in front.
    front: Option<u64>,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Who alone may take something. Where nobody is in front, all that wait have too little time for what they need, and hold
    /// nobody up.
    pub(crate) fn front(&self) -> Option<u64> {
        self.front
    }

    /// Puts somebody in, before those of the same caller that came later. The error is a line that is too long.
    pub(crate) fn join(&mut self, arrival: Arrival) -> Result<Wake, ()> {
        let own = self.queues.iter().position(|queue| queue.caller == arrival.caller);
        let mut wake = Wake::default();
        if self.length >= LONGEST {
            wake = self.make_room(own.map_or(0, |own| self.queues[own].waiting.len())).ok_or(())?;
        }
        // Places move when room was made.
        let own = self.queues.iter().position(|queue| queue.caller == arrival.caller).unwrap_or_else(|| {
            self.queues.push_back(Queue { caller: arrival.caller, waiting: VecDeque::new() });
            self.queues.len() - 1
        });
        let waiting = &mut self.queues[own].waiting;
        let place = waiting.partition_point(|other| other.arrival.order < arrival.order);
        waiting.insert(place, Waiting { arrival, waker: None, called: false });
        self.length += 1;
        Ok(wake)
    }

    /// Turns the last of the longest queue away, if that is longer than one of `own` would be.
    fn make_room(&mut self, own: usize) -> Option<Wake> {
        let longest = self.queues.iter_mut().max_by_key(|queue| queue.waiting.len())?;
        if longest.waiting.len() <= own + 1 {
            return None;
        }
        let out = longest.waiting.pop_back()?;
        self.length -= 1;
        if self.front == Some(out.arrival.order) {
            self.front = None;
        }
        Some(Wake(out.waker))
    }

    /// Takes somebody out. A caller that was `served` has its next turn after all the others.
    pub(crate) fn leave(&mut self, order: u64, served: bool) {
        let Some((queue, place)) = self.find(order) else { return };
        self.queues[queue].waiting.remove(place);
        self.length -= 1;
        if self.front == Some(order) {
            self.front = None;
        }
        if served && let Some(own) = self.queues.remove(queue) {
            self.queues.push_back(own);
        }
        self.queues.retain(|queue| !queue.waiting.is_empty());
    }

    fn find(&self, order: u64) -> Option<(usize, usize)> {
        self.queues.iter().enumerate().find_map(|(at, queue)| {
            let place = queue.waiting.binary_search_by_key(&order, |waiting| waiting.arrival.order).ok()?;
            Some((at, place))
        })
    }

    /// How it stands with somebody, and whom to wake when that changes. The waker that was there before is handed back.
    pub(crate) fn stand(&mut self, order: u64, waker: &Waker) -> (Standing, Option<Waker>) {
        let Some((queue, place)) = self.find(order) else { return (Standing::Out, None) };
        let waiting = &mut self.queues[queue].waiting[place];
        let before = match &waiting.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => waiting.waker.replace(waker.clone()),
        };
        let standing = if std::mem::take(&mut waiting.called) { Standing::Called } else { Standing::Waiting };
        (standing, before)
    }

    /// Puts in front whose turn it is, after anything changed: the first for whom there is room, or will be in time if nothing
    /// else happens. Those for whom there will not be let others by, so that what is refused in the end starves nobody.
    ///
    /// With `is_new`, room came or went otherwise than by time, and who is in front sleeps for the wrong while.
    pub(crate) fn appoint(&mut self, meter: &Meter, now: u64, is_new: bool) -> Wake {
        let next = self.queues.iter().flat_map(|queue| &queue.waiting).find_map(|waiting| {
            let arrival = waiting.arrival;
            match meter.shortage(arrival.need, arrival.bound) {
                None => Some((arrival.order, true)),
                Some(shortage) if shortage.is_never => None,
                Some(shortage) => {
                    let in_time = shortage.room_in.is_none_or(|room| now.saturating_add(room) <= arrival.deadline);
                    in_time.then_some((arrival.order, false))
                }
            }
        });
        let was = std::mem::replace(&mut self.front, next.map(|(order, _)| order));
        match next {
            Some((order, false)) if was == Some(order) && !is_new => Wake::default(),
            Some((order, _)) => self.call(order),
            None => Wake::default(),
        }
    }

    fn call(&mut self, order: u64) -> Wake {
        let Some((queue, place)) = self.find(order) else { return Wake::default() };
        let waiting = &mut self.queues[queue].waiting[place];
        waiting.called = true;
        Wake(waiting.waker.clone())
    }
}
