//! The decrypted byte stream of one connection, with what faults need: reset, and writing a head by hand.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::heads::Heads;

/// What is known about a connection, shared by its byte stream and its requests.
pub(crate) struct Conn {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) resumed: bool,
    pub(crate) http2: bool,
    pub(crate) requests: AtomicU32,
    pub(crate) heads: Mutex<Heads>,
    /// Ask the connection to finish politely: GOAWAY, or `connection: close`.
    pub(crate) retire: Notify,
    kill: Notify,
    resetting: AtomicBool,
    overridden: AtomicBool,
    by_hand: Mutex<Option<Bytes>>,
}

impl Conn {
    pub(crate) fn new(id: u64, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            id,
            peer,
            local,
            sni: None,
            alpn: None,
            resumed: false,
            http2: false,
            requests: AtomicU32::new(0),
            heads: Mutex::default(),
            retire: Notify::new(),
            kill: Notify::new(),
            resetting: AtomicBool::new(false),
            overridden: AtomicBool::new(false),
            by_hand: Mutex::new(None),
        }
    }

    /// Drops the connection now; with a TCP reset if asked.
    pub(crate) fn kill(&self, reset: bool) {
        self.resetting.store(reset, Ordering::SeqCst);
        self.kill.notify_one();
    }

    pub(crate) async fn killed(&self) {
        self.kill.notified().await;
    }

    /// Writes `bytes` in place of all that the HTTP library writes from now on.
    pub(crate) fn write_by_hand(&self, bytes: Bytes) {
        *self.by_hand.lock() = Some(bytes);
        self.overridden.store(true, Ordering::SeqCst);
    }
}

/// The TLS stream under the HTTP library.
pub(crate) struct Wire {
    tls: TlsStream<TcpStream>,
    conn: std::sync::Arc<Conn>,
    by_hand: Bytes,
}

impl Wire {
    pub(crate) fn new(tls: TlsStream<TcpStream>, conn: std::sync::Arc<Conn>) -> Self {
        Self { tls, conn, by_hand: Bytes::new() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tls).poll_read(cx, buffer))?;
        if !self.conn.http2 {
            self.conn.heads.lock().feed(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if !self.conn.overridden.load(Ordering::SeqCst) {
            return Pin::new(&mut self.tls).poll_write(cx, data);
        }
        let this = &mut *self;
        if let Some(bytes) = this.conn.by_hand.lock().take() {
            this.by_hand = bytes;
        }
        while this.by_hand.has_remaining() {
            let written = ready!(Pin::new(&mut this.tls).poll_write(cx, &this.by_hand))?;
            this.by_hand.advance(written);
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.conn.resetting.load(Ordering::SeqCst) {
            // Closing with zero linger sends RST. If it fails the peer is gone, which is as good.
            drop(self.tls.get_ref().0.set_zero_linger());
        }
    }
}
