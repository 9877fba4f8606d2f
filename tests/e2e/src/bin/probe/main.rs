//! A client that hides nothing: one connection, as planned on standard input, told on standard output, both JSON.

mod http1;
mod http2;

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_e2e::probe::{Plan, Report};

fn main() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("no plan on standard input")?;
    let plan: Plan = serde_json::from_str(&text).context("not a plan")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(plan))?;
    serde_json::to_writer(std::io::stdout(), &report)?;
    std::io::stdout().flush()?;
    Ok(())
}

async fn run(plan: Plan) -> Result<Report> {
    let tcp = TcpStream::connect((plan.host.as_str(), 443)).await.context("cannot connect")?;
    tcp.set_nodelay(true)?;
    let peer = tcp.peer_addr()?;
    let tls = tls(&plan, tcp).await.context("the handshake failed")?;
    let chain = tls.get_ref().1.peer_certificates().context("a server without a certificate")?;
    let certificate = tollgate_provider::sha256(&chain[0]);
    let answers = if plan.http2 { http2::talk(tls, plan).await? } else { http1::talk(tls, plan.requests).await? };
    Ok(Report { peer, certificate, answers })
}

async fn tls(plan: &Plan, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if plan.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let tls = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(plan.host.clone())?, tcp).await?;
    anyhow::ensure!(!plan.http2 || tls.get_ref().1.alpn_protocol() == Some(b"h2"), "the server does not speak HTTP/2");
    Ok(tls)
}
