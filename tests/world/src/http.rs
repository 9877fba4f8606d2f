//! One plain HTTP GET, enough for the agent's own pages.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::namespace::Namespace;

const LIMIT: Duration = Duration::from_secs(10);

/// The status code and the body of `GET path` at `address`, asked from inside `namespace`.
///
/// HTTP/1.0, so that the answer ends with the connection and is never chunked.
pub(crate) fn get(namespace: &Namespace, address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    let exchange = async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = namespace
        .run(move || timeout(LIMIT, exchange))
        .with_context(|| format!("{address} did not answer within {LIMIT:?}"))?
        .with_context(|| format!("cannot GET {path} from {address}"))?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{address} did not answer {path} in HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn status_and_body_are_told_apart() {
        assert_eq!(
            parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot\r\n\r\nyet"),
            Some((503, "not\r\n\r\nyet".into()))
        );
        assert_eq!(parse("SSH-2.0-x\r\n"), None);
    }
}
