use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tollgate_ledger::UpstreamFailure;
use tollgate_tls::UpstreamTlsError;

use crate::http::NotHttp;

/// Why there is no connection to a provider. The text is for the caller, who gets it in a 502 or 504, and for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address accepted a connection.
    #[error("cannot connect to {host}: {}", Attempts(.attempts))]
    Unreachable {
        /// The host.
        host: Arc<str>,
        /// What was tried, and what came of it.
        attempts: Vec<(SocketAddr, io::ErrorKind)>,
    },
    /// No address answered in time.
    #[error("cannot connect to {host}: no answer within {limit:?}; is the way there blocked by a firewall?")]
    TimedOut {
        /// The host.
        host: Arc<str>,
        /// How long each address was given.
        limit: Duration,
    },
    /// The TLS handshake failed.
    #[error("the connection to {host} is not secure: {error}")]
    Tls {
        /// The host.
        host: Arc<str>,
        /// What is wrong.
        error: UpstreamTlsError,
    },
    /// The connection broke, or nothing came, in the TLS handshake.
    #[error("the TLS handshake with {host} failed: {kind}")]
    Handshake {
        /// The host.
        host: Arc<str>,
        /// What the kernel said; [`io::ErrorKind::TimedOut`] where the server said nothing in time.
        kind: io::ErrorKind,
    },
    /// The name is not one that a certificate can be for.
    #[error("{host} is not a host name")]
    Name {
        /// The host.
        host: Arc<str>,
    },
    /// The server's first HTTP/2 bytes are not HTTP/2.
    #[error("{host} does not speak HTTP/2, though it agreed to")]
    Http {
        /// The host.
        host: Arc<str>,
    },
}

struct Attempts<'a>(&'a [(SocketAddr, io::ErrorKind)]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, kind)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{address}: {kind}")?;
        }
        Ok(())
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection to the provider.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// The connection broke before there was a response.
    #[error("{host} closed the connection without an answer")]
    Closed {
        /// The host.
        host: Arc<str>,
    },
    /// What came is no HTTP response.
    #[error("{host} sent something that is not HTTP ({error})")]
    Protocol {
        /// The host.
        host: Arc<str>,
        /// What is wrong with it.
        error: hyper::Error,
    },
    /// What came is no head of an HTTP/1.1 response.
    #[error("{host} sent something that is not HTTP ({error})")]
    NotHttp {
        /// The host.
        host: Arc<str>,
        /// What is wrong with it.
        error: NotHttp,
    },
    /// The HTTP/2 stream was reset before there was a response.
    #[error("{host} reset the request ({reason})")]
    Reset {
        /// The host.
        host: Arc<str>,
        /// The provider's reason.
        reason: h2::Reason,
    },
    /// The client wants to switch to another protocol over HTTP/2, and the provider cannot.
    #[error("{host} does not offer protocol switches over HTTP/2 (RFC 8441); connect with HTTP/1.1")]
    NoExtendedConnect {
        /// The host.
        host: Arc<str>,
    },
}

impl From<ConnectError> for SendError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Arc::new(error))
    }
}

impl SendError {
    /// What the caller is answered.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoExtendedConnect { .. } => StatusCode::NOT_IMPLEMENTED,
            _ if self.failure() == UpstreamFailure::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether the same request may do better in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.failure(), UpstreamFailure::Connect | UpstreamFailure::Timeout)
    }

    /// What the ledger calls it.
    pub(crate) fn failure(&self) -> UpstreamFailure {
        match self {
            Self::Connect(error) => match &**error {
                ConnectError::Unreachable { .. } | ConnectError::Name { .. } => UpstreamFailure::Connect,
                ConnectError::TimedOut { .. } | ConnectError::Handshake { kind: io::ErrorKind::TimedOut, .. } => {
                    UpstreamFailure::Timeout
                }
                ConnectError::Tls { error, .. } if error.is_certificate() => UpstreamFailure::Certificate,
                ConnectError::Tls { .. } | ConnectError::Handshake { .. } => UpstreamFailure::Tls,
                ConnectError::Http { .. } => UpstreamFailure::Protocol,
            },
            Self::Closed { .. } | Self::Reset { .. } => UpstreamFailure::Reset,
            Self::Protocol { .. } | Self::NotHttp { .. } | Self::NoExtendedConnect { .. } => UpstreamFailure::Protocol,
        }
    }
}
