//! Connections to whatever is measured, in HTTP/1.1 or HTTP/2, over TLS that is verified, or without.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Arguments;

/// Where to, and what to ask there.
pub(super) struct Target {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    h2: bool,
    uri: Uri,
    authority: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// One connection, ready for a request.
pub(super) enum Connection {
    /// HTTP/1.1: one request at a time.
    One(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2: clones share the connection.
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Target {
    /// Reads the arguments, resolves the name and loads the root.
    pub(super) async fn new(arguments: &Arguments) -> Result<Self> {
        let uri: Uri = arguments.url.parse().context("--url is no URL")?;
        let host = uri.host().context("--url names no host")?.to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("--url must begin with https:// or http://"),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = match arguments.connect_to {
            Some(address) => address,
            None => tokio::net::lookup_host((host.as_str(), port)).await?.next().context("the name has no address")?,
        };
        let tls = if secure {
            let name = ServerName::try_from(host).context("--url names no valid host")?;
            Some((TlsConnector::from(Arc::new(config(arguments)?)), name))
        } else {
            None
        };
        let authority = uri.authority().context("--url names no host")?.as_str();
        Ok(Self {
            address,
            tls,
            h2: arguments.h2,
            authority: HeaderValue::from_str(authority)?,
            headers: arguments.header.clone(),
            body: Bytes::from(body(arguments)),
            uri,
        })
    }

    /// A new connection, with its handshakes done.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), tcp).await.context("no TLS")?;
                if self.h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    bail!("the other side takes no HTTP/2");
                }
                self.speak(stream).await
            }
            None => self.speak(tcp).await,
        }
    }

    /// Sends the request and waits for the head of its answer.
    pub(super) async fn ask(&self, connection: &mut Connection) -> Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        match connection {
            Connection::One(_) => {
                let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
                *request.uri_mut() = path.parse().context("the path came from a URL")?;
                request.headers_mut().insert(http::header::HOST, self.authority.clone());
            }
            Connection::Two(_) => *request.uri_mut() = self.uri.clone(),
        }
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer sk-of-the-benchmark"));
        headers.extend(self.headers.iter().cloned());
        match connection {
            Connection::One(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
            Connection::Two(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
        }
    }

    async fn speak(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection> {
        let io = TokioIo::new(io);
        if self.h2 {
            // Windows as browsers and SDKs have them, so that flow control is not what is measured.
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(16 << 20)
                .handshake(io)
                .await?;
            tokio::spawn(connection);
            Ok(Connection::Two(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Connection::One(sender))
        }
    }
}

impl Connection {
    /// One that shares this one, where the protocol has room for more.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    /// Whether it takes no more requests.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }
}

fn config(arguments: &Arguments) -> Result<ClientConfig> {
    let file = arguments.ca.as_ref().context("--ca is needed with https://")?;
    let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.context("--ca is no PEM file")?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if arguments.h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

/// A chat request; the two fields that tell the origin what to send are in the origin's `events.rs`.
fn body(arguments: &Arguments) -> String {
    let Arguments { model, events, pace, .. } = arguments;
    let usage = if arguments.usage { r#","stream_options":{"include_usage":true}"# } else { "" };
    let text = "Tell me of the toll roads of old and who kept their gates. ".repeat(15);
    format!(
        concat!(
            r#"{{"model":"{}","messages":[{{"role":"user","content":"{}"}}],"#,
            r#""max_tokens":{},"seed":{},"stream":true{}}}"#
        ),
        model, text, events, pace, usage
    )
}

/// Reads a header as `NAME: VALUE`.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim().parse().map_err(|error| format!("{error}"))?;
    let value = value.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((name, value))
}
