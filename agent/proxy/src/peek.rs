//! Reads just enough of a connection to know what it is, and loses none of it.
//!
//! ```text
//!            bytes ──► parser ──► hello            intercept or tunnel: the caller decides by its SNI
//! client ──┤                └───► not TLS, too long, too slow            tunnel
//!            silence ──► dial the server, wait for whoever speaks first: the server ──► tunnel
//! ```
//! A silent client costs nobody time: protocols in which the server speaks first see their greeting after
//! [`Limits::patience`], and a client that connects early and speaks late is still peeked at.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tollgate_tls::hello::{ClientHello, Parser, Progress};

use crate::tunnel::{TunnelError, dial};

/// How much a peek may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client may be silent before the real server is dialled to see whether it speaks first.
    pub patience: Duration,
    /// How long a ClientHello may take from its first byte to its last.
    pub timeout: Duration,
    /// How long the real server is given to accept.
    pub connect_timeout: Duration,
    /// How long a ClientHello may be, in bytes, its record headers included.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(250),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            bytes: tollgate_tls::hello::LIMIT,
        }
    }
}

/// What a connection turned out to be. `bytes` are all that the client has sent so far.
#[derive(Debug)]
pub enum Peeked {
    /// It begins with a TLS ClientHello.
    Hello {
        /// What the hello says.
        hello: ClientHello,
        /// The hello's bytes, and whatever came with it.
        bytes: Vec<u8>,
    },
    /// It is something else: to be passed on as it is.
    Opaque {
        /// Why it is taken for something else.
        why: Opaque,
        /// What the client sent.
        bytes: Vec<u8>,
        /// The connection to the real server, where one was made to see whether it speaks first.
        server: Option<TcpStream>,
    },
}

/// Why a connection was not taken for TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opaque {
    /// Its bytes are not a ClientHello, or it ended before it was one.
    NotTls,
    /// The ClientHello is longer than allowed.
    TooLarge,
    /// The ClientHello was not complete in time.
    TooSlow,
    /// The server spoke before the client did.
    ServerFirst,
}

/// Why nothing could be learned.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    /// The client's side of the connection failed.
    #[error("the client broke off: {0}")]
    Client(#[source] io::Error),
    /// The real server could not be reached while waiting for the client to speak.
    #[error(transparent)]
    Server(#[from] TunnelError),
}

/// Peeks at a connection that its application meant for `destination`.
pub async fn peek(client: &mut TcpStream, destination: SocketAddr, limits: Limits) -> Result<Peeked, PeekError> {
    let mut bytes = Vec::with_capacity(2_048);
    let mut server = None;
    let mut read = match tokio::time::timeout(limits.patience, client.read_buf(&mut bytes)).await {
        Ok(read) => read.map_err(PeekError::Client)?,
        Err(_silence) => {
            let dialled = dial(destination, limits.connect_timeout).await?;
            if server_speaks_first(client, &dialled).await.map_err(PeekError::Client)? {
                return Ok(Peeked::Opaque { why: Opaque::ServerFirst, bytes, server: Some(dialled) });
            }
            server = Some(dialled);
            client.read_buf(&mut bytes).await.map_err(PeekError::Client)?
        }
    };
    let deadline = Instant::now() + limits.timeout;
    let mut parser = Parser::with_limit(limits.bytes);
    let why = loop {
        if read == 0 {
            break Opaque::NotTls;
        }
        match parser.push(&bytes[bytes.len() - read..]) {
            Progress::More => {}
            // A server that was dialled during the silence is let go: the interception makes its own, verified, connection.
            Progress::Hello(hello) => return Ok(Peeked::Hello { hello, bytes }),
            Progress::NotTls => break Opaque::NotTls,
            Progress::TooLarge => break Opaque::TooLarge,
        }
        read = match timeout_at(deadline, client.read_buf(&mut bytes)).await {
            Err(_elapsed) => break Opaque::TooSlow,
            Ok(read) => read.map_err(PeekError::Client)?,
        };
    };
    Ok(Peeked::Opaque { why, bytes, server })
}

/// Waits for either side. The end of the server's side counts as speech: it is passed on.
async fn server_speaks_first(client: &TcpStream, server: &TcpStream) -> io::Result<bool> {
    tokio::select! {
        // Where both have spoken, the client's bytes decide what the connection is.
        biased;
        spoken = spoken(client) => spoken.map(|()| false),
        _ = spoken(server) => Ok(true),
    }
}

/// Whether the client has ended its side already, having sent nothing beyond what was read.
pub(crate) async fn has_ended(client: &TcpStream) -> bool {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    // Polled once: an end that is there is seen, and nothing is waited for.
    poll_fn(|cx| Poll::Ready(matches!(client.poll_peek(cx, &mut byte), Poll::Ready(Ok(0) | Err(_))))).await
}

/// Returns when there is a byte to read, or the end. Readiness alone may be a false alarm; a byte in the buffer is none.
async fn spoken(stream: &TcpStream) -> io::Result<()> {
    stream.peek(&mut [0]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let (listener, address) = listener().await;
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("connects"), far.expect("accepts").0)
    }

    /// An address that must not be dialled: nobody listens there any more.
    async fn dead() -> SocketAddr {
        listener().await.1
    }

    fn client_hello(name: &str) -> Vec<u8> {
        let config = tollgate_tls::client_config(&no_roots(), &[b"h2", b"http/1.1"]);
        let name = name.to_owned().try_into().expect("a DNS name");
        let mut connection = rustls::ClientConnection::new(Arc::clone(&config), name).expect("a client");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("memory");
        hello
    }

    fn no_roots() -> tollgate_tls::Roots {
        tollgate_tls::Roots::load(&[]).expect("the system has roots")
    }

    #[tokio::test]
    async fn a_hello_in_many_segments_is_read_whole_and_kept() {
        let (mut app, mut client) = pair().await;
        let sent = client_hello("api.openai.com");
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in copy.chunks(97) {
                app.write_all(piece).await.expect("open");
                app.flush().await.expect("open");
                tokio::task::yield_now().await;
            }
            app
        });
        let Peeked::Hello { hello, bytes } = peek(&mut client, dead().await, Limits::default()).await.expect("read")
        else {
            panic!("a hello was sent")
        };
        assert_eq!(hello.server_name.as_deref(), Some("api.openai.com"));
        assert_eq!(bytes, sent[..bytes.len()]);
        drop(writer);
    }

    #[tokio::test]
    async fn plain_http_is_opaque_at_its_first_byte() {
        let (mut app, mut client) = pair().await;
        app.write_all(b"GET / HTTP/1.1\r\n").await.expect("open");
        let peeked = peek(&mut client, dead().await, Limits::default()).await.expect("read");
        assert!(
            matches!(peeked, Peeked::Opaque { why: Opaque::NotTls, ref bytes, .. } if bytes == b"GET / HTTP/1.1\r\n")
        );
    }

    #[tokio::test]
    async fn a_server_that_speaks_first_is_heard() {
        let ((_app, mut client), (listener, address)) = (pair().await, listener().await);
        let real = tokio::spawn(async move {
            let (mut real, _) = listener.accept().await.expect("dialled");
            real.write_all(b"220 ready\r\n").await.expect("open");
            real
        });
        let peeked = peek(&mut client, address, Limits::default()).await.expect("read");
        assert!(matches!(peeked, Peeked::Opaque { why: Opaque::ServerFirst, server: Some(_), .. }));
        drop(real);
    }

    #[tokio::test]
    async fn a_client_that_speaks_late_is_still_peeked_at() {
        let ((mut app, mut client), (listener, address)) = (pair().await, listener().await);
        let hello = client_hello("api.openai.com");
        let late = tokio::spawn(async move {
            // The dial tells that patience has run out: no clock is needed.
            let (real, _) = listener.accept().await.expect("dialled");
            app.write_all(&hello).await.expect("open");
            (app, real)
        });
        let peeked = peek(&mut client, address, Limits::default()).await.expect("read");
        assert!(matches!(peeked, Peeked::Hello { .. }));
        drop(late);
    }

    #[tokio::test]
    async fn a_hello_that_stops_half_way_is_passed_on_after_the_time_allowed() {
        let (mut app, mut client) = pair().await;
        let hello = client_hello("api.openai.com");
        app.write_all(&hello[..100]).await.expect("open");
        let limits = Limits { timeout: Duration::from_millis(50), ..Limits::default() };
        let peeked = peek(&mut client, dead().await, limits).await.expect("read");
        assert!(matches!(peeked, Peeked::Opaque { why: Opaque::TooSlow, ref bytes, .. } if bytes == &hello[..100]));
    }

    #[tokio::test]
    async fn a_hello_without_end_takes_bounded_memory() {
        let (mut app, mut client) = pair().await;
        let writer = tokio::spawn(async move {
            // A ClientHello of 4 MiB, in records of 16 KiB.
            let mut first = true;
            for _ in 0..256 {
                let mut record = vec![0x16, 3, 1, 0x40, 0];
                record.extend(if first { vec![1, 0x40, 0, 0] } else { vec![0; 4] });
                record.extend(vec![0; 0x4000 - 4]);
                first = false;
                if app.write_all(&record).await.is_err() {
                    return;
                }
            }
        });
        let peeked = peek(&mut client, dead().await, Limits::default()).await.expect("read");
        let Peeked::Opaque { why, bytes, .. } = peeked else { panic!("no hello was completed") };
        assert!(matches!(why, Opaque::TooLarge | Opaque::NotTls));
        assert!(bytes.len() <= 256 * 1024, "{} bytes were kept", bytes.len());
        drop(client);
        writer.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_client_that_ends_before_it_speaks_is_passed_on() {
        let (mut app, mut client) = pair().await;
        app.shutdown().await.expect("open");
        let peeked = peek(&mut client, dead().await, Limits::default()).await.expect("read");
        assert!(matches!(peeked, Peeked::Opaque { why: Opaque::NotTls, ref bytes, .. } if bytes.is_empty()));
    }
}
