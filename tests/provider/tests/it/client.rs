//! A client with no comforts: one connection, HTTP/1 or HTTP/2, frames as they come.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_provider::{Builder, Pki, Provider};

pub(crate) const OPENAI: &str = "api.openai.com";
pub(crate) const ANTHROPIC: &str = "api.anthropic.com";
pub(crate) const GEMINI: &str = "generativelanguage.googleapis.com";

/// A provider on a free port of the loopback.
pub(crate) struct Fixture {
    pub(crate) pki: Pki,
    pub(crate) provider: Provider,
    pub(crate) address: SocketAddr,
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    pub(crate) fn start_with(settings: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let pki = Pki::create().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = settings(Provider::builder(&pki)).start(vec![listener]).unwrap();
        let address = provider.addresses()[0];
        Self { pki, provider, address }
    }

    pub(crate) async fn tls(&self, host: &str, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.pki.root_store())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let tcp = TcpStream::connect(self.address).await?;
        let name = host.to_owned().try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    pub(crate) async fn http1(&self, host: &'static str) -> Client {
        let io = TokioIo::new(self.tls(host, "http/1.1").await.unwrap());
        let (sender, connection) =
            http1::Builder::new().preserve_header_case(true).max_buf_size(4 << 20).handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Client { host, sender: Sender::Http1(sender) }
    }

    pub(crate) async fn http2(&self, host: &'static str) -> Client {
        let io = TokioIo::new(self.tls(host, "h2").await.unwrap());
        let (sender, connection) =
            http2::Builder::new(TokioExecutor::new()).max_header_list_size(4 << 20).handshake(io).await.unwrap();
        tokio::spawn(connection);
        Client { host, sender: Sender::Http2(sender) }
    }

    /// Both kinds of client.
    pub(crate) async fn clients(&self, host: &'static str) -> [Client; 2] {
        [self.http1(host).await, self.http2(host).await]
    }
}

pub(crate) type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

pub(crate) struct Client {
    host: &'static str,
    sender: Sender,
}

impl Client {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Waits until the connection takes no more requests.
    pub(crate) async fn closed(&self) {
        let closed = || match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        while !closed() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Sends a request with this host and every provider's kind of key.
    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        for name in ["authorization", "x-api-key", "x-goog-api-key"] {
            request.headers_mut().entry(name).or_insert_with(|| "key".parse().unwrap());
        }
        match &mut self.sender {
            Sender::Http1(sender) => {
                request.headers_mut().entry("host").or_insert_with(|| self.host.parse().unwrap());
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let path = request.uri().path_and_query().unwrap().as_str();
                *request.uri_mut() = format!("https://{}{path}", self.host).parse().unwrap();
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        self.send(post(path, "", body)).await.unwrap()
    }

    pub(crate) async fn faulty(&mut self, path: &str, fault: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        self.send(post(path, fault, body)).await.unwrap()
    }
}

pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

pub(crate) fn post(path: &str, fault: &str, body: impl Into<Bytes>) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/json");
    if !fault.is_empty() {
        request = request.header(tollgate_provider::FAULT_HEADER, fault);
    }
    request.body(full(body)).unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(bytes(response).await.to_vec()).unwrap()
}

pub(crate) async fn bytes(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

pub(crate) async fn json(response: Response<Incoming>) -> serde_json::Value {
    serde_json::from_slice(&bytes(response).await).unwrap()
}

/// The data of each server-sent event.
pub(crate) fn data(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

pub(crate) fn chat(model: &str, stream: bool) -> String {
    serde_json::json!({
        "model": model, "stream": stream, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "say naïve 漢字"}],
    })
    .to_string()
}
