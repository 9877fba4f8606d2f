//! From a target to a connection that speaks HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription};
use tollgate_tls::UpstreamTlsError;

use super::direct::{NotDirect, Stream};
use super::error::ConnectError;
use super::http2::Requests;
use super::wire::{Watched, Wire};
use super::{Inner, Offer, Target};
use crate::http::request::RequestBody;
use crate::http::{MAX_BUFFER, MAX_HEADERS};

/// Addresses tried besides the application's own.
const OTHER_ADDRESSES: usize = 4;

/// A model may think for minutes without a byte, so only the kernel can tell a dead connection from a silent one.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 4;

/// A connection that was just made.
pub(super) enum Connected {
    Http1(http1::SendRequest<RequestBody>, Arc<Wire>),
    Http2(Requests, Arc<Wire>),
}

impl Inner {
    /// Connects to the target for HTTP/1.1, and leaves speaking it to the caller.
    pub(super) async fn connect_raw(&self, target: &Target) -> Result<Stream, NotDirect> {
        let connected = async {
            if target.plain {
                return Ok(Stream::Plain(self.tcp(target).await?));
            }
            Ok(Stream::Tls(Box::new(self.tls(target, Offer::Http1).await?)))
        };
        connected.await.map_err(|refused| match refused {
            Refused::Protocol => NotDirect::Http2,
            Refused::Error(error) => NotDirect::Failed(error),
        })
    }

    /// Connects to the target. Each caller gets its own connection.
    pub(super) async fn connect(&self, target: &Target, offer: Offer) -> Result<Connected, ConnectError> {
        match self.connect_offering(target, offer).await {
            // It speaks HTTP/2 only. Then the HTTP/1.1 client's requests are translated.
            Err(Refused::Protocol) if offer == Offer::Http1 => {
                self.connect_offering(target, Offer::Http2).await.map_err(|refused| refused.error(&target.host))
            }
            result => result.map_err(|refused| refused.error(&target.host)),
        }
    }

    async fn connect_offering(&self, target: &Target, offer: Offer) -> Result<Connected, Refused> {
        if target.plain {
            return http1(self.tcp(target).await?, target).await;
        }
        let stream = self.tls(target, offer).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let wire = Arc::new(Wire::default());
            let http = |_error| Refused::Error(ConnectError::Http { host: Arc::clone(&target.host) });
            let requests = Requests::begin(Watched::new(stream, Arc::clone(&wire))).await.map_err(http)?;
            Ok(Connected::Http2(requests, wire))
        } else {
            http1(stream, target).await
        }
    }

    async fn tls(&self, target: &Target, offer: Offer) -> Result<TlsStream<TcpStream>, Refused> {
        let host = &target.host;
        let name =
            ServerName::try_from(host.to_string()).map_err(|_invalid| ConnectError::Name { host: Arc::clone(host) })?;
        let stream = self.tcp(target).await?;
        let connecting = TlsConnector::from(offer.config(&self.tls)).connect(name, stream);
        match timeout(self.limits.handshake_timeout, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_protocol_refusal(&error) => Err(Refused::Protocol),
            Ok(Err(error)) => Err(match UpstreamTlsError::of(&error) {
                Some(error) => ConnectError::Tls { host: Arc::clone(host), error },
                None => ConnectError::Handshake { host: Arc::clone(host), kind: error.kind() },
            }
            .into()),
            Err(_elapsed) => {
                Err(ConnectError::Handshake { host: Arc::clone(host), kind: io::ErrorKind::TimedOut }.into())
            }
        }
    }

    /// The application's own destination first: it is what the application's resolver, policy and network chose.
    async fn tcp(&self, target: &Target) -> Result<TcpStream, ConnectError> {
        let mut attempts = Vec::new();
        match self.try_address(target.destination).await {
            Ok(stream) => return Ok(stream),
            Err(kind) => attempts.push((target.destination, kind)),
        }
        let resolving = self.dial.resolve(&target.host, target.destination.port());
        let others = match timeout(self.limits.connect_timeout, resolving).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        for address in others.into_iter().filter(|address| *address != target.destination).take(OTHER_ADDRESSES) {
            match self.try_address(address).await {
                Ok(stream) => return Ok(stream),
                Err(kind) => attempts.push((address, kind)),
            }
        }
        let host = Arc::clone(&target.host);
        if attempts.iter().all(|(_, kind)| *kind == io::ErrorKind::TimedOut) {
            return Err(ConnectError::TimedOut { host, limit: self.limits.connect_timeout });
        }
        Err(ConnectError::Unreachable { host, attempts })
    }

    async fn try_address(&self, address: SocketAddr) -> Result<TcpStream, io::ErrorKind> {
        let stream = timeout(self.limits.connect_timeout, self.dial.dial(address))
            .await
            .map_err(|_elapsed| io::ErrorKind::TimedOut)?
            .map_err(|error| error.kind())?;
        prepare(&stream).map_err(|error| error.kind())?;
        Ok(stream)
    }
}

async fn http1<IO>(stream: IO, target: &Target) -> Result<Connected, Refused>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Arc::new(Wire::default());
    wire.forgive(true);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&wire)));
    let mut builder = http1::Builder::new();
    builder
        .preserve_header_case(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER);
    let http = |_error| Refused::Error(ConnectError::Http { host: Arc::clone(&target.host) });
    let (sender, connection) = builder.handshake(io).await.map_err(http)?;
    tokio::spawn(connection.with_upgrades());
    Ok(Connected::Http1(sender, wire))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &(KEEPALIVE_AFTER.as_secs() as u32))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &(KEEPALIVE_EVERY.as_secs() as u32))?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_TRIES)?;
    Ok(())
}

enum Refused {
    /// None of the protocols offered (RFC 7301 § 3.2).
    Protocol,
    Error(ConnectError),
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Self {
        Self::Error(error)
    }
}

impl Refused {
    fn error(self, host: &Arc<str>) -> ConnectError {
        match self {
            Self::Error(error) => error,
            Self::Protocol => {
                let error = UpstreamTlsError::from(&rustls::Error::NoApplicationProtocol);
                ConnectError::Tls { host: Arc::clone(host), error }
            }
        }
    }
}

fn is_protocol_refusal(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        error,
        Some(
            rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        )
    )
}
