//! One blocking connection, with TLS that is verified, and an exchange of HTTP/1.1 on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{Args, request, split};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where requests go, and what they are.
#[derive(Clone)]
pub(super) struct Target {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// One request's bytes.
    pub(super) request: Arc<[u8]>,
}

/// One connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Target {
    pub(super) fn new(args: &Args) -> Result<Self> {
        let (tls, name, port, path) = split(&args.url).with_context(|| format!("`{}` is no URL", args.url))?;
        let address = match args.connect {
            Some(address) => address,
            None => (name, port).to_socket_addrs()?.next().with_context(|| format!("{name} has no address"))?,
        };
        let body = std::fs::read(&args.body).with_context(|| format!("cannot read {}", args.body.display()))?;
        let tls = if tls { Some((config(args)?, ServerName::try_from(name.to_owned())?)) } else { None };
        Ok(Self { address, tls, request: request(path, &args.header, &body).into() })
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).with_context(|| format!("cannot connect to {}", self.address))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((config, name)) => {
                let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(config), name.clone())?, tcp);
                tls.conn.complete_io(&mut tls.sock).with_context(|| format!("no TLS with {}", self.address))?;
                Box::new(tls)
            }
        };
        Ok(Connection { stream, buffer: Vec::with_capacity(16 * 1024) })
    }
}

fn config(args: &Args) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&args.ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Connection {
    /// Sends a request and reads its answer to the end. Whether the answer was a good one; an error when the connection is of no more
    /// use.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<bool> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        self.buffer.clear();
        let mut piece = [0; 16 * 1024];
        loop {
            let length = self.stream.read(&mut piece)?;
            ensure!(length > 0, "the connection ended within an answer");
            self.buffer.extend_from_slice(&piece[..length]);
            if let Some(good) = whole(&self.buffer)? {
                return Ok(good);
            }
        }
    }
}

/// Whether the answer was a good one, once it is all there.
fn whole(bytes: &[u8]) -> Result<Option<bool>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let good = response.code.is_some_and(|code| (200..300).contains(&code));
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let body = &bytes[head..];
    let complete = if let Some(length) = value("content-length") {
        body.len() >= length.trim().parse::<usize>().context("a content-length that is no number")?
    } else if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        // JSON has no empty line, so this is the last chunk.
        body.ends_with(b"\r\n0\r\n\r\n")
    } else {
        bail!("an answer without a length");
    };
    ensure!(
        !complete || value("connection").is_none_or(|value| value != "close"),
        "the connection is closed after this answer"
    );
    Ok(complete.then_some(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(whole(text).expect("valid"), Some(true));
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end]).expect("valid so far"), None);
        }
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(whole(chunked).expect("valid"), Some(true));
        assert_eq!(whole(&chunked[..chunked.len() - 1]).expect("valid so far"), None);
    }

    #[test]
    fn an_error_is_no_good_answer() {
        assert_eq!(whole(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").expect("valid"), Some(false));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "an answer needs an end");
        assert!(whole(b"nonsense\r\n\r\n").is_err());
    }
}
