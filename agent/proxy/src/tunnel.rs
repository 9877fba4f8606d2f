//! Bytes through, untouched: for hosts that are not providers, and for clients whose TLS is not opened.

mod pipe;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use self::pump::{Count, Pump};
use crate::socket;

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

/// Carries both ways until both have ended. `sent_already` are bytes that the client has sent and that were read to decide.
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
    let (mut there, mut back) = (Count::default(), Count::default());
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let mut there = Pump::new(from_client, to_server, &mut there);
        let back = Pump::new(from_server, to_client, &mut back);
        let there = async {
            there.send(sent_already).await?;
            there.run().await
        };
        tokio::try_join!(there, back.run())
    };
    // Of what a broken tunnel held, the server's bytes came from it, and the client's never reached it.
    *carried = Carried { sent: there.written, received: back.read };
    ended.map(drop).map_err(|error| {
        reset(client);
        reset(server);
        TunnelError::Broken(error)
    })
}

/// Makes the close that follows a reset instead of an orderly end.
pub(crate) fn reset(stream: &TcpStream) {
    // It fails only on a socket that is no longer connected, where there is nothing to reset.
    stream.set_zero_linger().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

    /// Bytes that tell where in the stream they are.
    fn pattern(length: usize) -> Vec<u8> {
        (0..length as u32 / 4).flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect()
    }

    #[tokio::test]
    async fn bulk_both_ways_at_once_arrives_as_it_was_sent_in_pieces_of_any_size() {
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"");
        let (up, down) = (pattern(24 << 20), pattern(16 << 20));
        let (mut app_reads, mut app_writes) = app.split();
        let (mut real_reads, mut real_writes) = real.split();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let upwards = async {
            // Small pieces, then large ones, then small ones again.
            let (first, rest) = up.split_at(64 * 1000);
            let (bulk, last) = rest.split_at(rest.len() - 64 * 1000);
            for piece in first.chunks(1000).chain([bulk]).chain(last.chunks(1000)) {
                app_writes.write_all(piece).await.expect("open");
                tokio::task::yield_now().await;
            }
            app_writes.shutdown().await.expect("open");
        };
        let downwards = async {
            real_writes.write_all(&down).await.expect("open");
            real_writes.shutdown().await.expect("open");
        };
        let ((), (), read_up, read_down) =
            tokio::join!(upwards, downwards, real_reads.read_to_end(&mut sent), app_reads.read_to_end(&mut received));
        read_up.and(read_down).expect("complete");
        assert!(sent == up && received == down, "not a byte differs");
        let (ended, carried) = tunnel.await.expect("no panic");
        ended.expect("both ended");
        assert_eq!(carried, Carried { sent: up.len() as u64, received: down.len() as u64 });
    }

    #[tokio::test]
    async fn a_reset_amid_bulk_resets_the_other_side() {
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"");
        let writer = tokio::spawn(async move {
            // Until it is broken off.
            while real.write_all(&vec![7; 64 * 1024]).await.is_ok() {}
        });
        let mut read = vec![0; 8 << 20];
        app.read_exact(&mut read).await.expect("carried");
        reset(&app);
        drop(app);
        let (ended, carried) = tunnel.await.expect("no panic");
        assert!(matches!(ended, Err(TunnelError::Broken(_))));
        assert!(carried.received >= read.len() as u64);
        writer.await.expect("the reset was passed on");
    }

    /// splice(2) gets no further than a byte of urgent data.
    #[tokio::test]
    async fn urgent_data_amid_bulk_stops_nothing() {
        use nix::sys::socket::{MsgFlags, send};
        use std::os::fd::AsRawFd as _;
        let ((mut app, client), (server, mut real)) = (pair().await, pair().await);
        let tunnel = carrying(client, server, b"");
        let writer = tokio::spawn(async move {
            app.write_all(&vec![1; 4 << 20]).await.expect("open");
            app.writable().await.expect("open");
            while send(app.as_raw_fd(), b"!", MsgFlags::MSG_OOB).is_err() {
                tokio::task::yield_now().await;
            }
            app.write_all(&vec![2; 4 << 20]).await.expect("open");
        });
        let mut read = Vec::new();
        real.read_to_end(&mut read).await.expect("complete");
        writer.await.expect("all was sent");
        drop(real);
        // What is urgent is no part of the stream that others read.
        assert_eq!(read.len(), 8 << 20);
        assert_eq!(tunnel.await.expect("no panic").1.sent, 8 << 20);
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
