//! One group's share of a budget or limit, and how several of them are taken from at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::line::{Arrival, Line, Standing, Wake};
use super::meter::{Bound, Meter, Shortage, Sum};
use crate::sync::{Arc, Mutex};

/// What one group has used, and who of it waits.
#[derive(Debug)]
pub(crate) struct Cell {
    /// In this order cells are locked. No two have the same.
    id: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    meter: Meter,
    /// Most cells never have one.
    line: Option<Box<Line>>,
}

/// What a call wants of one cell.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) cell: Arc<Cell>,
    pub(crate) need: i128,
    pub(crate) bound: Bound,
    /// Where there is no room: whether the call is refused, and if it is not, whether it is taken all the same.
    pub(crate) lack: Lack,
}

/// What becomes of a claim for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The call is refused.
    Refuse,
    /// It goes on, and this is taken.
    Overdraw,
    /// It goes on, and this is not taken.
    Skip,
}

/// A claim that stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// Its place among the claims.
    pub(crate) claim: usize,
    /// Why; `None` where there is room, and others wait for it.
    pub(crate) shortage: Option<Shortage>,
    /// It is this call's turn: when there is room, it has to try by itself.
    pub(crate) is_in_front: bool,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Cell {
    pub(crate) fn new(meter: Meter) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), state: Mutex::new(State { meter, line: None }) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Does something with a budget's sum.
    pub(crate) fn sum<T>(&self, with: impl FnOnce(&mut Sum) -> T) -> Option<T> {
        match &mut self.state.lock().meter {
            Meter::Sum(sum) => Some(with(sum)),
            Meter::Bucket(_) | Meter::Gauge(_) => None,
        }
    }

    /// So much was taken, and so much used in the end. Who waits may go on.
    pub(crate) fn settle(&self, taken: i128, used: i128, now: u64) -> Wake {
        let mut state = self.state.lock();
        state.meter.pass(now);
        state.meter.settle(taken, used);
        state.appoint(now, true)
    }

    /// Puts somebody into the line. The error is a line that is too long.
    pub(crate) fn join(&self, arrival: Arrival, now: u64) -> Result<[Wake; 2], ()> {
        let mut state = self.state.lock();
        state.meter.pass(now);
        let out = state.line.get_or_insert_default().join(arrival)?;
        Ok([out, state.appoint(now, false)])
    }

    /// Takes somebody out of the line.
    pub(crate) fn leave(&self, order: u64, served: bool, now: u64) -> Wake {
        let mut state = self.state.lock();
        state.meter.pass(now);
        if let Some(line) = &mut state.line {
            line.leave(order, served);
        }
        state.appoint(now, false)
    }

    /// How it stands with somebody in the line, and whom to wake when that changes.
    pub(crate) fn stand(&self, order: u64, waker: &Waker) -> Standing {
        let (standing, before) = match &mut self.state.lock().line {
            Some(line) => line.stand(order, waker),
            None => (Standing::Out, None),
        };
        drop(before);
        standing
    }

    /// Whether nothing would be lost if it were dropped and made anew.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        let mut state = self.state.lock();
        state.meter.pass(now);
        state.meter.is_idle() && state.line.is_none()
    }
}

impl State {
    fn appoint(&mut self, now: u64, is_new: bool) -> Wake {
        let Some(line) = &mut self.line else { return Wake::default() };
        if line.is_empty() {
            self.line = None;
            return Wake::default();
        }
        line.appoint(&self.meter, now, is_new)
    }
}

/// Takes all that is claimed, or nothing. Gives the claims that had no room and did not refuse, or all those that did.
///
/// The claims must be in the order of their cells, so that two calls never wait for each other's locks. All locks are held
/// until it is certain, so nobody is refused because of somebody else who is refused himself.
///
/// One who waits, and so has an `order`, passes a line whose front came later. Otherwise those in front of several lines could be in
/// each other's way for ever, each leaving its line for that of another, though there is room for all.
pub(crate) fn take_all(claims: &[Claim], order: u64, now: u64) -> Result<Vec<usize>, Vec<Blocked>> {
    let mut blocked = Vec::new();
    let mut lacking = Vec::new();
    let mut wakes = Vec::new();
    let mut states: Vec<_> = claims.iter().map(|claim| claim.cell.state.lock()).collect();
    for (place, (claim, state)) in claims.iter().zip(&mut states).enumerate() {
        if state.meter.refresh(now, claim.bound) {
            wakes.push(state.appoint(now, true));
        }
        let shortage = state.meter.shortage(claim.need, claim.bound);
        let front = state.line.as_ref().and_then(|line| line.front());
        let may_try = claim.need == 0 || front.is_none_or(|front| order <= front);
        if shortage.is_none() && (may_try || claim.lack != Lack::Refuse) {
            continue;
        }
        match claim.lack {
            Lack::Refuse => blocked.push(Blocked { claim: place, shortage, is_in_front: front == Some(order) }),
            Lack::Overdraw | Lack::Skip => lacking.push(place),
        }
    }
    if blocked.is_empty() {
        for (place, (claim, state)) in claims.iter().zip(&mut states).enumerate() {
            if claim.lack != Lack::Skip || !lacking.contains(&place) {
                state.meter.take(claim.need);
            }
        }
    }
    drop(states);
    wakes.into_iter().for_each(Wake::wake);
    if blocked.is_empty() { Ok(lacking) } else { Err(blocked) }
}
