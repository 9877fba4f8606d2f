//! Stopping without cutting anybody off.
//!
//! Ownership is the protocol: whoever still has work holds a [`Watch`]; a drain is complete when the last one is dropped.
//! [`Watch::signaled`] tells the holder to take nothing new and finish what it has.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// A drain that has not begun, and the first of its watches.
pub fn channel() -> (Trigger, Watch) {
    let (signal, signaled) = watch::channel(false);
    let (alive, finished) = mpsc::channel(1);
    (Trigger { signal, finished }, Watch { signaled, _alive: alive })
}

/// Starts the drain and waits for it.
#[derive(Debug)]
pub struct Trigger {
    signal: watch::Sender<bool>,
    finished: mpsc::Receiver<Infallible>,
}

/// Held by everything that a drain must wait for. Clones are waited for too.
#[derive(Clone, Debug)]
pub struct Watch {
    signaled: watch::Receiver<bool>,
    _alive: mpsc::Sender<Infallible>,
}

/// Some work did not finish within the time allowed.
#[derive(Debug, thiserror::Error)]
#[error("work in flight did not finish within {0:?}")]
pub struct Overdue(pub Duration);

impl Trigger {
    /// Signals every watch, then waits until the last is dropped, at most `limit`.
    pub async fn drain(mut self, limit: Duration) -> Result<(), Overdue> {
        self.signal.send_replace(true);
        match tokio::time::timeout(limit, self.finished.recv()).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(Overdue(limit)),
        }
    }
}

impl Watch {
    /// Returns when the drain begins; also when its trigger is gone, because nobody would wait then.
    pub async fn signaled(&self) {
        // An error means that the trigger is gone, which ends the wait just as a signal does.
        drop(self.signaled.clone().wait_for(|draining| *draining).await);
    }

    /// Whether nobody waits any more: what is still in flight is cut off.
    pub fn is_abandoned(&self) -> bool {
        self.signaled.has_changed().is_err()
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.signaled.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_waits_for_the_last_clone() {
        let (trigger, watch) = channel();
        let second = watch.clone();
        let worker = tokio::spawn(async move {
            second.signaled().await;
            tokio::task::yield_now().await;
            drop(second);
            true
        });
        drop(watch);
        trigger.drain(Duration::from_mins(1)).await.expect("both watches are dropped");
        assert!(worker.await.expect("the worker ends"));
    }

    #[tokio::test(start_paused = true)]
    async fn drain_gives_up_at_its_limit_and_says_so() {
        let (trigger, watch) = channel();
        let overdue = trigger.drain(Duration::from_secs(5)).await.expect_err("a watch is still held");
        assert!(overdue.to_string().contains("5s"));
        assert!(watch.is_draining());
        assert!(watch.is_abandoned());
    }
}
