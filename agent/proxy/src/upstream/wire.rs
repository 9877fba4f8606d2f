//! What came over a connection, as seen below HTTP: the evidence on which a repeat is decided.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
    ended: AtomicBool,
    forgiving: AtomicBool,
}

impl Wire {
    /// Bytes received so far, inside TLS.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes sent so far, inside TLS.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether writes to a server that has closed are to be dropped instead of failing. A server may answer and close before it
    /// has read the request, and its answer is still there to be read; hyper would give up at the first failed write.
    pub(crate) fn forgive(&self, forgive: bool) {
        self.forgiving.store(forgive, Relaxed);
    }

    /// Whether the server has closed its side, or the connection broke.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// A stream that keeps a [`Wire`] up to date.
pub(crate) struct Watched<T> {
    io: T,
    wire: Arc<Wire>,
}

impl<T> Watched<T> {
    pub(crate) fn new(io: T, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }

    fn note<V>(&self, result: io::Result<V>) -> io::Result<V> {
        if result.is_err() {
            self.wire.ended.store(true, Relaxed);
        }
        result
    }

    fn note_sent(&self, result: io::Result<usize>, all: usize) -> io::Result<usize> {
        if let Ok(count) = &result {
            self.wire.sent.fetch_add(*count as u64, Relaxed);
        }
        self.forgive(self.note(result), all)
    }

    /// Reading tells the end in any case.
    fn forgive<V>(&self, result: io::Result<V>, instead: V) -> io::Result<V> {
        let closed = |error: &io::Error| matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        match result {
            Err(error) if closed(&error) && self.wire.forgiving.load(Relaxed) => Ok(instead),
            result => result,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining();
        let result = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        self.wire.received.fetch_add(count as u64, Relaxed);
        if count == 0 && room > 0 {
            self.wire.ended.store(true, Relaxed);
        }
        Poll::Ready(self.note(result))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.note_sent(result, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.note_sent(result, bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = std::task::ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(self.forgive(self.note(result), ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A server that has answered and closed without reading.
    async fn answered_early(forgiving: bool) -> Watched<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(&[0; 1000]).await.unwrap();
        server.readable().await.unwrap();
        server.write_all(b"answer").await.unwrap();
        // What was sent and not read makes this a reset.
        drop(server);
        let wire = Arc::new(Wire::default());
        wire.forgive(forgiving);
        Watched::new(client, wire)
    }

    /// Writes until it fails, or for a while: the reset may still be on its way.
    async fn write(to: &mut Watched<TcpStream>) -> io::Result<()> {
        for _ in 0..1000 {
            to.write_all(&[0; 1000]).await?;
            to.flush().await?;
            if to.wire.has_ended() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_is_read_though_the_server_reads_no_more() {
        let mut stream = answered_early(true).await;
        write(&mut stream).await.unwrap();
        assert!(stream.wire.has_ended(), "it is not used again");
        let mut answer = Vec::new();
        let _reset: io::Result<usize> = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"answer");
    }

    #[tokio::test]
    async fn otherwise_a_failed_write_fails() {
        let mut stream = answered_early(false).await;
        assert!(write(&mut stream).await.is_err());
    }
}
