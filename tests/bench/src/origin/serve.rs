//! Connections of the provider for load: accept, TLS, HTTP/1.1 or HTTP/2 by ALPN.

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Args;
use super::answer::{Answer, Body};

/// As many connections as the largest case makes at once.
const BACKLOG: u32 = 8192;
/// How much of a request is looked at to choose the answer. All of it is read.
const LOOKED_AT: usize = 16 * 1024;

/// Binds, says `ready`, and serves.
pub(super) async fn serve(args: &Args) -> Result<()> {
    let tls = TlsAcceptor::from(Arc::new(config(args)?));
    for address in &args.tls {
        tokio::spawn(accept(bind(*address)?, Some(tls.clone())));
    }
    for address in &args.plain {
        tokio::spawn(accept(bind(*address)?, None));
    }
    writeln!(std::io::stdout(), "ready").context("cannot say that the provider is ready")?;
    std::future::pending().await
}

fn config(args: &Args) -> Result<ServerConfig> {
    let file =
        |path: &Path| File::open(path).map(BufReader::new).with_context(|| format!("cannot open {}", path.display()));
    let chain = CertificateDer::pem_reader_iter(file(&args.certificate)?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_reader(file(&args.key)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot bind {address}"))?;
    socket.listen(BACKLOG).with_context(|| format!("cannot listen at {address}"))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, tls.clone()));
    }
}

/// Errors end a connection, and nobody hears of them but the client.
async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let Some(tls) = tls else { return http1(stream).await };
    let stream = tls.accept(stream).await.ok()?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") { http2(stream).await } else { http1(stream).await }
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).half_close(true);
    builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok()
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(1000);
    // Large prompts shall not wait for window updates.
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
    builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let asked = read(body).await;
    let answer = Answer::to(head.uri.path(), &asked);
    let response = Response::builder()
        .header(header::CONTENT_TYPE, answer.content_type())
        .header("x-request-id", "req_0123456789abcdef0123456789abcdef")
        .header("openai-processing-ms", "1")
        .body(answer.into_body());
    Ok(response.expect("these headers are valid"))
}

/// Reads a request to its end, and keeps its beginning.
async fn read(mut body: Incoming) -> Bytes {
    let mut kept: Vec<u8> = Vec::new();
    let mut first = Bytes::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() && kept.is_empty() {
            // Most requests come in one piece, which is not copied.
            first = data;
            continue;
        }
        if kept.is_empty() {
            kept.extend_from_slice(&first[..first.len().min(LOOKED_AT)]);
        }
        kept.extend_from_slice(&data[..data.len().min(LOOKED_AT - kept.len().min(LOOKED_AT))]);
    }
    if kept.is_empty() { first } else { kept.into() }
}
