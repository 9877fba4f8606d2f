//! Did the client refuse our certificate? Clients that do are tunnelled from their next try on.
//!
//! Most say so by an alert. Some verify only after the handshake and then just close (Node does), which looks the same as a client
//! that had nothing to say, so a close is weaker evidence.

use std::{fmt, io};

use rustls::{AlertDescription, Error};

use crate::upstream::rustls_error;

/// How a client refused our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Alert 42, `bad_certificate`.
    BadCertificate,
    /// Alert 43, `unsupported_certificate`.
    UnsupportedCertificate,
    /// Alert 44, `certificate_revoked`.
    CertificateRevoked,
    /// Alert 45, `certificate_expired`: the client's clock is off by more than our leaves allow, where the true server's
    /// longer-lived certificate would have passed.
    CertificateExpired,
    /// Alert 46, `certificate_unknown`.
    CertificateUnknown,
    /// Alert 48, `unknown_ca`.
    UnknownCa,
    /// Alert 49, `access_denied`.
    AccessDenied,
    /// The connection was closed or reset once our certificate was out, before any application data.
    Closed,
}

impl Refusal {
    /// The alert's name in RFC 8446 § 6, or `closed`: for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadCertificate => "bad_certificate",
            Self::UnsupportedCertificate => "unsupported_certificate",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUnknown => "certificate_unknown",
            Self::UnknownCa => "unknown_ca",
            Self::AccessDenied => "access_denied",
            Self::Closed => "closed",
        }
    }

    /// The alert's number; `None` for a close.
    pub fn alert(self) -> Option<u8> {
        match self {
            Self::BadCertificate => Some(42),
            Self::UnsupportedCertificate => Some(43),
            Self::CertificateRevoked => Some(44),
            Self::CertificateExpired => Some(45),
            Self::CertificateUnknown => Some(46),
            Self::UnknownCa => Some(48),
            Self::AccessDenied => Some(49),
            Self::Closed => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alert() {
            Some(number) => write!(f, "TLS alert {} ({number})", self.name()),
            None => f.write_str("closed right after our certificate"),
        }
    }
}

/// Reads the error of an accept, or of the first read after it: did the client name our certificate as the reason?
///
/// With TLS 1.3 a client's alert may come when the server already thinks the handshake done, so the first read is to be asked too.
pub fn client_refusal(error: &io::Error) -> Option<Refusal> {
    match rustls_error(error)? {
        Error::AlertReceived(alert) => refusal(*alert),
        _ => None,
    }
}

/// Whether a connection ended as one does when a client dislikes our certificate and does not say so.
///
/// `ended` is how: the error of the accept or of a later read, or `None` for an orderly end of the stream. `application_bytes`
/// counts what the client has sent inside TLS; a client that sent a request has accepted us, however it leaves. The caller must
/// have sent its certificate, so the ClientHello must have been complete, and must not have given up waiting itself.
pub fn closed_after_certificate(ended: Option<&io::Error>, application_bytes: u64) -> Option<Refusal> {
    if application_bytes > 0 {
        return None;
    }
    match ended {
        None => Some(Refusal::Closed),
        Some(error) => client_refusal(error).or_else(|| is_close(error).then_some(Refusal::Closed)),
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn refusal(alert: AlertDescription) -> Option<Refusal> {
    match alert {
        AlertDescription::BadCertificate => Some(Refusal::BadCertificate),
        AlertDescription::UnsupportedCertificate => Some(Refusal::UnsupportedCertificate),
        AlertDescription::CertificateRevoked => Some(Refusal::CertificateRevoked),
        AlertDescription::CertificateExpired => Some(Refusal::CertificateExpired),
        AlertDescription::CertificateUnknown => Some(Refusal::CertificateUnknown),
        AlertDescription::UnknownCA => Some(Refusal::UnknownCa),
        AlertDescription::AccessDenied => Some(Refusal::AccessDenied),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
