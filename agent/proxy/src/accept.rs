//! Takes connections off a listener, and ties each to the flow that the kernel remembered for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tollgate_kernel::Flow;

use crate::connection::Proxy;
use crate::drain;

/// How long accepting pauses when the process has run out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a draining listener waits for connections that were redirected just before it was withdrawn.
const LAST_CALL: Duration = Duration::from_millis(200);

/// Where the flow of an accepted connection is found: the kernel's map, for the listener's network namespace.
pub trait Flows: Send + Sync + 'static {
    /// The flow of the connection whose local address, in the application's eyes, is `peer`. It is forgotten by this.
    fn take(&self, peer: SocketAddr) -> Option<Flow>;
}

impl<F: Fn(SocketAddr) -> Option<Flow> + Send + Sync + 'static> Flows for F {
    fn take(&self, peer: SocketAddr) -> Option<Flow> {
        self(peer)
    }
}

/// Accepts until the drain begins, then whatever is already on its way, then closes the listener.
///
/// Redirection to the listener must have been withdrawn before the drain begins, or late connections are reset.
pub async fn accept(listener: TcpListener, proxy: Arc<Proxy>, flows: Arc<dyn Flows>, drain: drain::Watch) {
    loop {
        tokio::select! {
            biased;
            () = drain.signaled() => break,
            accepted = listener.accept() => take(accepted, &proxy, &*flows, &drain).await,
        }
    }
    while let Ok(accepted) = tokio::time::timeout(LAST_CALL, listener.accept()).await {
        take(accepted, &proxy, &*flows, &drain).await;
    }
}

async fn take(
    accepted: io::Result<(TcpStream, SocketAddr)>,
    proxy: &Arc<Proxy>,
    flows: &dyn Flows,
    drain: &drain::Watch,
) {
    match accepted {
        Ok((client, peer)) => {
            let flow = flows.take(peer);
            let (proxy, drain) = (Arc::clone(proxy), drain.clone());
            // The task holds a watch of its own to its very end, so a drain waits for the last record too.
            tokio::spawn(async move { proxy.serve(client, flow, drain.clone()).await });
        }
        // The client gave up while it stood in the queue.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
        Err(error) => {
            tracing::error!(%error, "connections cannot be accepted; if it says too many open files, raise LimitNOFILE");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
