//! Accepting connections: TLS by server name, then HTTP/1 or HTTP/2 by ALPN.

pub(crate) mod heads;
pub(crate) mod playback;
pub(crate) mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use crate::exchange;
use crate::provider::Shared;
use crate::truth::Handshake;
use wire::{Conn, Wire};

/// The largest head that is read or written by hyper's HTTP/1, and the largest header list on HTTP/2.
const HEAD_LIMIT: usize = 2 << 20;

/// Server certificates by name; `*.example` matches one label. A name not known gets the fallback, as a CDN would.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    by_name: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    fallback: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Certificates {
    pub(crate) fn set(&self, name: &str, certificate: Arc<CertifiedKey>) {
        self.fallback.write().get_or_insert_with(|| Arc::clone(&certificate));
        self.by_name.write().insert(name.to_ascii_lowercase(), certificate);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = self.by_name.read();
        let found = hello.server_name().and_then(|name| {
            let name = name.to_ascii_lowercase();
            names.get(&name).or_else(|| names.get(&format!("*.{}", name.split_once('.')?.1))).cloned()
        });
        found.or_else(|| self.fallback.read().clone())
    }
}

/// Accepts until it is dropped; its connections end with it.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let id = NEXT.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(connection(Arc::clone(&shared), stream, peer, id));
                }
                // Out of file descriptors or a connection that died in the queue: try again a little later.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, id: u64) {
    let Ok(local) = stream.local_addr() else { return };
    drop(stream.set_nodelay(true));
    let mut conn = Conn::new(id, peer, local);
    let mut handshake = Handshake { peer, sni: None, alpn: Vec::new(), error: None };
    let tls = match accept_tls(stream, Arc::clone(&shared.tls), &mut handshake).await {
        Ok(tls) => tls,
        Err(error) => {
            handshake.error = Some(error.to_string());
            shared.truth.handshake(handshake);
            return;
        }
    };
    conn.sni.clone_from(&handshake.sni);
    shared.truth.handshake(handshake);
    let session = tls.get_ref().1;
    conn.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    conn.resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    conn.http2 = conn.alpn.as_deref() == Some("h2");
    let conn = Arc::new(conn);
    let io = TokioIo::new(Wire::new(tls, Arc::clone(&conn)));
    if conn.http2 { serve_http2(shared, conn, io).await } else { serve_http1(shared, conn, io).await }
}

async fn accept_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    handshake: &mut Handshake,
) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    handshake.sni = hello.server_name().map(str::to_ascii_lowercase);
    let offered = hello.alpn().into_iter().flatten();
    handshake.alpn = offered.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    start.into_stream(config).await
}

async fn serve_http1(shared: Arc<Shared>, conn: Arc<Conn>, io: TokioIo<Wire>) {
    let service = service_fn(|request| exchange::serve(Arc::clone(&shared), Arc::clone(&conn), request));
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .max_headers(4096)
        .header_read_timeout(None)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            // An error is the peer's or a fault's doing, and the exchange has recorded it.
            _ = connection.as_mut() => return,
            () = conn.retire.notified() => connection.as_mut().graceful_shutdown(),
            () = conn.killed() => return,
        }
    }
}

async fn serve_http2(shared: Arc<Shared>, conn: Arc<Conn>, io: TokioIo<Wire>) {
    let service = service_fn(|request| exchange::serve(Arc::clone(&shared), Arc::clone(&conn), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(HEAD_LIMIT as u32)
        .max_concurrent_streams(1000)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .enable_connect_protocol()
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = conn.retire.notified() => connection.as_mut().graceful_shutdown(),
            () = conn.killed() => return,
        }
    }
}
