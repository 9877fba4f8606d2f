//! One connection, from the moment it is accepted: who made it, what it is, and what becomes of it.
//!
//! ```text
//! flow known? ──no──► reset: the listener is no open relay
//!    │ yes
//!    ▼
//! peek ──► not TLS, no SNI, another host, not opened ──► tunnel to where the application wanted to go
//!    │ a provider's host
//!    ▼
//! TLS handshake with a leaf for that host ──refused──► remembered: the next try is tunnelled
//!    │ accepted
//!    ▼
//! HTTP, exchange by exchange
//! ```
//! On a port where a user's own provider does without TLS, a request to that provider is HTTP at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tollgate_kernel::Flow;
use tollgate_llm::{Catalogue, Provider};
use tollgate_tls::hello::ClientHello;
use tollgate_tls::{Authority, Refusal, closed_after_certificate};
use tollgate_workload::{Caller, Workloads};

use crate::drain;
use crate::fate::{ConnectionRecord, Fate, TunnelReason};
use crate::http::{Connection, Http};
use crate::observe::{Observer, Step};
use crate::opened::{FirstWord, Opened};
use crate::peek::{Limits, Opaque, PeekError, Peeked, has_ended, peek};
use crate::plain;
use crate::prefixed::Prefixed;
use crate::refusals::Refusals;
use crate::tunnel::{Carried, carry, dial, reset};

/// How long a client may take for its side of the handshake. Generous: a slow client is not a refusal.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How soon after the handshake an end without a request counts as a refusal. A connection that was made in advance and never
/// used is older when it is closed.
const RIGHT_AFTER: Duration = Duration::from_secs(5);

/// Whose TLS is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Terminate {
    /// Everyone's, but for programs that refused our certificate lately.
    All,
    /// Nobody's: every connection is tunnelled, and counted by its SNI.
    Off,
}

/// What the configuration says about connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose TLS is opened.
    pub terminate: Terminate,
    /// The ports on which providers speak, with TLS or, where the catalogue says so, without. A connection to any other port
    /// of a known address is tunnelled unread.
    pub ports: Vec<u16>,
    /// How much a peek may take.
    pub peek: Limits,
}

/// Everything that a connection needs, shared by all.
pub struct Proxy {
    /// Signs for the intercepted hosts.
    pub authority: Arc<Authority>,
    /// Which hosts are providers.
    pub catalogue: Arc<Catalogue>,
    /// Serves what was opened.
    pub http: Http,
    /// Is told what became of every connection.
    pub observer: Arc<dyn Observer>,
    /// Who refused our certificate.
    pub refusals: Arc<Refusals>,
    /// Who calls.
    pub workloads: Arc<Workloads>,
    /// What the configuration says.
    pub settings: Settings,
}

/// A connection whose caller and destination are known.
struct Accepted {
    client: TcpStream,
    caller: Arc<Caller>,
    destination: SocketAddr,
    started: Instant,
}

/// The host that a connection names, and why it is not opened.
type NotOurs = (Option<Arc<str>>, TunnelReason);

/// What to do with a connection once it was peeked at.
enum Decision {
    Intercept { host: Arc<str>, provider: Arc<Provider>, bytes: Vec<u8> },
    Serve { host: Arc<str>, provider: Arc<Provider>, bytes: Vec<u8> },
    Tunnel { host: Option<Arc<str>>, reason: TunnelReason, bytes: Vec<u8>, server: Option<TcpStream> },
}

impl Proxy {
    /// Serves one accepted connection to its end.
    pub async fn serve(&self, client: TcpStream, flow: Option<Flow>, drain: drain::Watch) {
        let Some(flow) = flow else {
            // Nobody was redirected here: somebody dialled the listener. It is no open relay.
            reset(&client);
            self.observer.stray();
            return;
        };
        let caller = self.workloads.identify(flow.tgid, flow.uid, &flow.comm, flow.cgroup_id);
        let accepted = Accepted { client, caller, destination: flow.destination, started: Instant::now() };
        if let Err(error) = accepted.client.set_nodelay(true) {
            tracing::debug!(%error, "the client was gone before it was served");
            return;
        }
        self.decide(accepted, drain).await;
    }

    async fn decide(&self, mut accepted: Accepted, drain: drain::Watch) {
        let decision = if self.settings.ports.contains(&accepted.destination.port()) {
            match peek(&mut accepted.client, accepted.destination, self.settings.peek).await {
                Ok(Peeked::Opaque { why: Opaque::NotTls, bytes, server }) => {
                    self.judge_plain(&mut accepted, bytes, server).await
                }
                Ok(peeked) => self.judge(peeked, &accepted.caller),
                Err(error) => return self.lost(&accepted, &error),
            }
        } else {
            Decision::Tunnel { host: None, reason: TunnelReason::OtherPort, bytes: Vec::new(), server: None }
        };
        match decision {
            Decision::Tunnel { host, reason, bytes, server } => {
                self.tunnel(accepted, host, reason, &bytes, server).await;
            }
            Decision::Intercept { host, provider, bytes } => {
                self.intercept(accepted, host, provider, bytes, drain).await;
            }
            Decision::Serve { host, provider, bytes } => {
                self.serve_plain(accepted, host, provider, bytes, drain).await;
            }
        }
    }

    /// What is not TLS may be meant to be without.
    async fn judge_plain(&self, accepted: &mut Accepted, mut bytes: Vec<u8>, server: Option<TcpStream>) -> Decision {
        let (destination, peek) = (accepted.destination, self.settings.peek);
        let mut reason = TunnelReason::NotTls;
        if self.catalogue.http_ports().contains(&destination.port())
            && let Some((host, provider)) =
                plain::provider(&mut accepted.client, &mut bytes, destination, &self.catalogue, peek).await
        {
            if self.settings.terminate == Terminate::All {
                return Decision::Serve { host, provider, bytes };
            }
            reason = TunnelReason::TerminateOff;
        }
        Decision::Tunnel { host: None, reason, bytes, server }
    }

    async fn serve_plain(
        &self,
        accepted: Accepted,
        host: Arc<str>,
        provider: Arc<Provider>,
        bytes: Vec<u8>,
        drain: drain::Watch,
    ) {
        self.report(&accepted, Some(Arc::clone(&host)), Fate::Intercepted, Carried::default());
        let Accepted { client, caller, destination, .. } = accepted;
        let program = Arc::clone(&caller.program);
        let connection =
            Connection { host: Arc::clone(&host), destination, caller, provider, http2: false, plain: true };
        if let Err(error) = self.http.serve(Prefixed::new(client, bytes), connection, drain).await {
            tracing::debug!(%program, %host, %error, "a client connection ended in an error");
        }
    }

    fn judge(&self, peeked: Peeked, caller: &Caller) -> Decision {
        match peeked {
            Peeked::Opaque { why, bytes, server } => Decision::Tunnel { host: None, reason: why.into(), bytes, server },
            Peeked::Hello { hello, bytes } => match self.provider(&hello, caller) {
                Ok((host, provider)) => Decision::Intercept { host, provider, bytes },
                Err((host, reason)) => Decision::Tunnel { host, reason, bytes, server: None },
            },
        }
    }

    /// The host and provider to open this hello for, or why it is tunnelled.
    fn provider(&self, hello: &ClientHello, caller: &Caller) -> Result<(Arc<str>, Arc<Provider>), NotOurs> {
        let Some(name) = hello.server_name.as_deref() else { return Err((None, TunnelReason::NoServerName)) };
        let host: Arc<str> = Arc::from(name);
        // Browsers send a meaningless ECH extension to everybody (GREASE, RFC 9849 § 6.2), so it alone decides nothing. A real
        // one has an outer name that is not the provider's.
        let Some(provider) = self.catalogue.find(name) else {
            let reason =
                if hello.encrypted_client_hello { TunnelReason::EncryptedHello } else { TunnelReason::OtherHost };
            return Err((Some(host), reason));
        };
        let reason = if self.settings.terminate == Terminate::Off {
            TunnelReason::TerminateOff
        } else if !self.authority.permits(name) {
            TunnelReason::OutsideConstraints
        } else if !hello.alpn.is_empty() && !hello.alpn.iter().any(|alpn| alpn == b"h2" || alpn == b"http/1.1") {
            TunnelReason::OtherProtocol
        } else if self.refusals.applies(caller, &host) {
            TunnelReason::ClientRefused
        } else {
            return Ok((host, Arc::clone(provider)));
        };
        Err((Some(host), reason))
    }

    async fn tunnel(
        &self,
        mut accepted: Accepted,
        host: Option<Arc<str>>,
        reason: TunnelReason,
        bytes: &[u8],
        server: Option<TcpStream>,
    ) {
        let dialled = match server {
            Some(server) => Ok(server),
            None => dial(accepted.destination, self.settings.peek.connect_timeout).await,
        };
        let (fate, carried) = match dialled {
            Err(error) => {
                tracing::debug!(program = %accepted.caller.program, %error, "a connection could not be tunnelled");
                reset(&accepted.client);
                (Fate::Unreachable, Carried::default())
            }
            Ok(mut server) => {
                let mut carried = Carried::default();
                if let Err(error) = carry(&mut accepted.client, &mut server, bytes, &mut carried).await {
                    tracing::debug!(program = %accepted.caller.program, %error, "a tunnel broke");
                }
                (Fate::Tunnelled(reason), carried)
            }
        };
        self.report(&accepted, host, fate, carried);
    }

    async fn intercept(
        &self,
        accepted: Accepted,
        host: Arc<str>,
        provider: Arc<Provider>,
        bytes: Vec<u8>,
        drain: drain::Watch,
    ) {
        let config = match self.authority.server_config(&host) {
            Ok(config) => config,
            Err(error) => {
                // Failing open: the application must not suffer because a certificate cannot be made.
                tracing::error!(%host, %error, "no certificate could be made; the connection is tunnelled");
                return self.tunnel(accepted, Some(host), TunnelReason::NoCertificate, &bytes, None).await;
            }
        };
        let Accepted { client, caller, destination, started } = accepted;
        let record = |fate| ConnectionRecord {
            caller: Arc::clone(&caller),
            host: Some(Arc::clone(&host)),
            destination,
            fate,
            carried: Carried::default(),
            duration: started.elapsed(),
        };
        let report = |fate| self.observer.connection(record(fate));
        // Whoever left before our certificate was sent did not refuse it: they had waited long enough, while we were hung.
        if has_ended(&client).await {
            return report(Fate::ClientGone);
        }
        let begun = Instant::now();
        let handshake = TlsAcceptor::from(config).accept(Prefixed::new(client, bytes));
        let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(program = %caller.program, %host, %error, "a client's handshake failed");
                return report(match closed_after_certificate(Some(&error), 0) {
                    Some(refusal) => self.refused(&caller, &host, refusal).unwrap_or(Fate::ClientGone),
                    None => Fate::HandshakeFailed,
                });
            }
            Err(_elapsed) => return report(Fate::HandshakeFailed),
        };
        let opened = Instant::now();
        self.observer.took(Step::Handshake, opened - begun);
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let (refusals, observer, accepted) =
            (Arc::clone(&self.refusals), Arc::clone(&self.observer), record(Fate::Intercepted));
        let to = Arc::clone(&host);
        let (stream, verdict) = Opened::new(stream, move || {
            refusals.forgive(&accepted.caller, &to);
            observer.connection(accepted);
        });
        let connection = Connection {
            host: Arc::clone(&host),
            destination,
            caller: Arc::clone(&caller),
            provider,
            http2,
            plain: false,
        };
        if let Err(error) = self.http.serve(stream, connection, drain).await {
            tracing::debug!(program = %caller.program, %host, %error, "a client connection ended in an error");
        }
        let refused = match verdict.first_word() {
            FirstWord::Data => return,
            FirstWord::Refused(refusal) if opened.elapsed() < RIGHT_AFTER => self.refused(&caller, &host, refusal),
            FirstWord::Refused(_) | FirstWord::Awaited => None,
        };
        // Else made in advance and never used.
        report(refused.unwrap_or(Fate::Intercepted));
    }

    /// Remembers that a client refused our certificate, and says so to whoever can do something about it. `None` where it closed
    /// for a reason of its own.
    fn refused(&self, caller: &Caller, host: &Arc<str>, refusal: Refusal) -> Option<Fate> {
        if refusal == Refusal::Closed && !self.refusals.close_is_refusal(caller, host) {
            return None;
        }
        let reason = refusal.name();
        let period = self.refusals.remember(caller, host, refusal);
        let remedy = tollgate_tls::trust::remedy(&caller.program);
        tracing::warn!(
            program = %caller.program, user = %caller.user, pid = caller.pid, %host, reason,
            tunnelled_for_seconds = period.as_secs(), %remedy,
            "a client refused our certificate; its next tries are tunnelled"
        );
        Some(Fate::ClientRefused(reason))
    }

    /// The connection failed before it was known what it is.
    fn lost(&self, accepted: &Accepted, error: &PeekError) {
        tracing::debug!(program = %accepted.caller.program, %error, "a connection was lost while it was peeked at");
        reset(&accepted.client);
        let fate = match error {
            PeekError::Client(_) => Fate::ClientGone,
            PeekError::Server(_) => Fate::Unreachable,
        };
        self.report(accepted, None, fate, Carried::default());
    }

    fn report(&self, accepted: &Accepted, host: Option<Arc<str>>, fate: Fate, carried: Carried) {
        self.observer.connection(ConnectionRecord {
            caller: Arc::clone(&accepted.caller),
            host,
            destination: accepted.destination,
            fate,
            carried,
            duration: accepted.started.elapsed(),
        });
    }
}

impl From<Opaque> for TunnelReason {
    fn from(why: Opaque) -> Self {
        match why {
            Opaque::NotTls => Self::NotTls,
            Opaque::TooLarge => Self::HelloTooLarge,
            Opaque::TooSlow => Self::HelloTooSlow,
            Opaque::ServerFirst => Self::ServerFirst,
        }
    }
}
