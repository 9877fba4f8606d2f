//! Reading a response to its end for the sake of its usage, which stands there, after its client has left.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tollgate_ledger::Outcome;

use super::{Rare, Relaying};
use crate::exchange::Open;
use crate::http::request::RequestSource;
use crate::http::splice::Answered;
use crate::observe::{Observer, UpstreamEvent};
use crate::upstream::{Outgoing, SendError};

/// How many responses are read on at a time. The provider is told of the others at once, as without this.
const MOST: usize = 256;

/// A request that is being sent until its answer comes.
pub(in crate::http) type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// What came of it.
pub(in crate::http) type Sent = (Result<Answered, SendError>, Outgoing);

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

    /// Waits for an answer. If the client leaves meanwhile, which drops this, and the request was sent as a whole, the answer is
    /// waited for and read all the same.
    pub(in crate::http) async fn wait(
        self: Arc<Self>,
        sending: Sending,
        open: Open,
        source: RequestSource,
    ) -> (Sent, Open) {
        let mut waiting = Waiting { draining: self, source, pending: Some((sending, open)) };
        let sent = poll_fn(|context| match &mut waiting.pending {
            Some((sending, _)) => sending.as_mut().poll(context),
            None => std::task::Poll::Pending,
        });
        let sent = sent.await;
        let (_, open) = waiting.pending.take().expect("it is taken here and when dropped");
        (sent, open)
    }

    /// Reads on if there is room. Dropped instead, the exchange ends at once, as a client's that has gone.
    pub(super) fn begin(&self, mut relaying: Box<Relaying>) {
        if let Some((runtime, room)) = self.room(&mut relaying.open) {
            runtime.spawn(read_on(relaying, Instant::now() + self.timeout, self.limit, room));
        }
    }

    fn room(&self, open: &mut Open) -> Option<(Handle, OwnedSemaphorePermit)> {
        open.exchange()?;
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let runtime = Handle::try_current().ok()?;
        self.observer.upstream(UpstreamEvent::ReadOn);
        open.left();
        Some((runtime, room))
    }
}

/// A request whose client may leave before the answer.
struct Waiting {
    draining: Arc<Draining>,
    source: RequestSource,
    pending: Option<(Sending, Open)>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some((sending, mut open)) = self.pending.take() else { return };
        // Of half a request nothing comes.
        if self.source.is_sent()
            && let Some((runtime, room)) = self.draining.room(&mut open)
        {
            let Draining { timeout, limit, .. } = *self.draining;
            runtime.spawn(wait_on(sending, open, Instant::now() + timeout, limit, room));
        }
    }
}

async fn wait_on(sending: Sending, mut open: Open, until: Instant, limit: u64, room: OwnedSemaphorePermit) {
    let Answered { response, lease, read } = match timeout_at(until, sending).await {
        Ok((Ok(answered), _)) => answered,
        // There was no answer, whoever might have waited for it: nothing is owed.
        Ok((Err(error), _)) => return open.end(Outcome::UpstreamFailed(error.failure())),
        Err(_elapsed) => return open.end(Outcome::ClientGone),
    };
    if let Some(exchange) = open.exchange() {
        exchange.answered(response.status(), response.headers());
    }
    let rare = Some(Box::new(Rare::new(read, None, None)));
    let inner = response.into_body();
    let relaying = Relaying { inner, open, lease: Some(lease), framed: false, cut: None, rare };
    read_on(Box::new(relaying), until, limit, room).await;
}

/// The exchange, which the agent waits for when it stops, ends with this.
async fn read_on(mut relaying: Box<Relaying>, until: Instant, limit: u64, _room: OwnedSemaphorePermit) {
    let has_ended = timeout_at(until, async {
        let mut bytes = 0;
        while bytes <= limit {
            match poll_fn(|context| relaying.poll_provider(context)).await {
                Some(Ok(frame)) if frame.is_trailers() => return true,
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    bytes += length as u64;
                    if relaying.is_spent(length) {
                        return false;
                    }
                }
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
