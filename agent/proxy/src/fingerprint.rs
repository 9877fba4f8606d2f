//! Tells credentials apart without keeping them.
//!
//! A fingerprint is the beginning of a keyed hash (HMAC-SHA256). The key never leaves the node, so nobody can find out by trying
//! which credential a fingerprint belongs to, nor compare fingerprints of different nodes.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, request};
use zeroize::Zeroizing;

/// The length of the key, which is that of the hash.
const KEY: usize = 32;
/// How much of the hash is kept: enough to tell some millions of credentials apart.
const KEPT: usize = 8;

/// Makes fingerprints of credentials.
#[derive(Clone)]
pub struct Fingerprints {
    key: hmac::Key,
}

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// The file cannot be read or made.
    #[error("the key for fingerprints of credentials, {path}, cannot be read or made: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} is not a key for fingerprints of credentials: it should hold {KEY} bytes; remove it, and a new one is made, \
         with which all fingerprints change",
        path = path.display()
    )]
    Length {
        /// Which.
        path: PathBuf,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes for a key")]
    Random,
}

impl Fingerprints {
    /// The key's file in its directory.
    pub const FILE: &str = "credential.key";

    /// With a key that is forgotten when the process ends.
    pub fn ephemeral() -> Result<Self, FingerprintError> {
        Ok(Self::with(&*random()?))
    }

    /// With the key that is kept in `directory`. Both are made at the first time, for the owner alone to read.
    pub fn load_or_create(directory: &Path) -> Result<Self, FingerprintError> {
        let path = directory.join(Self::FILE);
        let read = || -> io::Result<Zeroizing<Vec<u8>>> {
            let mut key = Zeroizing::new(Vec::with_capacity(KEY + 1));
            fs::File::open(&path)?.take(KEY as u64 + 1).read_to_end(&mut key)?;
            Ok(key)
        };
        let key: io::Result<_> = match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path, &*random()?).and_then(|()| read()),
            read => read,
        };
        let key = key.map_err(|source| FingerprintError::File { path: path.clone(), source })?;
        let key = key.as_slice().try_into().map_err(|_wrong| FingerprintError::Length { path })?;
        Ok(Self::with(key))
    }

    fn with(key: &[u8; KEY]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The fingerprint of the credential that a request has, if it has one.
    pub(crate) fn of(&self, head: &request::Parts) -> Option<Arc<str>> {
        credential(head).map(|credential| self.hash(credential))
    }

    fn hash(&self, credential: &[u8]) -> Arc<str> {
        let hash = hmac::sign(&self.key, credential);
        hexadecimal(&hash.as_ref()[..KEPT]).into()
    }
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprints").finish_non_exhaustive()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn random() -> Result<Zeroizing<[u8; KEY]>, FingerprintError> {
    let mut key = Zeroizing::new([0; KEY]);
    rand::fill(&mut *key).map_err(|_unspecified| FingerprintError::Random)?;
    Ok(key)
}

/// Writes the key aside and links it into place, so that nobody reads half of it. One that is there already stays.
fn create(path: &Path, key: &[u8; KEY]) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut name = [0; 8];
    rand::fill(&mut name).map_err(io::Error::other)?;
    let aside = path.with_extension(hexadecimal(&name));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).and_then(|mut file| {
        file.write_all(key)?;
        file.sync_all()?;
        fs::hard_link(&aside, path)
    });
    // Whether or not it worked, the name aside has done its duty.
    drop(fs::remove_file(&aside));
    written.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

/// The credential of a request, without what stands around it: of AWS's signatures, the name of the key, as the rest of
/// them is new each time.
fn credential(head: &request::Parts) -> Option<&[u8]> {
    let of = |name: &str| head.headers.get(name).map(|value| value.as_bytes().trim_ascii());
    authorization(&head.headers)
        .or_else(|| ["x-api-key", "api-key", "x-goog-api-key"].into_iter().find_map(of))
        .or_else(|| query(head.uri.query()?))
        .or_else(|| in_protocol(&head.headers))
        .filter(|credential| !credential.is_empty())
}

fn authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let after = |mark: &[u8]| {
        let at = memchr::memmem::find(value, mark)? + mark.len();
        value[at..].split(|byte| matches!(byte, b'/' | b',' | b' ')).next()
    };
    if value.starts_with(b"AWS4-") {
        return after(b"Credential=");
    }
    let scheme = value.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1);
    Some(value[scheme..].trim_ascii())
}

/// Gemini's `key`, and the name of the key in AWS's signatures.
fn query(query: &str) -> Option<&[u8]> {
    query.split('&').find_map(|pair| match pair.split_once('=')? {
        ("key", value) => Some(value.as_bytes()),
        ("X-Amz-Credential", value) => value.split(['/', '%']).next().map(str::as_bytes),
        _ => None,
    })
}

/// Browsers cannot set headers for a WebSocket, so OpenAI takes the key as the name of a protocol.
fn in_protocol(headers: &HeaderMap) -> Option<&[u8]> {
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    protocols
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .find_map(|protocol| protocol.trim_ascii().strip_prefix(b"openai-insecure-api-key."))
}

#[cfg(test)]
mod tests;
