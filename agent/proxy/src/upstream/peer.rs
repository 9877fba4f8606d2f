//! What an HTTP/2 server allows at the moment. hyper tells it to the owner of the connection only, which is the task that drives it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::wire::Watched;
use crate::http::request::RequestBody;

type Connection = http2::Connection<TokioIo<Watched<TlsStream<TcpStream>>>, RequestBody, TokioExecutor>;

/// The server of one HTTP/2 connection.
pub(super) struct Peer {
    /// `None` once it has ended. Requests that still wait in it are told so by its drop.
    connection: Mutex<Option<Connection>>,
    streams: AtomicUsize,
    extended_connect: AtomicBool,
}

impl Peer {
    /// Drives the connection to its end on a task of its own.
    pub(super) fn drive(connection: Connection) -> Arc<Self> {
        let streams = AtomicUsize::new(connection.current_max_send_streams());
        let peer = Arc::new(Self {
            connection: Mutex::new(Some(connection)),
            streams,
            extended_connect: AtomicBool::default(),
        });
        tokio::spawn(Driver(Arc::clone(&peer)));
        peer
    }

    /// How many streams the server allows. Until it has said (SETTINGS, RFC 9113 § 6.5.2), 100 are assumed.
    pub(super) fn streams(&self) -> usize {
        self.refresh();
        self.streams.load(Relaxed)
    }

    /// Whether the server lets streams switch protocols (RFC 8441 § 3).
    pub(super) fn has_extended_connect(&self) -> bool {
        self.refresh();
        self.extended_connect.load(Relaxed)
    }

    /// Without waiting: while the connection is being driven, what was known before is good enough.
    fn refresh(&self) {
        let guard = self.connection.try_lock();
        if let Some(connection) = guard.as_ref().and_then(|guard| guard.as_ref()) {
            self.streams.store(connection.current_max_send_streams(), Relaxed);
            self.extended_connect.store(connection.is_extended_connect_protocol_enabled(), Relaxed);
        }
    }
}

struct Driver(Arc<Peer>);

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut guard = self.0.connection.lock();
        let Some(connection) = guard.as_mut() else { return Poll::Ready(()) };
        // An error is told to the requests themselves.
        drop(std::task::ready!(Pin::new(connection).poll(cx)));
        let ended = guard.take();
        drop(guard);
        drop(ended);
        Poll::Ready(())
    }
}
