//! Building, starting and steering a stand-in provider.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::dialect::Dialect;
use crate::fault::Faults;
use crate::gate::{Gate, Gates};
use crate::pki::{Flaw, Pki, PkiError};
use crate::seed::Seed;
use crate::serve::{self, Certificates};
use crate::truth::{self, Truth};

/// The hosts served without asking.
pub const HOSTS: [(&str, Dialect); 12] = [
    ("api.openai.com", Dialect::OpenAi),
    ("api.anthropic.com", Dialect::Anthropic),
    ("generativelanguage.googleapis.com", Dialect::Gemini),
    ("us-central1-aiplatform.googleapis.com", Dialect::Vertex),
    ("bedrock-runtime.us-east-1.amazonaws.com", Dialect::Bedrock),
    ("stand-in.openai.azure.com", Dialect::Azure),
    ("api.mistral.ai", Dialect::Mistral),
    ("api.deepseek.com", Dialect::DeepSeek),
    ("api.groq.com", Dialect::Groq),
    ("api.cohere.com", Dialect::Cohere),
    ("ollama.com", Dialect::Ollama),
    ("other-site.example", Dialect::Site),
];

/// A provider could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A listener could not be used.
    #[error("cannot use a listener: {0}; it must be a listening TCP socket")]
    Listener(#[from] io::Error),
    /// The TLS library refused the settings.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Settings of a provider; see [`Provider::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct Builder<'a> {
    pki: &'a Pki,
    hosts: Vec<(String, Dialect, Flaw)>,
    alpn: Vec<Vec<u8>>,
    pace: Duration,
    compress: bool,
    require_key: bool,
    requests_per_connection: Option<u32>,
    kept: usize,
}

impl Builder<'_> {
    /// Also serves `host` (`*.example` for one label), in this dialect.
    pub fn host(self, host: &str, dialect: Dialect) -> Self {
        self.flawed_host(host, dialect, Flaw::None)
    }

    /// Also serves `host`, with a bad certificate. Replaces a host of the same name.
    pub fn flawed_host(mut self, host: &str, dialect: Dialect, flaw: Flaw) -> Self {
        self.hosts.retain(|(known, ..)| known != host);
        self.hosts.push((host.to_ascii_lowercase(), dialect, flaw));
        self
    }

    /// The application protocols offered, in order of preference. Default: `h2`, `http/1.1`.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// The wait before each event of a stream. Default: none.
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Whether answers are compressed where `accept-encoding` allows it, as the real ones are. Default: yes.
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Whether a request without an API key is refused with 401, as the real ones do. Default: yes.
    pub fn require_key(mut self, require: bool) -> Self {
        self.require_key = require;
        self
    }

    /// After so many requests a connection gets GOAWAY (HTTP/2) or `connection: close` (HTTP/1). Default: never.
    pub fn requests_per_connection(mut self, requests: u32) -> Self {
        self.requests_per_connection = Some(requests);
        self
    }

    /// How many exchanges and handshakes [`Truth`] lists before it forgets the oldest; its sums forget nothing.
    /// Default: 10 000.
    pub fn kept(mut self, exchanges: usize) -> Self {
        self.kept = exchanges;
        self
    }

    /// Starts serving on `listeners` with the current tokio runtime. The caller binds them, in whatever network namespace
    /// they should live.
    pub fn start(self, listeners: Vec<TcpListener>) -> Result<Provider, StartError> {
        let certificates = Arc::new(Certificates::default());
        let mut hosts = HashMap::new();
        for (host, dialect, flaw) in &self.hosts {
            certificates.set(host, self.pki.issue(&[host], *flaw)?);
            hosts.insert(host.clone(), *dialect);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn rustls::server::ResolvesServerCert>);
        tls.alpn_protocols = self.alpn;
        let shared = Arc::new(Shared {
            hosts: RwLock::new(hosts),
            certificates,
            tls: Arc::new(tls),
            pace: self.pace,
            compress: self.compress,
            require_key: self.require_key,
            requests_per_connection: self.requests_per_connection,
            root_pem: self.pki.root_pem().to_owned(),
            truth: Truth::new(self.kept),
            gates: Gates::default(),
            injected: Mutex::default(),
            tries: Mutex::default(),
            answers: Mutex::default(),
        });
        let mut addresses = Vec::new();
        let mut tasks = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.push(tokio::spawn(serve::accept(Arc::clone(&shared), listener)));
        }
        Ok(Provider { shared, addresses, tasks })
    }
}

/// A running provider. Dropping it closes its listeners and connections.
pub struct Provider {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Provider {
    /// A provider of [`HOSTS`], with certificates from `pki`.
    pub fn builder(pki: &Pki) -> Builder<'_> {
        Builder {
            pki,
            hosts: HOSTS.map(|(host, dialect)| (host.to_owned(), dialect, Flaw::None)).into(),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            pace: Duration::ZERO,
            compress: true,
            require_key: true,
            requests_per_connection: None,
            kept: truth::KEPT,
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was served.
    pub fn truth(&self) -> &Truth {
        &self.shared.truth
    }

    /// The gate that streams with the fault `gate=NAME` wait at.
    pub fn gate(&self, name: &str) -> Gate {
        self.shared.gates.named(name)
    }

    /// The next `requests` requests to API hosts get these faults, besides those they choose themselves.
    pub fn inject(&self, faults: Faults, requests: u32) {
        self.shared.inject(faults, requests);
    }

    /// From now on, new handshakes for `host` get a certificate with this flaw. Sessions may still be resumed.
    pub fn present(&self, pki: &Pki, host: &str, flaw: Flaw) -> Result<(), PkiError> {
        self.shared.certificates.set(host, pki.issue(&[host], flaw)?);
        Ok(())
    }

    /// Serves the control interface over plain HTTP/1 on `listener`; see [`crate::control`].
    pub fn control(&mut self, listener: TcpListener) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.tasks.push(tokio::spawn(crate::control::serve(Arc::clone(&self.shared), listener)));
        Ok(address)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) hosts: RwLock<HashMap<String, Dialect>>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) pace: Duration,
    pub(crate) compress: bool,
    pub(crate) require_key: bool,
    pub(crate) requests_per_connection: Option<u32>,
    pub(crate) root_pem: String,
    pub(crate) truth: Truth,
    pub(crate) gates: Gates,
    injected: Mutex<Vec<(Faults, u32)>>,
    tries: Mutex<HashMap<Seed, u32>>,
    answers: Mutex<HashMap<Seed, Arc<Answer>>>,
}

impl Shared {
    pub(crate) fn dialect(&self, host: &str) -> Option<Dialect> {
        let hosts = self.hosts.read();
        hosts.get(host).or_else(|| hosts.get(&format!("*.{}", host.split_once('.')?.1))).copied()
    }

    pub(crate) fn inject(&self, faults: Faults, requests: u32) {
        self.injected.lock().push((faults, requests));
    }

    /// The faults injected into this request; oldest injection first.
    pub(crate) fn take_injected(&self) -> Faults {
        let mut injected = self.injected.lock();
        let Some((faults, left)) = injected.first_mut() else { return Faults::default() };
        *left = left.saturating_sub(1);
        let (faults, done) = (faults.clone(), *left == 0);
        if done {
            injected.remove(0);
        }
        faults
    }

    /// How often this request was tried before, counting this try.
    pub(crate) fn count_try(&self, request: Seed) -> u32 {
        const MOST: usize = 100_000;
        let mut tries = self.tries.lock();
        if tries.len() >= MOST {
            tries.clear();
        }
        let count = tries.entry(request).or_default();
        *count += 1;
        *count
    }

    /// The answer for `key`, made once: equal requests have equal answers, and load tests repeat themselves.
    pub(crate) fn answer(&self, key: Seed, make: impl FnOnce() -> Answer) -> Arc<Answer> {
        const MOST: usize = 512;
        if let Some(known) = self.answers.lock().get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(make());
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(key, Arc::clone(&made));
        made
    }
}
