//! What became of a connection, and why: the labels of metrics and the words of `doctor`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_workload::Caller;

use crate::tunnel::Carried;

/// One connection that was redirected here. No content.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// Who made it.
    pub caller: Arc<Caller>,
    /// The host it named in its ClientHello, where it did.
    pub host: Option<Arc<str>>,
    /// Where the application wanted to go.
    pub destination: SocketAddr,
    /// What became of it.
    pub fate: Fate,
    /// What a tunnel carried; zero for all others, whose exchanges have records of their own.
    pub carried: Carried,
    /// From its acceptance to this record: the whole connection for a tunnel, up to the first request for an interception.
    pub duration: Duration,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Its TLS was opened; its exchanges follow.
    Intercepted,
    /// Its bytes were passed on untouched.
    Tunnelled(TunnelReason),
    /// The client refused our certificate with this alert, or by closing.
    ClientRefused(&'static str),
    /// The handshake with the client failed for another reason.
    HandshakeFailed,
    /// The client broke off before it was known what it wanted.
    ClientGone,
    /// The real server could not be reached.
    Unreachable,
}

impl Fate {
    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intercepted => "intercepted",
            Self::Tunnelled(_) => "tunnelled",
            Self::ClientRefused(_) => "client_refused",
            Self::HandshakeFailed => "handshake_failed",
            Self::ClientGone => "client_gone",
            Self::Unreachable => "unreachable",
        }
    }

    /// Why, where there is a why.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Tunnelled(reason) => reason.name(),
            Self::ClientRefused(alert) => alert,
            Self::Intercepted | Self::HandshakeFailed | Self::ClientGone | Self::Unreachable => "",
        }
    }
}

/// Why a connection was tunnelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TunnelReason {
    /// Its first bytes are not a ClientHello.
    NotTls,
    /// Its ClientHello names no host.
    NoServerName,
    /// Its ClientHello is encrypted (ECH, RFC 9849), and the outer name is not a provider's.
    EncryptedHello,
    /// It names a host that is no provider's: a neighbour on a shared address.
    OtherHost,
    /// It went to a port on which providers do not speak TLS.
    OtherPort,
    /// It offers neither HTTP/1.1 nor HTTP/2 (ALPN, RFC 7301).
    OtherProtocol,
    /// The configuration opens nobody's TLS.
    TerminateOff,
    /// The authority may not sign for the host: it was made before the host was configured.
    OutsideConstraints,
    /// No certificate could be made.
    NoCertificate,
    /// The program refused our certificate for this host lately.
    ClientRefused,
    /// Its ClientHello is longer than is read.
    HelloTooLarge,
    /// Its ClientHello was not complete in time.
    HelloTooSlow,
    /// The server spoke first.
    ServerFirst,
}

impl TunnelReason {
    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::NoServerName => "no_server_name",
            Self::EncryptedHello => "encrypted_client_hello",
            Self::OtherHost => "other_host",
            Self::OtherPort => "other_port",
            Self::OtherProtocol => "other_protocol",
            Self::TerminateOff => "terminate_off",
            Self::OutsideConstraints => "outside_constraints",
            Self::NoCertificate => "no_certificate",
            Self::ClientRefused => "client_refused",
            Self::HelloTooLarge => "hello_too_large",
            Self::HelloTooSlow => "hello_too_slow",
            Self::ServerFirst => "server_first",
        }
    }
}
