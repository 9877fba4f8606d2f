//! The files and environment variables by which a client comes to trust the CA without being changed.
//!
//! Variables that *replace* a client's roots get what the client would have had, and ours; those that *add* to them get ours alone.
//! To give a replacing variable our CA alone would break every connection that is not intercepted. Where the user had set a
//! variable, their choice is what ours is added to: nothing they trusted is lost, and nothing else is gained.

mod bundle;
mod environment;
mod java;
mod remedy;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use self::bundle::Bundle;
pub use self::remedy::remedy;

/// The CA's certificate alone.
const CERTIFICATE_FILE: &str = "ca.pem";
/// The system's roots and the CA's certificate.
const BUNDLE_FILE: &str = "bundle.pem";
/// The same for Java.
const JAVA_FILE: &str = "truststore.p12";

/// Names and values, as a process has them.
pub type Environment = BTreeMap<OsString, OsString>;

/// What was written, and what to set.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The CA's certificate alone, for variables and stores that add.
    pub certificate: PathBuf,
    /// The system's roots and the CA, for those that replace.
    pub bundle: PathBuf,
    /// The same as a PKCS #12 trust store, for Java.
    pub java: PathBuf,
    /// What to set in the client's environment. All else stays as it is.
    pub variables: Environment,
    /// What could not be done as the user's environment asked, for the log.
    pub notes: Vec<String>,
}

/// The files cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A bundle without the system's roots would make clients distrust all the world but us.
    #[error(
        "no root certificates were found on this system, so no bundle that adds ours can be made; install the package ca-certificates"
    )]
    NoSystemRoots,
    /// The CA's own certificate cannot be read back.
    #[error("the CA's certificate is not readable PEM: {source}")]
    Certificate {
        /// Why.
        source: pem::Error,
    },
    /// A file operation failed.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the files for clients of the CA with `certificate_pem` into `dir`, readable by everyone, and says which variables to set
/// for a client that has `environment`. A missing `dir` is made. Each file is replaced in one step, so clients that start meanwhile
/// read the old or the new.
///
/// Blocks on the disk; for start-up and `exec`, not for the request path.
pub fn install(dir: &Path, certificate_pem: &str, environment: &Environment) -> Result<Trust, TrustError> {
    install_with(dir, certificate_pem, environment, &Bundle::system())
}

fn install_with(
    dir: &Path,
    certificate_pem: &str,
    environment: &Environment,
    system: &Bundle,
) -> Result<Trust, TrustError> {
    if system.is_empty() {
        return Err(TrustError::NoSystemRoots);
    }
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
        .map_err(|source| TrustError::Certificate { source })?;
    let ours = Bundle::of([certificate]);
    let all = system.union(&ours);
    bundle::make_dir(dir)?;
    let mut trust = Trust {
        certificate: dir.join(CERTIFICATE_FILE),
        bundle: dir.join(BUNDLE_FILE),
        java: dir.join(JAVA_FILE),
        variables: Environment::new(),
        notes: Vec::new(),
    };
    bundle::write(&trust.certificate, ours.to_pem().as_bytes())?;
    bundle::write(&trust.bundle, all.to_pem().as_bytes())?;
    bundle::write(&trust.java, &java::trust_store(&all))?;
    environment::plan(&mut trust, dir, system, &ours, environment)?;
    Ok(trust)
}

#[cfg(test)]
mod tests;
