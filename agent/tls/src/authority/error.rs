//! What can go wrong with a CA.

use std::io;
use std::path::PathBuf;

/// The CA could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// There is no CA yet.
    #[error("there is no CA at {path}; make it once with `ca init`")]
    NotFound {
        /// The file looked for.
        path: PathBuf,
    },
    /// There is one already. Clients trust it, so it is not overwritten.
    #[error(
        "there is already a CA at {path}; clients that trust it would stop working, so move it away first if it is to be replaced"
    )]
    AlreadyExists {
        /// The file found.
        path: PathBuf,
    },
    /// The key could be read or replaced by others.
    #[error("{path} has mode {mode:04o}, so others may use it; make it private with `chmod go-rwx {path}`")]
    Unprotected {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no CA of ours.
    #[error(
        "{path} is not a usable CA: {reason}; restore it from a backup, or move it away and make a new one with `ca init`"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its time is over.
    #[error("the CA at {path} has expired; move it away, make a new one with `ca init`, and have clients trust it")]
    Expired {
        /// The file.
        path: PathBuf,
    },
    /// No host names were given.
    #[error("a CA needs at least one host name that it may sign for; name the hosts to intercept")]
    NoNames,
    /// A pattern whose constraint would be a top-level domain or empty.
    #[error(
        "the host pattern {pattern:?} is too broad for a CA that everyone on this machine is to trust; put at least two labels after the wildcard"
    )]
    TooBroad {
        /// The pattern.
        pattern: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted: read, create, …
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The cryptography library failed.
    #[error("cannot make or read a key or certificate: {source}")]
    Generate {
        /// Why.
        source: rcgen::Error,
    },
}

/// There is no certificate for a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// What was asked for is no DNS name. It is not repeated here, as a client chose it.
    #[error("not a host name")]
    NotAHost,
    /// The name constraints rule it out.
    #[error("the CA was not made for {host}; move it away, make a new one with `ca init`, and have clients trust it")]
    NotPermitted {
        /// The host.
        host: String,
    },
    /// The CA expired while the process ran.
    #[error("the CA has expired; move it away, make a new one with `ca init`, and have clients trust it")]
    AuthorityExpired,
    /// Clients would not accept what the CA signs for the host: it is damaged, or was put together wrongly.
    #[error(
        "clients would refuse what the CA signs for {host} ({reason}); move it away, make a new one with `ca init`, and have clients trust it"
    )]
    Refused {
        /// The host.
        host: String,
        /// What a client would say.
        reason: String,
    },
    /// The cryptography library failed.
    #[error("cannot sign a certificate for {host}: {source}")]
    Sign {
        /// The host.
        host: String,
        /// Why.
        source: rcgen::Error,
    },
}
