//! The two ends of an exchange, as cheap as can be: what they cost is counted along.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate_tls::{Authority, Roots};

use crate::exchange::{ANSWER, HOST, head};
use crate::parser::{CHAT, CHAT_END};

/// How many events a stream has.
pub(crate) const EVENTS: usize = 100;

/// A provider on loopback, with a certificate of its own making.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) roots: Roots,
    /// Leave to send so many events.
    pub(crate) leave: Arc<Semaphore>,
}

impl Provider {
    pub(crate) async fn start(http2: bool) -> Self {
        let authority = Authority::ephemeral(&[HOST.parse().expect("a pattern")]).expect("an authority is made");
        let roots = Roots::only([authority.certificate_der().clone()]).expect("one root");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        let mut config = (*authority.server_config(HOST).expect("permitted")).clone();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let leave = Arc::new(Semaphore::new(0));
        let given = Arc::clone(&leave);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("open");
                let stream = acceptor.accept(stream).await.expect("the proxy shakes hands");
                if http2 {
                    tokio::spawn(serve_http2(stream));
                } else {
                    tokio::spawn(serve_http1(stream, Arc::clone(&given)));
                }
            }
        });
        Self { address, roots, leave }
    }
}

async fn serve_http1(mut stream: TlsStream<TcpStream>, leave: Arc<Semaphore>) {
    let answer = [head("application/json", &format!("content-length: {}", ANSWER.len())), ANSWER.to_owned()].concat();
    let begin = head("text/event-stream", "transfer-encoding: chunked");
    let mut buffer = Vec::with_capacity(64 << 10);
    // A request ends with its body, and none has a brace and a line's end within it.
    while read_until(&mut stream, &mut buffer, b"}\n").await {
        let is_stream = buffer.windows(12).any(|word| word == b"stream\":true");
        if !is_stream {
            stream.write_all(answer.as_bytes()).await.expect("the proxy reads");
            continue;
        }
        stream.write_all(begin.as_bytes()).await.expect("the proxy reads");
        for event in 0..EVENTS {
            leave.acquire().await.expect("never closed").forget();
            let text = if event + 1 == EVENTS { CHAT_END } else { CHAT };
            let end = if event + 1 == EVENTS { "0\r\n\r\n" } else { "" };
            let chunk = format!("{:X}\r\n{text}\r\n{end}", text.len());
            stream.write_all(chunk.as_bytes()).await.expect("the proxy reads");
        }
    }
}

async fn serve_http2(stream: TlsStream<TcpStream>) {
    let service = service_fn(|request: Request<Incoming>| async move {
        request.into_body().collect().await?;
        let answer = Response::builder().header("content-type", "application/json");
        Ok::<_, hyper::Error>(answer.body(Full::new(Bytes::from_static(ANSWER.as_bytes()))).expect("valid"))
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(connection.serve_connection(TokioIo::new(stream), service).await);
}

/// Reads until what has come ends so; false at the connection's end.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, end: &[u8]) -> bool {
    buffer.clear();
    while !buffer.ends_with(end) {
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}
