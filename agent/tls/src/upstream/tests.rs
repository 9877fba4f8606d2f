use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair};
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::testing::{HOST, handshake};

/// A CA as a provider might have.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        Self::named("a trusted authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> Roots {
        Roots::only([self.0.der().clone()]).unwrap()
    }

    /// A server with a certificate for these names, changed like so.
    fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        server(names, &self.0, change)
    }
}

fn server(names: &[&str], issuer: &Issuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.into()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}

/// What our client makes of this server.
async fn failure(roots: &Roots, server: ServerConfig) -> UpstreamTlsError {
    let (_, client) = handshake(Arc::new(server), client_config(roots, &[b"h2"]), HOST).await;
    UpstreamTlsError::of(&client.map(drop).unwrap_err()).expect("it is a TLS error")
}

/// What our client makes of a server that is none.
async fn failure_with(serve: impl AsyncFnOnce(DuplexStream)) -> UpstreamTlsError {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let connect = TlsConnector::from(client_config(&Ca::new().roots(), &[])).connect(HOST.try_into().unwrap(), ours);
    let (client, ()) = tokio::join!(connect, serve(theirs));
    UpstreamTlsError::of(&client.map(drop).unwrap_err()).expect("it is a TLS error")
}

#[tokio::test]
async fn a_certificate_for_the_host_from_a_trusted_ca_is_accepted() {
    let ca = Ca::new();
    let (server, client) = handshake(Arc::new(ca.server(&[HOST], |_| ())), client_config(&ca.roots(), &[]), HOST).await;
    server.unwrap();
    client.unwrap();
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_its_own_words() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let hour = Duration::from_hours(1);

    let expired = failure(&ca.roots(), ca.server(&[HOST], |params| params.not_after = (now - hour).into())).await;
    assert_eq!(expired, UpstreamTlsError::Expired);
    assert_eq!(expired.to_string(), "its certificate has expired");

    let early = failure(&ca.roots(), ca.server(&[HOST], |params| params.not_before = (now + hour).into())).await;
    assert_eq!(early, UpstreamTlsError::NotYetValid);

    let names = ["a.example.com", "*.b.example.com", "c.example.com", "d.example.com"];
    let wrong = failure(&ca.roots(), ca.server(&names, |_| ())).await;
    assert_eq!(
        wrong.to_string(),
        "its certificate is for another host (a.example.com, *.b.example.com, c.example.com)"
    );

    let unknown = failure(&Ca::named("another").roots(), ca.server(&[HOST], |_| ())).await;
    assert_eq!(unknown, UpstreamTlsError::UnknownIssuer);

    let client_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let purpose = failure(&ca.roots(), ca.server(&[HOST], client_only)).await;
    assert!(matches!(purpose, UpstreamTlsError::Certificate(_)), "{purpose}");

    for error in [expired, early, wrong, unknown, purpose] {
        assert!(error.is_certificate(), "{error}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_from_an_unknown_issuer() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    assert_eq!(failure(&Ca::new().roots(), server).await, UpstreamTlsError::UnknownIssuer);
}

#[tokio::test]
async fn a_server_without_a_common_protocol_refuses() {
    let ca = Ca::new();
    let mut server = ca.server(&[HOST], |_| ());
    server.alpn_protocols = vec![b"spdy/1".to_vec()];
    let error = failure(&ca.roots(), server).await;
    assert_eq!(error.to_string(), "it refused the TLS handshake (NoApplicationProtocol)");
    assert!(!error.is_certificate());
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_recognised() {
    for banner in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail ready\r\n"] {
        let error = failure_with(async |mut stream| {
            stream.write_all(banner).await.unwrap();
            stream.read_u8().await.unwrap();
        })
        .await;
        assert_eq!(error, UpstreamTlsError::NotTls, "{}", String::from_utf8_lossy(banner));
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_is_recognised() {
    let error = failure_with(async |mut stream| {
        stream.read_u8().await.unwrap();
    })
    .await;
    assert_eq!(error, UpstreamTlsError::Closed);
}

#[test]
fn other_failures_are_not_tls() {
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
        assert_eq!(UpstreamTlsError::of(&io::Error::from(kind)), None);
    }
}

#[test]
fn names_in_a_strangers_certificate_cannot_forge_a_log_line() {
    assert_eq!(plain_name("DnsName(\"api.openai.com\")"), "api.openai.com");
    assert_eq!(plain_name("a\r\nERROR \u{1b}[31m<b>"), "aERROR31mb");
    assert_eq!(plain_name(&"a".repeat(500)).len(), 80);
}

#[tokio::test]
async fn sessions_are_resumed_and_protocols_offered_in_order() {
    let ca = Ca::new();
    let mut server = ca.server(&[HOST], |_| ());
    server.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let (server, client) = (Arc::new(server), client_config(&ca.roots(), &[b"h2", b"http/1.1"]));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (accepted, connected) = handshake(Arc::clone(&server), Arc::clone(&client), HOST).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        accepted.write_all(b"x").await.unwrap();
        accepted.flush().await.unwrap();
        connected.read_u8().await.unwrap();
        kinds.push(connected.get_ref().1.handshake_kind().unwrap());
        assert_eq!(connected.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "the server's order counts");
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}
