//! After a switch of protocols (WebSocket, for one) the bytes go through as they are, and a session may look at them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::either::Either;
use tollgate_ledger::{Outcome, UpstreamFailure};

use super::websocket::guarded::{self, Over};
use super::websocket::{Session, Tapped};
use crate::exchange::Open;
use crate::http2::{Received, Switched};
use crate::upstream::{Lease, Watched, Wire};

/// How long what was relayed last may take to leave.
const FLUSH: Duration = Duration::from_secs(5);

/// A connection or a stream that is about to switch to another protocol.
pub(super) enum Switch {
    /// A connection of HTTP/1.1.
    Http1(OnUpgrade),
    /// A client's stream, which has switched with its answer.
    Http2(oneshot::Receiver<Switched>),
    /// A provider's, which has.
    Done(Box<Switched>),
    /// There is none.
    Never,
}

impl Switch {
    /// The provider's.
    pub(super) fn of(response: &mut Response<Received>) -> Self {
        if let Received::Http1(_) = response.body() {
            return Self::Http1(hyper::upgrade::on(response));
        }
        match std::mem::replace(response.body_mut(), Received::Nothing) {
            Received::Switched(switched) => Self::Done(switched),
            _ => Self::Never,
        }
    }

    /// Waits for it. `None` if it does not come about.
    async fn done(self) -> Option<Either<TokioIo<Upgraded>, Box<Switched>>> {
        match self {
            Self::Http1(switch) => Some(Either::Left(TokioIo::new(switch.await.ok()?))),
            Self::Http2(switched) => Some(Either::Right(Box::new(switched.await.ok()?))),
            Self::Done(switched) => Some(Either::Right(switched)),
            Self::Never => None,
        }
    }
}

/// Relays until both sides have closed, and then ends the exchange. The lease is held as long.
pub(super) async fn relay(client: Switch, server: Switch, mut open: Open, session: Option<Box<Session>>, lease: Lease) {
    // From here on either direction's end is the other's too.
    lease.switched();
    let (client, server) = match tokio::join!(client.done(), server.done()) {
        (Some(client), Some(server)) => (client, server),
        (None, _) => return open.end(Outcome::ClientGone),
        (_, None) => return open.end(Outcome::UpstreamFailed(UpstreamFailure::Reset)),
    };
    let wire = Arc::new(Wire::default());
    let mut relayed = Relayed { open, wire: Arc::clone(&wire) };
    let mut client = Tapped { io: client, session };
    let mut server = Watched::new(server, Arc::clone(&wire));
    let result = match client.session.take() {
        Some(session) if session.is_guarded() => {
            let session = Mutex::new(*session);
            let result = guarded::relay(&mut client.io, &mut server, &session).await;
            client.session = Some(Box::new(session.into_inner()));
            result
        }
        session => {
            client.session = session;
            copy_bidirectional(&mut client, &mut server).await.map(|_| Over::Closed)
        }
    };
    if result.is_err() {
        // The side that broke is not waited for, and the other is dropped without an orderly close, as it happened here.
        drop(tokio::join!(timeout(FLUSH, client.flush()), timeout(FLUSH, server.flush())));
    }
    let outcome = match result {
        Ok(Over::Closed) => Outcome::Completed,
        Ok(Over::Ended(outcome)) => outcome,
        // Closed without TLS's own goodbye, as many do after a WebSocket's.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Outcome::Completed,
        // The ends need not wait for each other's last packets, and a reset may come of it.
        Err(_) if client.session.as_ref().is_some_and(|session| session.is_closed()) => Outcome::Completed,
        Err(_) if wire.has_ended() => Outcome::UpstreamFailed(UpstreamFailure::Reset),
        Err(_) => Outcome::ClientGone,
    };
    if let (Some(rule), Some(exchange)) =
        (client.session.as_ref().and_then(|session| session.ended_for()), relayed.open.exchange())
    {
        exchange.rule = Some(rule);
    }
    let lost = client.session.take().and_then(|session| session.end(outcome));
    if let (Some((operation, reason)), Some(exchange)) = (lost, relayed.open.exchange()) {
        exchange.lost_track(operation, reason);
    }
    relayed.count();
    relayed.open.end(outcome);
    drop(lease);
}

/// An exchange whose bytes are counted at its end, also when the agent's comes first.
struct Relayed {
    open: Open,
    wire: Arc<Wire>,
}

impl Relayed {
    fn count(&mut self) {
        if let Some(exchange) = self.open.exchange() {
            exchange.relayed(self.wire.sent(), self.wire.received());
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.count();
    }
}
