//! The record layer under a ClientHello: takes bytes, gives the one handshake message that they carry.

/// `ContentType.handshake` (RFC 8446 § 5.1).
const HANDSHAKE: u8 = 22;
/// `HandshakeType.client_hello` (RFC 8446 § 4).
const CLIENT_HELLO: u8 = 1;
/// `legacy_record_version` is 3.0 to 3.3 in practice; its low byte is to be ignored (RFC 8446 § 5.1).
const MAJOR_VERSION: u8 = 3;
/// The most a plaintext record may carry (RFC 8446 § 5.1).
const MAX_FRAGMENT: usize = 1 << 14;
/// Content type, version, length.
const RECORD_HEADER: usize = 5;
/// Handshake type and its 24-bit length.
const MESSAGE_HEADER: usize = 4;

/// What the bytes so far amount to.
pub(super) enum Defragmented<'a> {
    More,
    /// The body of the ClientHello, without its handshake header.
    Message(&'a [u8]),
    NotTls,
    TooLarge,
}

/// Joins the fragments of the first handshake message.
#[derive(Debug)]
pub(super) struct Records {
    /// How many more bytes of the connection may be taken.
    budget: usize,
    limit: usize,
    header: [u8; RECORD_HEADER],
    /// How much of `header` is filled.
    header_len: usize,
    /// How much of the current record is still to come.
    fragment_left: usize,
    message: Vec<u8>,
}

impl Records {
    pub(super) fn new(limit: usize) -> Self {
        Self { budget: limit, limit, header: [0; RECORD_HEADER], header_len: 0, fragment_left: 0, message: Vec::new() }
    }

    /// Takes the next bytes. What follows a complete message is not looked at, so the answer does not depend on how the bytes
    /// were cut.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Defragmented<'_> {
        while let Some((&next, rest)) = bytes.split_first() {
            if self.budget == 0 {
                return Defragmented::TooLarge;
            }
            if self.fragment_left == 0 {
                self.budget -= 1;
                bytes = rest;
                if !self.header_byte(next) {
                    return Defragmented::NotTls;
                }
                continue;
            }
            let take = bytes.len().min(self.fragment_left).min(self.budget).min(self.wanted());
            let (fragment, rest) = bytes.split_at(take);
            self.message.extend_from_slice(fragment);
            self.budget -= take;
            self.fragment_left -= take;
            bytes = rest;
            if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
                return Defragmented::NotTls;
            }
            if let Some(length) = self.message_length() {
                if length > self.limit {
                    return Defragmented::TooLarge;
                }
                if self.message.len() == length {
                    return Defragmented::Message(self.message.get(MESSAGE_HEADER..).unwrap_or_default());
                }
            }
        }
        Defragmented::More
    }

    /// Gives back the memory.
    pub(super) fn clear(&mut self) {
        self.message = Vec::new();
    }

    #[cfg(test)]
    pub(super) fn message_capacity(&self) -> usize {
        self.message.capacity()
    }

    /// Takes one byte of a record header; `false` when it cannot be part of one. Each byte is judged as it comes, so that what is
    /// not TLS is known at its first byte and need not be waited for.
    fn header_byte(&mut self, byte: u8) -> bool {
        let valid = match self.header_len {
            0 => byte == HANDSHAKE,
            1 => byte == MAJOR_VERSION,
            _ => true,
        };
        self.header[self.header_len] = byte;
        self.header_len += 1;
        if self.header_len < RECORD_HEADER {
            return valid;
        }
        self.header_len = 0;
        self.fragment_left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        // An empty handshake fragment is forbidden (RFC 8446 § 5.1), and would let a client keep us reading headers.
        valid && self.fragment_left > 0 && self.fragment_left <= MAX_FRAGMENT
    }

    /// Length of the whole message with its header, once that is known.
    fn message_length(&self) -> Option<usize> {
        let &[_, high, mid, low, ..] = self.message.as_slice() else { return None };
        Some(MESSAGE_HEADER + (usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low)))
    }

    /// How many more bytes the message needs before it must be looked at again. Never 0 while there is no answer.
    fn wanted(&self) -> usize {
        self.message_length().unwrap_or(MESSAGE_HEADER).saturating_sub(self.message.len())
    }
}
