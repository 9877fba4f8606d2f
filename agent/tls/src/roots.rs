//! The roots that upstream certificates are verified against.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The system's roots and those of extra files. Cheap to clone.
#[derive(Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

/// There is nothing to verify upstream certificates with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// Neither the system nor the files gave a root.
    #[error("no root certificates were found on this system{}; install the package ca-certificates, or point SSL_CERT_FILE at a bundle", in_brackets(.reasons))]
    Empty {
        /// What went wrong while looking.
        reasons: Vec<String>,
    },
    /// An extra file cannot be read.
    #[error("cannot read the root certificates in {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An extra file holds something else.
    #[error(
        "{path} holds no usable certificate ({reason}); it must be PEM, with `-----BEGIN CERTIFICATE-----` before each"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What it held instead.
        reason: String,
    },
}

impl Roots {
    /// The system's roots (or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead), and every certificate in the PEM files `extra`.
    ///
    /// A damaged certificate in the system's store is passed over, as every other TLS client does; one in `extra`, which the
    /// operator named, is an error.
    pub fn load(extra: &[PathBuf]) -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        for reason in &reasons {
            tracing::warn!(%reason, "a part of the system's root certificates cannot be read");
        }
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(found.certs);
        if ignored > 0 {
            reasons.push(format!("{ignored} certificates cannot be parsed"));
        }
        for path in extra {
            for certificate in read(path)? {
                store
                    .add(certificate)
                    .map_err(|error| RootsError::NoCertificate { path: path.clone(), reason: error.to_string() })?;
            }
        }
        Self::from_store(store).ok_or(RootsError::Empty { reasons })
    }

    /// Only the given certificates. `None` where there are none.
    pub fn only(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        Self::from_store(store)
    }

    /// How many roots there are.
    pub fn count(&self) -> usize {
        self.store.len()
    }

    fn from_store(store: RootCertStore) -> Option<Self> {
        (!store.is_empty()).then(|| Self { store: Arc::new(store) })
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.count())
    }
}

/// Every certificate in a PEM file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let text = std::fs::read(path).map_err(|source| RootsError::Io { path: path.to_owned(), source })?;
    let no_certificate = |reason: String| RootsError::NoCertificate { path: path.to_owned(), reason };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| no_certificate(error.to_string()))?;
    if certificates.is_empty() { Err(no_certificate("no PEM section".to_owned())) } else { Ok(certificates) }
}

fn in_brackets(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Authority;
    use crate::testing::patterns;

    fn pem() -> String {
        Authority::ephemeral(&patterns(&["api.openai.com"])).unwrap().certificate_pem().to_owned()
    }

    #[test]
    fn extra_files_add_to_the_systems_roots() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corp.pem");
        fs::write(&path, format!("# two of them\n{}\n{}", pem(), pem())).unwrap();

        let system = Roots::load(&[]).unwrap();
        let both = Roots::load(&[path]).unwrap();

        assert!(system.count() > 0);
        assert_eq!(both.count(), system.count() + 2);
    }

    #[test]
    fn a_bad_extra_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corp.pem");
        for content in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAA",
        ] {
            fs::write(&path, content).unwrap();
            let error = Roots::load(std::slice::from_ref(&path)).unwrap_err();
            assert!(matches!(error, RootsError::NoCertificate { .. }), "{content:?}: {error}");
            assert!(error.to_string().contains("corp.pem"), "{error}");
        }
        let missing = dir.path().join("missing.pem");
        assert!(matches!(Roots::load(&[missing]).unwrap_err(), RootsError::Io { .. }));
    }

    #[test]
    fn no_roots_at_all_is_no_store() {
        assert!(Roots::only([]).is_none());
        assert!(Roots::only([CertificateDer::from(vec![1, 2, 3])]).is_none());
        let error = RootsError::Empty { reasons: vec!["the disk is gone".to_owned()] };
        assert!(error.to_string().contains("(the disk is gone); install"), "{error}");
    }
}
