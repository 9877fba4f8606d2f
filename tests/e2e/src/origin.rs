//! A server that answers as it is told to, byte for byte on HTTP/1.1, and tells exactly what it got.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use rustls::sign::SingleCertAndKey;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate_provider::Flaw;
use tollgate_world::World;

use crate::probe::Body;
use crate::wire::{self, Fields, Framing, Reader, Sum};

/// A response. The n-th answers requests whose path begins with `/n`, such as `/0` and `/12/x?y`.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP/1.1: bytes before the response, for informational ones.
    pub before: Vec<u8>,
    /// The status.
    pub status: u16,
    /// HTTP/1.1: the reason phrase.
    pub reason: String,
    /// HTTP/1.1: the field lines as they are written, framing included. Without framing, the end is the connection's.
    pub headers: Fields,
    /// The body, if any.
    pub body: Option<Body>,
    /// What follows the body.
    pub trailers: Fields,
    /// HTTP/1.1: breaks the connection off after the body, without the end of TLS.
    pub cut: bool,
}

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The request's target.
    pub path: String,
    /// HTTP/1.1: the head as it came.
    pub head: String,
    /// The fields.
    pub headers: Fields,
    /// Bytes of body.
    pub length: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// What followed the body.
    pub trailers: Fields,
    /// What went wrong with the body.
    pub error: Option<String>,
}

/// The server. It ends with its world.
pub struct Origin {
    shared: Arc<Shared>,
}

struct Shared {
    replies: Vec<Reply>,
    seen: Mutex<Vec<Seen>>,
}

impl Origin {
    /// Serves `host` on port 443 of a new address in the internet, over HTTP/2 and HTTP/1.1 as clients like.
    pub fn start(world: &World, host: &str, address: IpAddr, replies: Vec<Reply>) -> Result<Self> {
        world.add_address(address)?;
        world.dns().set(host, &[address], 300);
        let certificate = world.pki().issue(&[host], Flaw::None)?;
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from((*certificate).clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = world.listen(&[(address, 443).into()])?.pop().context("no listener")?;
        let shared = Arc::new(Shared { replies, seen: Mutex::default() });
        let serving = Arc::clone(&shared);
        world.internet().spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    // Whatever breaks a connection is seen by its client, which the test asks.
                    if http2 { drop(serve_http2(tls, shared).await) } else { drop(serve_http1(tls, shared).await) }
                });
            }
        });
        Ok(Self { shared })
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock())
    }
}

impl Shared {
    fn reply(&self, path: &str) -> Reply {
        let number = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        let found = number.parse::<usize>().ok().and_then(|number| self.replies.get(number));
        let missing =
            || Reply { status: 404, headers: vec![("content-length".to_owned(), "0".to_owned())], ..Reply::default() };
        found.cloned().unwrap_or_else(missing)
    }

    fn saw(&self, seen: Seen) {
        self.seen.lock().push(seen);
    }
}

async fn serve_http1(tls: TlsStream<TcpStream>, shared: Arc<Shared>) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(tls);
    let mut reader = Reader::new(read);
    while let Some(head) = reader.head().await? {
        let headers = wire::fields(&head);
        let text = wire::latin1(&head);
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let mut sum = Sum::default();
        let read = reader.body(wire::framing(&headers, Framing::Empty), &mut sum).await;
        let error = read.as_ref().err().map(|error| error.kind().to_string());
        let reply = shared.reply(&path);
        let bare = method == "HEAD" || matches!(reply.status, 204 | 304);
        shared.saw(Seen {
            method,
            path,
            head: text,
            headers,
            length: sum.length(),
            sha256: sum.digest(),
            trailers: read.unwrap_or_default(),
            error,
        });
        let framing = wire::framing(&reply.headers, Framing::Close);
        write.write_all(&reply.before).await?;
        write.write_all(format!("HTTP/1.1 {} {}\r\n", reply.status, reply.reason).as_bytes()).await?;
        write.write_all(&wire::lines(&reply.headers)).await?;
        write.write_all(b"\r\n").await?;
        if !bare {
            for piece in reply.body.iter().flat_map(Body::cut) {
                write.write_all(&wire::frame(&piece, framing)).await?;
            }
            write.write_all(&wire::last(framing, &reply.trailers)).await?;
        }
        write.flush().await?;
        if reply.cut {
            return Ok(());
        }
        let closes = wire::field(&reply.headers, "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        if (framing == Framing::Close && !bare) || closes {
            return write.shutdown().await;
        }
    }
    Ok(())
}

async fn serve_http2(tls: TlsStream<TcpStream>, shared: Arc<Shared>) -> Result<()> {
    let mut connection = h2::server::Builder::new()
        .max_header_list_size(4 << 20)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake::<_, Bytes>(tls)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { drop(exchange(request, respond, shared).await) });
    }
    Ok(())
}

async fn exchange(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    shared: Arc<Shared>,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let mut sum = Sum::default();
    while let Some(data) = body.data().await {
        let data = data?;
        sum.add(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?.as_ref().map(pairs).unwrap_or_default();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let reply = shared.reply(&path);
    let bare = head.method == http::Method::HEAD || matches!(reply.status, 204 | 304);
    let mut headers = pairs(&head.headers);
    // The pseudo-headers are part of what came.
    headers.insert(0, (":authority".to_owned(), head.uri.authority().map(ToString::to_string).unwrap_or_default()));
    headers.insert(0, (":scheme".to_owned(), head.uri.scheme_str().unwrap_or_default().to_owned()));
    let method = head.method.to_string();
    shared.saw(Seen { method, path, headers, length: sum.length(), sha256: sum.digest(), trailers, ..Seen::default() });
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(reply.status)?;
    *response.headers_mut() = map(&reply.headers)?;
    let empty = bare || (reply.body.is_none() && reply.trailers.is_empty());
    let mut stream = respond.send_response(response, empty)?;
    if empty {
        return Ok(());
    }
    for mut piece in reply.body.iter().flat_map(Body::cut) {
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = poll_fn(|context| stream.poll_capacity(context)).await.context("the stream was closed")??;
            stream.send_data(piece.split_to(room.min(piece.len())), false)?;
        }
    }
    if reply.trailers.is_empty() {
        stream.send_data(Bytes::new(), true)?;
    } else {
        stream.send_trailers(map(&reply.trailers)?)?;
    }
    Ok(())
}

/// Fields as a map, for HTTP/2.
pub fn map(fields: &Fields) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(name.as_str())?, HeaderValue::from_bytes(&wire::bytes(value))?);
    }
    Ok(map)
}

/// A map as fields, for HTTP/2.
pub fn pairs(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), wire::latin1(value.as_bytes()))).collect()
}
