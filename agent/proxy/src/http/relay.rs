//! After a switch of protocols (WebSocket, for one) the bytes go through as they are.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tollgate_ledger::{Outcome, UpstreamFailure};

use crate::exchange::Open;
use crate::upstream::{Lease, Watched, Wire};

/// Relays until both sides have closed, and then ends the exchange. The lease is held as long.
pub(super) async fn relay(client: OnUpgrade, server: OnUpgrade, mut open: Open, _lease: Lease) {
    let (client, server) = match tokio::join!(client, server) {
        (Ok(client), Ok(server)) => (client, server),
        (Err(_), _) => return open.end(Outcome::ClientGone),
        (_, Err(_)) => return open.end(Outcome::UpstreamFailed(UpstreamFailure::Reset)),
    };
    let wire = Arc::new(Wire::default());
    let mut server = Watched::new(TokioIo::new(server), Arc::clone(&wire));
    let result = copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
    if let Some(exchange) = open.exchange() {
        exchange.relayed(wire.sent(), wire.received());
    }
    open.end(match result {
        Ok(_) => Outcome::Completed,
        Err(_) if wire.has_ended() => Outcome::UpstreamFailed(UpstreamFailure::Reset),
        Err(_) => Outcome::ClientGone,
    });
}
