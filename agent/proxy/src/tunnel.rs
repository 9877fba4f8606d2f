//! Bytes through, untouched: for hosts that are not providers, and for clients whose TLS is not opened.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::socket;

/// Copied at once, each way. Two TLS records of the largest size (RFC 8446 § 5.1).
const BUFFER: usize = 32 * 1024;

/// What went through a tunnel, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Carried {
    /// From the client to the server.
    pub sent: u64,
    /// From the server to the client.
    pub received: u64,
}

/// Why a tunnel did not come about, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The real server did not answer in time.
    #[error("{address} did not answer within {limit:?}")]
    TimedOut {
        /// The address that the application had dialled.
        address: SocketAddr,
        /// How long it was given.
        limit: Duration,
    },
    /// The real server refused, or could not be reached.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address that the application had dialled.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// One side broke the connection off; the other was then broken off too.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
}

/// Connects to where the application wanted to go.
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<TcpStream, TunnelError> {
    let stream = tokio::time::timeout(limit, socket::connect(address))
        .await
        .map_err(|_elapsed| TunnelError::TimedOut { address, limit })?
        .map_err(|source| TunnelError::Connect { address, source })?;
    // Small packets of one side are small packets on the other: a tunnel must not add Nagle's delay.
    stream.set_nodelay(true).map_err(TunnelError::Broken)?;
    Ok(stream)
}

/// Copies both ways until both have ended. `sent_already` are bytes that the client has sent and that were read to decide.
/// `carried` tells what went through, also when the tunnel breaks.
///
/// The end of one direction is passed on (half-close) while the other goes on. A reset on one side resets the other, so
/// that neither takes a broken stream for a complete one.
pub async fn carry(
    client: &mut TcpStream,
    server: &mut TcpStream,
    sent_already: &[u8],
    carried: &mut Carried,
) -> Result<(), TunnelError> {
    let mut counted = Counted { stream: server, carried };
    let copied = async {
        counted.write_all(sent_already).await?;
        tokio::io::copy_bidirectional_with_sizes(client, &mut counted, BUFFER, BUFFER).await
    };
    copied.await.map(drop).map_err(|error| {
        reset(client);
        reset(server);
        TunnelError::Broken(error)
    })
}

/// A server whose bytes are counted as they pass.
struct Counted<'a> {
    stream: &'a mut TcpStream,
    carried: &'a mut Carried,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut *self.stream).poll_read(cx, buf);
        self.carried.received += (buf.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, buf))?;
        self.carried.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

/// Makes the close that follows a reset instead of an orderly end.
pub(crate) fn reset(stream: &TcpStream) {
    // It fails only on a socket that is no longer connected, where there is nothing to reset.
    stream.set_zero_linger().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("connects"), far.expect("accepts").0)
    }

    fn carrying(
        mut client: TcpStream,
        mut server: TcpStream,
        sent_already: &'static [u8],
    ) -> tokio::task::JoinHandle<(Result<(), TunnelError>, Carried)> {
        tokio::spawn(async move {
            let mut carried = Carried::default();
            let ended = carry(&mut client, &mut server, sent_already, &mut carried).await;
            (ended, carried)
        })
    }

    #[tokio::test]
    async fn a_half_close_is_passed_on_while_the_other_way_goes_on() {
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"hel");
        app.write_all(b"lo").await.expect("open");
        app.shutdown().await.expect("half-close");
        let mut request = Vec::new();
        real.read_to_end(&mut request).await.expect("the half-close arrives");
        assert_eq!(request, b"hello");
        real.write_all(b"an answer, after the end of the request").await.expect("the other way is open");
        drop(real);
        let mut answer = Vec::new();
        app.read_to_end(&mut answer).await.expect("complete");
        assert_eq!(answer, b"an answer, after the end of the request");
        let (ended, carried) = tunnel.await.expect("no panic");
        ended.expect("both ended");
        assert_eq!(carried, Carried { sent: 5, received: 39 });
    }

    #[tokio::test]
    async fn a_reset_of_the_server_resets_the_client_and_what_went_through_is_counted() {
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"x");
        app.write_all(b"y").await.expect("open");
        real.read_exact(&mut [0; 2]).await.expect("carried");
        reset(&real);
        drop(real);
        let (ended, carried) = tunnel.await.expect("no panic");
        assert!(matches!(ended, Err(TunnelError::Broken(_))));
        assert_eq!(carried, Carried { sent: 2, received: 0 });
        let error = app.read_to_end(&mut Vec::new()).await.expect_err("not an orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_writer_back() {
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"");
        let total = 64 * 1024 * 1024;
        let writer = tokio::spawn(async move {
            app.write_all(&vec![7; total]).await.expect("carried in the end");
            drop(app);
        });
        // Nobody reads yet: the writer must be stuck in socket buffers, which hold far less than the whole.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!writer.is_finished(), "64 MiB cannot have been buffered on the way");
        let mut read = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match real.read(&mut buffer).await.expect("carried") {
                0 => break,
                n => read += n,
            }
        }
        assert_eq!(read, total);
        drop(real);
        assert_eq!(tunnel.await.expect("no panic").1.sent, total as u64);
    }

    #[tokio::test]
    async fn a_dead_address_is_named_in_the_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let error = dial(address, Duration::from_mins(1)).await.expect_err("nobody listens");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
