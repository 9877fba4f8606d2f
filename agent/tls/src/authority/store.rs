//! The CA as it is kept: one PEM file with the root's certificate, those of the issuing CA, and the issuing CA's private key, so
//! that they can never be of different CAs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use pem::Pem;
use rcgen::{CertifiedIssuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::{Authority, AuthorityError, generate_key};
use crate::certificates;

/// More than any CA file is long: one certificate takes less than a kilobyte, and there is one for each subtree.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A CA, new or read. Has no `Debug`, for the key's sake.
pub(super) struct Stored {
    /// Where it is kept, for errors.
    pub(super) path: PathBuf,
    /// What clients trust.
    pub(super) root: CertificateDer<'static>,
    /// What signs leaves: a certificate for each part of what may be signed for. One is sent to clients with each leaf. A CA of
    /// an earlier version has a single one for all.
    pub(super) issuing: Vec<CertificateDer<'static>>,
    /// Of the issuing CA, whichever certificate it uses.
    pub(super) key: KeyPair,
}

/// What the certificates say.
pub(super) struct Facts {
    pub(super) fingerprint: String,
    pub(super) not_after: SystemTime,
    /// What each issuing certificate may sign for.
    pub(super) subtrees: Vec<Vec<String>>,
}

impl Stored {
    /// A new CA, to be kept in `dir` if it is.
    pub(super) fn generate(dir: &Path, subtrees: &[String]) -> Result<Self, AuthorityError> {
        let (label, now) = (label(), SystemTime::now());
        let key = generate_key().map_err(|source| AuthorityError::Generate { source })?;
        let generated = (|| {
            // The root's key goes no further than this function.
            let root = CertifiedIssuer::self_signed(certificates::root(subtrees, &label, now), generate_key()?)?;
            let issuing = subtrees.iter().enumerate().map(|(number, subtree)| {
                let params = certificates::issuing(subtree, &label, number, now);
                Ok(params.signed_by(&key, &root)?.into())
            });
            Ok((root.der().clone(), issuing.collect::<Result<_, rcgen::Error>>()?))
        })();
        let (root, issuing) = generated.map_err(|source| AuthorityError::Generate { source })?;
        Ok(Self { path: dir.join(Authority::FILE), root, issuing, key })
    }

    /// Writes the CA, all or nothing, and never over another: written aside, flushed, and linked into place, which fails where
    /// there is one.
    pub(super) fn create(&self) -> Result<(), AuthorityError> {
        let path = &self.path;
        let dir = path.parent().expect("the path was made by appending a file name");
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("create", dir)(error)),
            _ => refuse_if_mode(dir, 0o022)?,
        }
        let aside = dir.join(format!(".{}.{}", Authority::FILE, random_hex()));
        let result = self.write(&aside).and_then(|()| {
            fs::hard_link(&aside, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => AuthorityError::AlreadyExists { path: path.clone() },
                _ => io_error("create", path)(error),
            })
        });
        // Whether or not it worked, the name aside has done its duty. The error to tell is the one above.
        drop(fs::remove_file(&aside));
        result?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("flush", dir))
    }

    fn write(&self, path: &Path) -> Result<(), AuthorityError> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_error("create", path))?;
        let mut text = to_pem(&self.root);
        text.extend(self.issuing.iter().map(to_pem));
        text.push_str(&self.key.serialize_pem());
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error("write", path))
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
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text).map_err(io_error("read", &path))?;
        let malformed = |reason: String| AuthorityError::Malformed { path: path.clone(), reason };
        let mut certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(format!("its certificates cannot be read ({error})")))?;
        if certificates.len() < 2 {
            let count = certificates.len();
            return Err(malformed(format!("it holds {count} certificates instead of the root's and the issuing CA's")));
        }
        let issuing = certificates.split_off(1);
        let root = certificates.swap_remove(0);
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| malformed(format!("its private key cannot be read ({error})")))?;
        let key =
            KeyPair::try_from(&key).map_err(|error| malformed(format!("its private key cannot be used ({error})")))?;
        Ok(Self { path, root, issuing, key })
    }

    /// Checks that it is a CA as we make them, and says what it may sign.
    pub(super) fn facts(&self) -> Result<Facts, AuthorityError> {
        let malformed = |reason: &str| AuthorityError::Malformed { path: self.path.clone(), reason: reason.to_owned() };
        let parse = |der| {
            x509_parser::parse_x509_certificate(der)
                .map(|(_, certificate)| certificate)
                .map_err(|error| malformed(&format!("a certificate cannot be read ({error})")))
        };
        let root = parse(&self.root)?;
        let mut not_after = expiry(&root);
        let mut subtrees = Vec::with_capacity(self.issuing.len());
        for issuing in &self.issuing {
            let issuing = parse(issuing)?;
            if issuing.public_key().subject_public_key.data.as_ref() != self.key.public_key_raw() {
                return Err(malformed("its private key is not that of its issuing CA"));
            }
            subtrees.push(permitted_subtrees(&issuing).ok_or_else(|| {
                malformed("its issuing CA has no critical name constraints, so it could sign for any host")
            })?);
            not_after = not_after.min(expiry(&issuing));
        }
        if not_after <= SystemTime::now() {
            return Err(AuthorityError::Expired { path: self.path.clone() });
        }
        Ok(Facts { fingerprint: fingerprint(&self.root), not_after, subtrees })
    }
}

/// One certificate as PEM.
pub(super) fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", certificate.to_vec()), config)
}

fn expiry(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
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
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(20).collect();
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

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path: PathBuf = path.to_owned();
    move |source| AuthorityError::Io { action, path, source }
}
