//! A web PKI for tests: one root CA, good server certificates for any names, and bad ones on purpose.
//!
//! The root is what a client (or the gateway's upstream side) is told to trust; it stands for the public web PKI and
//! has nothing to do with the gateway's own interception CA.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A root CA with the key that signs server certificates.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
    /// One key for all server certificates: what is tested is names and signatures, and key generation is slow.
    server_key: KeyPair,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Its `notAfter` passed in 2021.
    Expired,
    /// Its `notBefore` is in 2048.
    NotYetValid,
    /// It is for `wrong-name.example`.
    WrongName,
    /// A root that nobody trusts issued it.
    UnknownIssuer,
    /// It signed itself.
    SelfSigned,
}

/// A certificate or root could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused the parameters, usually a name that is not a DNS name.
    #[error("cannot make a certificate: {0}; check the host names")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the key.
    #[error("cannot use the certificate's key: {0}")]
    Key(#[from] rustls::Error),
    /// The PKI directory could not be read or written.
    #[error("cannot use PKI directory file {path}: {source}; give a directory this user may write")]
    File {
        /// The file that failed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Pki {
    /// Makes a new root, in memory.
    pub fn create() -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = root_params("Stand-in Web PKI Root")?.self_signed(&key)?;
        Self::from_parts(certificate.pem(), certificate.der().clone(), key)
    }

    /// Loads the root from `root.pem` and `root.key` in `dir`, or makes one and writes it there, so that the trust a
    /// client was given outlives the process.
    pub fn load_or_create(dir: &Path) -> Result<Self, PkiError> {
        let (pem_path, key_path) = (dir.join("root.pem"), dir.join("root.key"));
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| PkiError::File { path, source }
        };
        if pem_path.exists() && key_path.exists() {
            let pem = fs::read_to_string(&pem_path).map_err(file(&pem_path))?;
            let key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(file(&key_path))?)?;
            let root = rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes())
                .map_err(|error| file(&pem_path)(io::Error::new(io::ErrorKind::InvalidData, format!("{error}"))))?;
            return Self::from_parts(pem, root, key);
        }
        let pki = Self::create()?;
        fs::create_dir_all(dir).map_err(file(dir))?;
        fs::write(&pem_path, &pki.root_pem).map_err(file(&pem_path))?;
        fs::write(&key_path, pki.issuer.key().serialize_pem()).map_err(file(&key_path))?;
        Ok(pki)
    }

    /// The root certificate, for a client's trust store.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root certificate in DER.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// A rustls root store that holds this root alone.
    pub fn root_store(&self) -> rustls::RootCertStore {
        let mut store = rustls::RootCertStore::empty();
        store.add(self.root.clone()).expect("our own root parses");
        store
    }

    /// Issues a server certificate for `names` (DNS names, `*.example` or IP addresses), flawed as asked.
    pub fn issue(&self, names: &[&str], flaw: Flaw) -> Result<Arc<CertifiedKey>, PkiError> {
        let wrong = ["wrong-name.example"];
        let names: &[&str] = if flaw == Flaw::WrongName { &wrong } else { names };
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("unnamed"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = match flaw {
            Flaw::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Flaw::NotYetValid => (date_time_ymd(2048, 1, 1), date_time_ymd(2049, 1, 1)),
            _ => (date_time_ymd(2025, 1, 1), date_time_ymd(2045, 1, 1)),
        };
        let chain = match flaw {
            Flaw::SelfSigned => vec![params.self_signed(&self.server_key)?.der().clone()],
            Flaw::UnknownIssuer => {
                let stranger = Issuer::new(root_params("Nobody's Root")?, KeyPair::generate()?);
                vec![params.signed_by(&self.server_key, &stranger)?.der().clone()]
            }
            _ => vec![params.signed_by(&self.server_key, &self.issuer)?.der().clone()],
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.server_key.serialize_der()));
        Ok(Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&key)?)))
    }

    /// Issues a good server certificate for `names` as two PEM texts, chain and key, for servers that are programs of
    /// their own.
    pub fn issue_pem(&self, names: &[&str]) -> Result<(String, String), PkiError> {
        let certified = self.issue(names, Flaw::None)?;
        let chain = certified.cert.iter().map(|der| pem("CERTIFICATE", der)).collect();
        Ok((chain, self.server_key.serialize_pem()))
    }

    fn from_parts(root_pem: String, root: CertificateDer<'static>, key: KeyPair) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&root, key)?;
        Ok(Self { issuer, root, root_pem, server_key: KeyPair::generate()? })
    }
}

/// PEM as RFC 7468 has it: 64 characters a line.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn root_params(name: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Stand-in LLM providers");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2049, 1, 1));
    Ok(params)
}
