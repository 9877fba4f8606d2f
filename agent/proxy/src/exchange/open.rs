//! Who holds an exchange, from its beginning to its settlement.

use std::time::Duration;

use tokio::sync::mpsc;
use tollgate_ledger::Outcome;

use super::Exchange;
use crate::drain;
use crate::http::request::RequestSource;

/// An exchange in progress, held by what drives it.
pub(crate) struct Open {
    exchange: Option<Box<Exchange>>,
    /// Who settles it once its end was flushed; none where that is whoever ends it.
    settlements: Option<mpsc::UnboundedSender<Ended>>,
    drain: drain::Watch,
    /// When the client left, where the exchange goes on without it.
    left: Option<Duration>,
}

impl Open {
    pub(crate) fn new(
        exchange: Exchange,
        settlements: Option<mpsc::UnboundedSender<Ended>>,
        drain: drain::Watch,
    ) -> Self {
        Self { exchange: Some(Box::new(exchange)), settlements, drain, left: None }
    }

    /// The exchange; `None` once it has ended.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.exchange.as_deref_mut()
    }

    /// Somebody else begins it anew, and nothing of it has left.
    pub(crate) fn hand_over(&mut self) {
        if let Some(exchange) = &mut self.exchange.take() {
            exchange.settled = true;
        }
    }

    /// Takes the exchange out of the hands of one who goes no further with it.
    pub(crate) fn carry(&mut self) -> Self {
        Self { exchange: self.exchange.take(), settlements: None, drain: self.drain.clone(), left: None }
    }

    /// Somebody else goes on with it, and reads its request from the start.
    pub(crate) fn carried_on(mut self, source: RequestSource, settlements: mpsc::UnboundedSender<Ended>) -> Self {
        if let Some(exchange) = &mut self.exchange {
            exchange.request = source.into();
        }
        self.settlements = Some(settlements);
        self
    }

    /// The client has left, and the exchange goes on without it. Its duration is known.
    pub(crate) fn left(&mut self) {
        self.left = self.exchange.as_ref().map(|exchange| exchange.started.elapsed());
    }

    /// Ends the exchange. Only the first end counts.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        let Some(exchange) = self.exchange.take() else { return };
        let duration = self.left.unwrap_or_else(|| exchange.started.elapsed());
        let ended = Ended { exchange: Some(exchange), outcome, duration, drain: self.drain.clone() };
        let ended = match &self.settlements {
            Some(settlements) => settlements.send(ended).err().map(|mpsc::error::SendError(ended)| ended),
            None => Some(ended),
        };
        if let Some(ended) = ended {
            // There is no flush to wait for, or the connection's task is gone.
            ended.settle();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // hyper drops what it no longer has a client for, and the runtime what has not ended when the agent does.
        self.end(if self.drain.is_abandoned() { Outcome::Stopped } else { Outcome::ClientGone });
    }
}

/// An exchange that has ended and is yet to be settled.
pub(crate) struct Ended {
    exchange: Option<Box<Exchange>>,
    outcome: Outcome,
    duration: Duration,
    drain: drain::Watch,
}

impl Ended {
    /// Looks at what is left to look at, and has the observer told.
    pub(crate) fn settle(mut self) {
        self.settle_once();
    }

    fn settle_once(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.settle(self.outcome, self.duration, &self.drain);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It was still in the queue of a connection whose task was dropped.
        self.settle_once();
    }
}
