//! TLS towards the true servers: always verified, and failures said in plain words.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage};

use crate::provider::provider;
use crate::roots::Roots;

/// How many hosts' sessions are kept for resumption.
const SESSIONS: usize = 1024;

/// How to speak TLS to servers that `roots` vouch for, offering the protocols `alpn` in this order (none offered where empty).
///
/// The certificate is always verified against the server name given at connect time. Sessions are resumed between connections
/// made with the same configuration, so keep it.
pub fn client_config(roots: &Roots, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots.store())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// Why a TLS connection to a server failed, in words for the caller who gets a 502 and for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTlsError {
    /// After `notAfter`.
    #[error("its certificate has expired")]
    Expired,
    /// Before `notBefore`.
    #[error("its certificate is not valid yet; check this machine's clock")]
    NotYetValid,
    /// The certificate is for other hosts.
    #[error("its certificate is for another host{}", for_names(.presented))]
    WrongName {
        /// The names it is for, a few of them.
        presented: Vec<String>,
    },
    /// No root vouches for it.
    #[error("its certificate is signed by an authority that this machine does not trust")]
    UnknownIssuer,
    /// On a revocation list.
    #[error("its certificate has been revoked")]
    Revoked,
    /// Any other fault of the certificate.
    #[error("its certificate is not acceptable ({0})")]
    Certificate(String),
    /// The server refused the handshake.
    #[error("it refused the TLS handshake ({0})")]
    Alert(String),
    /// No protocol version, cipher suite or application protocol in common.
    #[error("it has no TLS version, cipher or protocol in common with us ({0})")]
    Incompatible(String),
    /// The server does not speak TLS.
    #[error("it does not speak TLS on this port")]
    NotTls,
    /// The connection ended in the middle of the handshake.
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    /// The server broke the protocol.
    #[error("it broke the TLS protocol ({0})")]
    Protocol(String),
}

impl UpstreamTlsError {
    /// Whether the certificate was at fault: the server is then not, or not provably, the one asked for. No other address or try
    /// is worth it.
    pub fn is_certificate(&self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::NotYetValid
                | Self::WrongName { .. }
                | Self::UnknownIssuer
                | Self::Revoked
                | Self::Certificate(_)
        )
    }

    /// Reads the error of a TLS connect. `None` where it is not TLS that failed.
    pub fn of(error: &io::Error) -> Option<Self> {
        match rustls_error(error) {
            Some(error) => Some(Self::from(error)),
            // tokio-rustls says so when the peer closes early.
            None if error.kind() == io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            None => None,
        }
    }
}

impl From<&Error> for UpstreamTlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::from(error),
            Error::NoCertificatesPresented => Self::Certificate("it sent none".to_owned()),
            Error::AlertReceived(alert) => Self::Alert(alert_name(*alert)),
            Error::PeerIncompatible(reason) => Self::Incompatible(format!("{reason:?}")),
            Error::NoApplicationProtocol => Self::Incompatible("application protocol".to_owned()),
            // What plain HTTP, SSH and the like look like where a record header is expected.
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<&CertificateError> for UpstreamTlsError {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName => Self::WrongName { presented: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName { presented: presented.iter().map(|name| plain_name(name)).take(3).collect() }
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            other => Self::Certificate(other.to_string()),
        }
    }
}

/// The TLS error inside an I/O error, at any depth: HTTP libraries wrap it.
pub(crate) fn rustls_error(error: &io::Error) -> Option<&Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        // An I/O error's source skips what it directly wraps.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as _),
            None => error.source(),
        };
    }
    None
}

/// `UnknownCA` and the like; a number where rustls has no name.
fn alert_name(alert: AlertDescription) -> String {
    format!("{alert:?}")
}

/// `DnsName("api.openai.com")` as rustls prints it, down to the name: it comes from a stranger, so only what a name may hold is kept.
fn plain_name(name: &str) -> String {
    let name = name.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or(name, |(name, _)| name);
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.*:".contains(*c)).take(80).collect()
}

fn for_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

#[cfg(test)]
mod tests;
