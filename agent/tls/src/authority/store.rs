//! The CA as it is kept: one PEM file with the certificate and its private key, so that the two can never be of different CAs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::{Authority, AuthorityError, generate};
use crate::certificates;

/// More than any CA file is long.
const MAX_FILE: u64 = 64 * 1024;
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----\n";

/// Certificate and private key, as PEM. Has no `Debug`, for the key's sake.
pub(super) struct Stored {
    certificate_pem: String,
    key_pem: String,
}

/// What the certificate says.
pub(super) struct Facts {
    pub(super) fingerprint: String,
    pub(super) not_after: SystemTime,
    pub(super) subtrees: Vec<String>,
    pub(super) certificate: CertificateDer<'static>,
}

impl Stored {
    /// A new CA.
    pub(super) fn generate(subtrees: &[String]) -> Result<Self, AuthorityError> {
        let key = generate()?;
        let certificate = certificates::authority(subtrees, &label(), SystemTime::now())
            .self_signed(&key)
            .map_err(|source| AuthorityError::Generate { source })?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(super) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Writes the CA, all or nothing, and never over another: written aside, flushed, and linked into place, which fails where
    /// there is one.
    pub(super) fn create(&self, dir: &Path) -> Result<(), AuthorityError> {
        let path = dir.join(Authority::FILE);
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("create", dir)(error)),
            _ => refuse_if_mode(dir, 0o022)?,
        }
        let aside = dir.join(format!(".{}.{}", Authority::FILE, random_hex()));
        let result = self.write(&aside).and_then(|()| {
            fs::hard_link(&aside, &path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => AuthorityError::AlreadyExists { path: path.clone() },
                _ => io_error("create", &path)(error),
            })
        });
        // Whether or not it worked, the name aside has done its duty; that it may stay behind harms nothing.
        drop(fs::remove_file(&aside));
        result?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("flush", dir))
    }

    fn write(&self, path: &Path) -> Result<(), AuthorityError> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_error("create", path))?;
        file.write_all(self.certificate_pem.as_bytes())
            .and_then(|()| file.write_all(self.key_pem.as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", path))
    }

    /// Reads the CA, where nobody else could have read or replaced it.
    pub(super) fn load(dir: &Path) -> Result<Self, AuthorityError> {
        let path = dir.join(Authority::FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(AuthorityError::NotFound { path }),
            result => result.map_err(io_error("read", &path))?,
        };
        refuse_if_mode(dir, 0o022)?;
        refuse_if_mode(&path, 0o077)?;
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(io_error("read", &path))?;
        let (certificate, key) = text
            .split_once(CERTIFICATE_END)
            .ok_or_else(|| malformed(&path)("it does not start with a PEM certificate"))?;
        Ok(Self { certificate_pem: format!("{certificate}{CERTIFICATE_END}"), key_pem: key.to_owned() })
    }

    /// Checks that certificate and key are a CA as we make them, and says what it may sign.
    pub(super) fn facts(&self, path: &Path) -> Result<Facts, AuthorityError> {
        let malformed = malformed(path);
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(|error| malformed(&format!("its certificate cannot be read ({error})")))?;
        let key = KeyPair::from_pem(&self.key_pem)
            .map_err(|error| malformed(&format!("its private key cannot be read ({error})")))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| malformed(&format!("its certificate cannot be read ({error})")))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(malformed("its private key is not that of its certificate"));
        }
        if !parsed.is_ca() {
            return Err(malformed("its certificate is not a CA's"));
        }
        let subtrees = permitted_subtrees(&parsed).ok_or_else(|| {
            malformed("its certificate has no critical name constraints, so it could sign for any host")
        })?;
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after);
        if not_after <= SystemTime::now() {
            return Err(AuthorityError::Expired { path: path.to_owned() });
        }
        Ok(Facts { fingerprint: fingerprint(&certificate), not_after, subtrees, certificate })
    }
}

/// The DNS names that a CA is limited to; `None` where it is not.
fn permitted_subtrees(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let constraints = certificate.name_constraints().ok().flatten().filter(|extension| extension.critical)?;
    let permitted = constraints.value.permitted_subtrees.as_ref()?;
    let names: Vec<_> = permitted
        .iter()
        .filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => crate::name::canonical(name.trim_start_matches('.').as_bytes()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then_some(names)
}

/// SHA-256 as `AB:CD:…`.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The CA's name, by which people find it in a trust store. Random at its end: verifiers that look up issuers by name must not
/// take a new CA of this host for its old one.
fn label() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // An X.520 common name has at most 64 characters (RFC 5280 appendix A.1).
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(28).collect();
    format!("LLM interception CA {host} {}", random_hex())
}

fn random_hex() -> String {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).expect("the kernel's random numbers are there");
    format!("{:08x}", u32::from_ne_bytes(bytes))
}

fn refuse_if_mode(path: &Path, forbidden: u32) -> Result<(), AuthorityError> {
    let mode = fs::metadata(path).map_err(io_error("read", path))?.mode() & 0o7777;
    if mode & forbidden != 0 { Err(AuthorityError::Unprotected { path: path.to_owned(), mode }) } else { Ok(()) }
}

fn malformed(path: &Path) -> impl Fn(&str) -> AuthorityError {
    let path = path.to_owned();
    move |reason| AuthorityError::Malformed { path: path.clone(), reason: reason.to_owned() }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path: PathBuf = path.to_owned();
    move |source| AuthorityError::Io { action, path, source }
}
