//! The interception CA and the leaves it signs.
//!
//! The CA is made once and kept: clients that trust it would break if it changed. It is a root, whose key is thrown away at once,
//! and an issuing CA below it, with a certificate for each subtree. It can sign for the intercepted hosts only, by
//! X.509 name constraints, which limits what a stolen key is worth. A constraint names a whole subtree, so an exact host also
//! permits names below it, and a pattern with a wildcard in the middle permits all below the part after the wildcard
//! (`bedrock-runtime.*.amazonaws.com` permits `amazonaws.com`).

mod error;
mod store;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use quick_cache::sync::Cache;
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, sign};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tollgate_ebpf::name::Pattern;

pub use self::error::{AuthorityError, MintError};
use self::store::Stored;
use crate::certificates::{self, LEAF_BACKDATE, LEAF_LIFE};
use crate::name;
use crate::provider::provider;
use crate::roots::Roots;

/// How many hosts' leaves are kept. The hosts come from clients, so there is a bound.
const LEAVES: usize = 1024;
/// How many TLS 1.2 sessions are kept for clients that take no tickets.
const SESSIONS: usize = 4096;

/// A certificate authority with a cache of leaves by host. One per process; all methods take `&self`.
pub struct Authority {
    root: CertificateDer<'static>,
    /// The issuing CA's key, whichever of its certificates is used.
    key: KeyPair,
    issuing: Vec<Issuing>,
    /// What clients do with what we sign.
    verifier: Arc<WebPkiServerVerifier>,
    certificate_pem: String,
    fingerprint: String,
    not_after: SystemTime,
    /// What all the issuing certificates may sign for.
    subtrees: Vec<String>,
    /// One key for all leaves of the process: a new one per host would add nothing, and cost.
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    leaves: Cache<Box<str>, Leaf>,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

/// A certificate of the issuing CA.
struct Issuing {
    certificate: CertificateDer<'static>,
    subtrees: Vec<String>,
}

#[derive(Clone)]
struct Leaf {
    minted: SystemTime,
    config: Arc<ServerConfig>,
}

impl Authority {
    /// Makes a CA for the hosts that `permitted` matches, and keeps it in `dir`: one file [`FILE`](Self::FILE) that only its owner may
    /// read. A missing `dir` is made, for its owner only. Never overwrites a CA.
    pub fn create(dir: &Path, permitted: &[Pattern]) -> Result<Self, AuthorityError> {
        let stored = Stored::generate(dir, &subtrees(permitted)?)?;
        stored.create()?;
        Self::of(stored)
    }

    /// Reads the CA kept in `dir`.
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        Self::of(Stored::load(dir)?)
    }

    /// Reads the CA kept in `dir`, or makes it where there is none. Whether it covers `permitted` is for the caller to ask
    /// ([`uncovered`](Self::uncovered)): a CA that does not is still good for the hosts it does cover.
    pub fn load_or_create(dir: &Path, permitted: &[Pattern]) -> Result<Self, AuthorityError> {
        match Self::load(dir) {
            Err(AuthorityError::NotFound { .. }) => {}
            result => return result,
        }
        match Self::create(dir, permitted) {
            // Another process was faster.
            Err(AuthorityError::AlreadyExists { .. }) => Self::load(dir),
            result => result,
        }
    }

    /// Makes a CA that lives in memory only.
    pub fn ephemeral(permitted: &[Pattern]) -> Result<Self, AuthorityError> {
        Self::of(Stored::generate(Path::new("memory"), &subtrees(permitted)?)?)
    }

    /// The name of the file in the CA's directory. It holds the certificates and the private key.
    pub const FILE: &str = "ca.pem";

    /// The root's certificate, which clients are to trust, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root's certificate, as DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// SHA-256 of the root's certificate, as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// When the CA expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The DNS subtrees that the CA can sign for.
    pub fn subtrees(&self) -> &[String] {
        &self.subtrees
    }

    /// Whether the CA can sign for `host`.
    pub fn permits(&self, host: &str) -> bool {
        name::canonical(host.as_bytes()).is_some_and(|host| self.permits_canonical(&host))
    }

    /// Those of `patterns` that the CA was not made for. Hosts that match them cannot be opened until a new CA is made and trusted.
    pub fn uncovered<'a>(&self, patterns: &'a [Pattern]) -> Vec<&'a Pattern> {
        patterns.iter().filter(|pattern| !self.permits_canonical(&subtree(pattern))).collect()
    }

    /// What to answer a client with that asks for `host`: a leaf for it (and the issuing CA), h2 and http/1.1, resumption by ticket and by
    /// session. Signs where there is no fresh leaf in the cache, which takes a fraction of a millisecond and waits for nothing.
    pub fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, MintError> {
        self.server_config_at(host, SystemTime::now())
    }

    fn server_config_at(&self, host: &str, now: SystemTime) -> Result<Arc<ServerConfig>, MintError> {
        let host = name::canonical(host.as_bytes()).ok_or(MintError::NotAHost)?;
        if let Some(leaf) = self.leaves.get(host.as_str()).filter(|leaf| leaf.is_fresh(now)) {
            return Ok(leaf.config);
        }
        let Some(issuing) = self.issuing(&host) else { return Err(MintError::NotPermitted { host }) };
        if now >= self.not_after {
            return Err(MintError::AuthorityExpired);
        }
        // Two connections at once may both come here. Both leaves are good; none waits for the other.
        let config = self.mint(issuing, &host, now)?;
        self.leaves.insert(host.into(), Leaf { minted: now, config: Arc::clone(&config) });
        Ok(config)
    }

    fn permits_canonical(&self, host: &str) -> bool {
        self.issuing(host).is_some()
    }

    /// The certificate that may sign for this host.
    fn issuing(&self, host: &str) -> Option<&Issuing> {
        self.issuing.iter().find(|issuing| issuing.subtrees.iter().any(|subtree| name::within(host, subtree)))
    }

    /// Signs, and verifies as a client would: a CA that was damaged, or put together wrongly, must not only be noticed when every
    /// client refuses it.
    fn sign(&self, issuing: &Issuing, host: &str, now: SystemTime) -> Result<CertificateDer<'static>, MintError> {
        let issuer = Issuer::from_ca_cert_der(&issuing.certificate, &self.key);
        let leaf: CertificateDer<'static> = certificates::leaf(host, now, self.not_after)
            .and_then(|params| params.signed_by(&self.leaf_key, &issuer?))
            .map_err(|source| MintError::Sign { host: host.to_owned(), source })?
            .into();
        let refused = |reason: String| MintError::Refused { host: host.to_owned(), reason };
        let name = ServerName::try_from(host).map_err(|error| refused(error.to_string()))?;
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.verifier
            .verify_server_cert(
                &leaf,
                std::slice::from_ref(&issuing.certificate),
                &name,
                &[],
                UnixTime::since_unix_epoch(at),
            )
            .map_err(|error| refused(error.to_string()))?;
        Ok(leaf)
    }

    fn mint(&self, issuing: &Issuing, host: &str, now: SystemTime) -> Result<Arc<ServerConfig>, MintError> {
        let chain = vec![self.sign(issuing, host, now)?, issuing.certificate.clone()];
        let certified = CertifiedKey::new(chain, Arc::clone(&self.leaf_signer));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(&self.tickets);
        config.session_storage = Arc::clone(&self.sessions);
        Ok(Arc::new(config))
    }

    fn of(stored: Stored) -> Result<Self, AuthorityError> {
        let facts = stored.facts()?;
        let path = stored.path.clone();
        let malformed = |reason: String| AuthorityError::Malformed { path: path.clone(), reason };
        let leaf_key = generate_key().map_err(|source| AuthorityError::Generate { source })?;
        let leaf_signer = sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into())
            .expect("rcgen writes the P-256 keys that rustls reads");
        let provider = provider();
        let roots =
            Roots::only([stored.root.clone()]).ok_or_else(|| malformed("its root cannot be parsed".to_owned()))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.store(), Arc::clone(&provider))
            .build()
            .map_err(|error| malformed(error.to_string()))?;
        let issuing = stored.issuing.into_iter().zip(facts.subtrees);
        let issuing: Vec<_> = issuing.map(|(certificate, subtrees)| Issuing { certificate, subtrees }).collect();
        let mut subtrees: Vec<_> = issuing.iter().flat_map(|issuing| issuing.subtrees.iter().cloned()).collect();
        subtrees.sort_unstable();
        let authority = Self {
            key: stored.key,
            certificate_pem: store::to_pem(&stored.root),
            root: stored.root,
            issuing,
            verifier,
            fingerprint: facts.fingerprint,
            not_after: facts.not_after,
            subtrees,
            leaf_key,
            leaf_signer,
            leaves: Cache::new(LEAVES),
            provider,
            tickets: Ticketer::new().expect("the kernel's random numbers are there"),
            sessions: ServerSessionMemoryCache::new(SESSIONS),
        };
        // One of its certificates stands for the others, which are tried when they are needed: there are hundreds.
        let first = &authority.issuing[0];
        match authority.sign(first, &first.subtrees[0], SystemTime::now()) {
            Ok(_leaf) => Ok(authority),
            Err(MintError::Refused { reason, .. }) => {
                Err(malformed(format!("what it signs is not accepted by clients ({reason})")))
            }
            Err(error) => Err(malformed(error.to_string())),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint)
            .field("subtrees", &self.subtrees)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    /// Whether it has at least half of its life before it. Also not, when the clock was set back to before it was minted.
    fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.minted + LEAF_LIFE / 2 && now + LEAF_BACKDATE > self.minted
    }
}

/// A new P-256 key.
fn generate_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// The name constraint for one pattern.
fn subtree(pattern: &Pattern) -> String {
    pattern.suffix().trim_start_matches('.').to_ascii_lowercase()
}

/// The name constraints for all patterns, without those that another one includes.
fn subtrees(permitted: &[Pattern]) -> Result<Vec<String>, AuthorityError> {
    let mut all = Vec::with_capacity(permitted.len());
    for pattern in permitted {
        let subtree = subtree(pattern);
        let text = pattern.to_string();
        // `*.com` would make the constraint worthless. A single label without a wildcard is a host of the local network.
        if name::canonical(subtree.as_bytes()).is_none() || (text.contains('*') && !subtree.contains('.')) {
            return Err(AuthorityError::TooBroad { pattern: text });
        }
        all.push(subtree);
    }
    all.sort_unstable();
    all.dedup();
    let kept: Vec<_> = all
        .iter()
        .filter(|host| !all.iter().any(|other| other != *host && name::within(host, other)))
        .cloned()
        .collect();
    if kept.is_empty() { Err(AuthorityError::NoNames) } else { Ok(kept) }
}

#[cfg(test)]
mod tests;
