//! The fields of a ClientHello (RFC 8446 § 4.1.2) that decide what is done with a connection.

use super::ClientHello;
use crate::name;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// `NameType.host_name` (RFC 6066 § 3).
const HOST_NAME: u8 = 0;

/// Reads the body of a ClientHello; `None` where it is malformed.
pub(super) fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut body = Reader(body);
    body.take(2)?; // legacy_version
    body.take(32)?; // random
    let session_id = body.vector8()?;
    let cipher_suites = body.vector16()?;
    let compression_methods = body.vector8()?;
    if session_id.len() > 32
        || cipher_suites.is_empty()
        || !cipher_suites.len().is_multiple_of(2)
        || compression_methods.is_empty()
    {
        return None;
    }
    let mut hello = ClientHello::default();
    if body.is_empty() {
        return Some(hello); // Before TLS 1.3 extensions could be left out altogether.
    }
    let mut extensions = Reader(body.vector16()?);
    if !body.is_empty() {
        return None;
    }
    let mut seen = Vec::new();
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let content = Reader(extensions.vector16()?);
        seen.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = name::canonical(server_name(content)?),
            ALPN => hello.alpn = protocols(content)?,
            ENCRYPTED_CLIENT_HELLO => hello.encrypted_client_hello = true,
            _ => {}
        }
    }
    // There must be no more than one extension of the same type (RFC 8446 § 4.2). With two server names, we and the true server
    // might each believe another one.
    seen.sort_unstable();
    seen.is_sorted_by(|a, b| a < b).then_some(hello)
}

/// The host name in a `server_name` extension, empty where it holds none.
fn server_name(mut content: Reader<'_>) -> Option<&[u8]> {
    let mut list = Reader(content.vector16()?);
    if !content.is_empty() {
        return None;
    }
    let mut host = None;
    while !list.is_empty() {
        if list.u8()? != HOST_NAME {
            break; // How long a name of another type is, no RFC says.
        }
        let name = list.vector16()?;
        if host.replace(name).is_some() {
            return None; // No more than one of a type.
        }
    }
    Some(host.unwrap_or_default())
}

fn protocols(mut content: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = Reader(content.vector16()?);
    if list.is_empty() || !content.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = list.vector8()?;
        if protocol.is_empty() {
            return None;
        }
        protocols.push(protocol.to_vec());
    }
    Some(protocols)
}

/// What is left of a field.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector whose length takes one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A vector whose length takes two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
