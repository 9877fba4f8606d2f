//! What several modules' tests need.

use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tokio::io::DuplexStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tollgate_ebpf::name::Pattern;

use crate::{Authority, Roots, client_config};

pub(crate) const HOST: &str = "api.openai.com";

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().expect("the test's pattern is well-formed")).collect()
}

/// A CA in memory for these patterns.
pub(crate) fn authority(texts: &[&str]) -> Authority {
    Authority::ephemeral(&patterns(texts)).expect("the test's patterns make a CA")
}

/// A client that trusts this CA and nothing else.
pub(crate) fn trusting(authority: &Authority, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let roots = Roots::only([authority.certificate_der().clone()]).expect("there is one");
    client_config(&roots, alpn)
}

/// What both sides make of a handshake over an in-memory connection.
pub(crate) async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    host: &str,
) -> (io::Result<server::TlsStream<DuplexStream>>, io::Result<client::TlsStream<DuplexStream>>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let name = host.to_owned().try_into().expect("the test's host is a name");
    tokio::join!(TlsAcceptor::from(server).accept(ours), TlsConnector::from(client).connect(name, theirs))
}
