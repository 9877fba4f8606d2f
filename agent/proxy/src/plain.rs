//! Requests without TLS, for servers that are configured to be spoken to so: which host the first of them names.
//!
//! Only the head of that request is read, and only as far as it tells the host; HTTP reads it again from the start.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tollgate_llm::{Catalogue, Provider};

use crate::peek::Limits;

/// More header lines than any SDK sends; a request with more is not read.
const HEADERS: usize = 128;

/// The provider that a client speaks to, and by which of its names. `bytes` are what the client has sent, and more of them when
/// this returns. `None` for what is not HTTP/1 to a provider that takes it on this port.
pub(crate) async fn provider(
    client: &mut TcpStream,
    bytes: &mut Vec<u8>,
    destination: SocketAddr,
    catalogue: &Catalogue,
    limits: Limits,
) -> Option<(Arc<str>, Arc<Provider>)> {
    let deadline = Instant::now() + limits.timeout;
    let host = loop {
        match host(bytes) {
            Head::Partial if bytes.len() < limits.bytes => {}
            Head::Partial | Head::Other => return None,
            Head::To(host) => break host,
        }
        if !matches!(timeout_at(deadline, client.read_buf(bytes)).await, Ok(Ok(1..))) {
            return None;
        }
    };
    let provider = catalogue.find(&host).filter(|provider| provider.http_ports.contains(&destination.port()))?;
    Some((Arc::from(host), Arc::clone(provider)))
}

#[derive(Debug, PartialEq)]
enum Head {
    /// A request to this host, without its port.
    To(String),
    /// The beginning of one, perhaps.
    Partial,
    /// Not HTTP/1, or to no one host.
    Other,
}

fn host(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    }
    let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Head::Other };
    let authority = std::str::from_utf8(host.value).ok().and_then(|text| text.trim().parse().ok());
    authority.map_or(Head::Other, |authority: http::uri::Authority| Head::To(authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_known_when_the_head_is_complete() {
        let head = "POST /api/chat HTTP/1.1\r\naccept: */*\r\nHOST: Ollama.Internal:11434\r\n\r\n{\"model\":";
        let end = head.find("\r\n\r\n").expect("a head") + 4;
        for cut in 0..end {
            assert_eq!(host(&head.as_bytes()[..cut]), Head::Partial, "{cut}");
        }
        for cut in end..=head.len() {
            assert_eq!(host(&head.as_bytes()[..cut]), Head::To("ollama.internal".to_owned()), "{cut}");
        }
    }

    #[test]
    fn what_is_not_http_1_to_one_host_is_other() {
        for other in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            "EHLO there\r\n",
            "\u{0}\u{1}\u{2}",
        ] {
            assert_eq!(host(other.as_bytes()), Head::Other, "{other:?}");
        }
    }
}
