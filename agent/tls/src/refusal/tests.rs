use std::io::ErrorKind;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::provider::provider;
use crate::testing::{HOST, authority, handshake, trusting};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client that dislikes every certificate for the same reason.
#[derive(Debug)]
struct Dislike(CertificateError);

impl ServerCertVerifier for Dislike {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(self.0.clone().into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn disliking(reason: CertificateError, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Dislike(reason)))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Whatever;

impl fmt::Display for Whatever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whatever")
    }
}

impl std::error::Error for Whatever {}

#[tokio::test]
async fn a_client_that_refuses_our_certificate_says_why() {
    let authority = authority(&[HOST]);
    let other = || CertificateError::Other(OtherError(Arc::new(Whatever)));
    for version in VERSIONS {
        for (reason, refusal) in [
            (CertificateError::UnknownIssuer, Refusal::UnknownCa),
            (CertificateError::NotValidForName, Refusal::BadCertificate),
            (CertificateError::Expired, Refusal::CertificateExpired),
            (CertificateError::Revoked, Refusal::CertificateRevoked),
            (CertificateError::ApplicationVerificationFailure, Refusal::AccessDenied),
            (other(), Refusal::CertificateUnknown),
        ] {
            let (server, client) =
                handshake(authority.server_config(HOST).unwrap(), disliking(reason.clone(), version), HOST).await;
            assert!(client.is_err());
            let error = server.unwrap_err();
            assert_eq!(client_refusal(&error), Some(refusal), "{reason:?}: {error}");
            assert_eq!(closed_after_certificate(Some(&error), 0), Some(refusal));
        }
    }
}

#[tokio::test]
async fn a_client_with_other_roots_knows_no_such_ca() {
    let (ours, other) = (authority(&[HOST]), authority(&[HOST]));
    let (server, _) = handshake(ours.server_config(HOST).unwrap(), trusting(&other, &[]), HOST).await;
    assert_eq!(client_refusal(&server.unwrap_err()), Some(Refusal::UnknownCa));
}

#[test]
fn other_alerts_are_no_refusal() {
    for alert in [
        AlertDescription::HandshakeFailure,
        AlertDescription::ProtocolVersion,
        AlertDescription::NoApplicationProtocol,
        AlertDescription::InternalError,
        AlertDescription::UserCanceled,
    ] {
        let error = io::Error::new(ErrorKind::InvalidData, Error::AlertReceived(alert));
        assert_eq!(client_refusal(&error), None, "{alert:?}");
        assert_eq!(closed_after_certificate(Some(&error), 0), None, "{alert:?}");
    }
    assert_eq!(client_refusal(&io::Error::from(ErrorKind::ConnectionReset)), None);
}

#[derive(Debug)]
struct Wrapped(io::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an HTTP library's error")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_alert_is_found_at_any_depth() {
    let alert = || Error::AlertReceived(AlertDescription::UnknownCA);
    let plain = io::Error::new(ErrorKind::InvalidData, alert());
    let twice = io::Error::other(io::Error::new(ErrorKind::InvalidData, alert()));
    let library = io::Error::other(Wrapped(io::Error::new(ErrorKind::InvalidData, alert())));
    for error in [plain, twice, library] {
        assert_eq!(client_refusal(&error), Some(Refusal::UnknownCa), "{error:?}");
    }
}

/// The bytes of a ClientHello that our certificate would answer.
fn hello(config: Arc<ClientConfig>) -> Vec<u8> {
    let mut client = rustls::ClientConnection::new(config, HOST.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_close_in_the_middle_of_the_handshake_is_a_refusal() {
    let authority = authority(&[HOST]);
    for version in VERSIONS {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let accept = TlsAcceptor::from(authority.server_config(HOST).unwrap()).accept(ours);
        let client = async {
            theirs.write_all(&hello(disliking(CertificateError::UnknownIssuer, version))).await.unwrap();
            // Reads our certificate, and leaves without a word.
            theirs.read_u8().await.unwrap();
            drop(theirs);
        };
        let (accepted, ()) = tokio::join!(accept, client);
        let error = accepted.unwrap_err();
        assert_eq!(client_refusal(&error), None);
        assert_eq!(closed_after_certificate(Some(&error), 0), Some(Refusal::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn a_close_after_the_handshake_is_a_refusal_unless_something_was_said() {
    let authority = authority(&[HOST]);
    for (said, orderly) in [(&b""[..], true), (b"", false), (b"GET /", true)] {
        let (server, client) = handshake(authority.server_config(HOST).unwrap(), trusting(&authority, &[]), HOST).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        client.write_all(said).await.unwrap();
        client.flush().await.unwrap();
        if orderly {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let mut received = Vec::new();
        let error = server.read_to_end(&mut received).await.err();
        let wanted = said.is_empty().then_some(Refusal::Closed);
        assert_eq!(closed_after_certificate(error.as_ref(), received.len() as u64), wanted, "{said:?}, {error:?}");
    }
}

#[test]
fn what_is_not_the_clients_doing_is_no_refusal() {
    for kind in [ErrorKind::TimedOut, ErrorKind::OutOfMemory, ErrorKind::Interrupted] {
        assert_eq!(closed_after_certificate(Some(&io::Error::from(kind)), 0), None, "{kind:?}");
    }
    for kind in
        [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof, ErrorKind::ConnectionAborted]
    {
        assert_eq!(closed_after_certificate(Some(&io::Error::from(kind)), 0), Some(Refusal::Closed), "{kind:?}");
        assert_eq!(closed_after_certificate(Some(&io::Error::from(kind)), 1), None, "{kind:?}");
    }
}

#[test]
fn refusals_read_well() {
    assert_eq!(Refusal::UnknownCa.to_string(), "TLS alert unknown_ca (48)");
    assert_eq!(Refusal::Closed.to_string(), "closed right after our certificate");
    let numbers: Vec<_> = [
        Refusal::BadCertificate,
        Refusal::UnsupportedCertificate,
        Refusal::CertificateRevoked,
        Refusal::CertificateExpired,
        Refusal::CertificateUnknown,
        Refusal::UnknownCa,
        Refusal::AccessDenied,
    ]
    .into_iter()
    .filter_map(Refusal::alert)
    .collect();
    assert_eq!(numbers, [42, 43, 44, 45, 46, 48, 49]);
    for number in numbers {
        let alert = AlertDescription::from(number);
        assert_eq!(refusal(alert).and_then(Refusal::alert), Some(number));
    }
}
