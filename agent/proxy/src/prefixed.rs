//! A connection of which something was read that somebody else is to read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads the given bytes first, then the connection.
#[derive(Debug)]
pub(crate) struct Prefixed<T> {
    io: T,
    prefix: Vec<u8>,
    read: usize,
}

impl<T> Prefixed<T> {
    pub(crate) fn new(io: T, prefix: Vec<u8>) -> Self {
        Self { io, prefix, read: 0 }
    }

    /// Has these bytes read first. Those of an earlier time must all have been read.
    pub(crate) fn rewind(self, prefix: Vec<u8>) -> Self {
        debug_assert!(self.prefix.is_empty(), "bytes were forgotten");
        Self::new(self.io, prefix)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let end = self.prefix.len().min(self.read + buf.remaining());
        buf.put_slice(&self.prefix[self.read..end]);
        self.read = end;
        if end == self.prefix.len() {
            // They are not needed again; connections are many and long.
            self.prefix = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn the_prefix_is_read_before_the_stream_in_pieces_of_any_size() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut app = near.expect("connects");
        app.write_all(b" then the stream").await.expect("open");
        drop(app);
        let mut stream = Prefixed::new(far.expect("accepts").0, b"first the prefix,".to_vec());
        let mut read = Vec::new();
        let mut piece = [0; 3];
        loop {
            match stream.read(&mut piece).await.expect("open") {
                0 => break,
                n => read.extend_from_slice(&piece[..n]),
            }
        }
        assert_eq!(read, b"first the prefix, then the stream");
        let mut stream = stream.rewind(b"and once more".to_vec());
        let mut again = Vec::new();
        stream.read_to_end(&mut again).await.expect("open");
        assert_eq!(again, b"and once more");
    }
}
