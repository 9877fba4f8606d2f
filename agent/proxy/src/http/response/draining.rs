//! Reading a response to its end for the sake of its usage, which stands there, after its client has left.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tollgate_ledger::Outcome;

use super::Relaying;
use crate::observe::{Observer, UpstreamEvent};

/// How many responses are read on at a time. The provider is told of the others at once, as without this.
const MOST: usize = 256;

/// Bounds on reading on.
pub(in crate::http) struct Draining {
    timeout: Duration,
    limit: u64,
    room: Arc<Semaphore>,
    observer: Arc<dyn Observer>,
}

impl Draining {
    pub(in crate::http) fn new(timeout: Duration, limit: u64, observer: &Arc<dyn Observer>) -> Self {
        Self { timeout, limit, room: Arc::new(Semaphore::new(MOST)), observer: Arc::clone(observer) }
    }

    /// Reads on if there is room. Dropped instead, the exchange ends at once, as a client's that has gone.
    pub(super) fn begin(&self, mut relaying: Box<Relaying>) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        if relaying.open.exchange().is_none() {
            return;
        }
        self.observer.upstream(UpstreamEvent::ReadOn);
        relaying.open.left();
        runtime.spawn(read_on(relaying, self.timeout, self.limit, room));
    }
}

/// The exchange, which the agent waits for when it stops, ends with this.
async fn read_on(mut relaying: Box<Relaying>, within: Duration, limit: u64, _room: OwnedSemaphorePermit) {
    let has_ended = timeout(within, async {
        let mut bytes = 0;
        while bytes <= limit {
            match poll_fn(|context| relaying.poll_provider(context)).await {
                Some(Ok(frame)) if frame.is_trailers() => return true,
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => return false,
                None => return true,
            }
        }
        false
    });
    let lease = if has_ended.await == Ok(true) { relaying.lease.take() } else { None };
    if let Some(lease) = lease {
        lease.give_back();
    }
    relaying.open.end(Outcome::ClientGone);
}
