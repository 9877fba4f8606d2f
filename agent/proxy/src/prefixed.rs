//! A connection whose first bytes were read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads the given bytes first, then the stream.
#[derive(Debug)]
pub(crate) struct Prefixed {
    stream: TcpStream,
    prefix: Vec<u8>,
    read: usize,
}

impl Prefixed {
    pub(crate) fn new(stream: TcpStream, prefix: Vec<u8>) -> Self {
        Self { stream, prefix, read: 0 }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read < self.prefix.len() {
            let end = self.prefix.len().min(self.read + buf.remaining());
            buf.put_slice(&self.prefix[self.read..end]);
            self.read = end;
            if end == self.prefix.len() {
                // The hello is not needed again; connections are many and long.
                self.prefix = Vec::new();
                self.read = 0;
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

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
    }
}
