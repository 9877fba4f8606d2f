//! Reads a TLS ClientHello as its bytes arrive, without consuming or answering them.
//!
//! The hello decides whether a connection is opened or tunnelled, so it is read before either side commits. It may be cut
//! anywhere: a post-quantum key share alone is 1.2 kB, so it spans TCP segments, and RFC 8446 § 5.1 lets it span records.
//! Nothing here does I/O, and what is kept is bounded by the limit given.

mod message;
mod record;

use self::record::{Defragmented, Records};

/// The most bytes of a connection that are read in search of a ClientHello, record headers included.
///
/// 64 KiB is what rustls takes for one handshake message; real hellos are between 200 bytes and 3 kB.
pub const LIMIT: usize = 64 * 1024;

/// What the client said in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host the client asked for (RFC 6066 § 3): lower case, no trailing dot. `None` where it sent none, an IP address, or
    /// something that is no host name.
    pub server_name: Option<String>,
    /// The application protocols offered, in the client's order (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// Whether the client sent `encrypted_client_hello` (RFC 9849), real or grease. With a real one `server_name` is the outer,
    /// public name; the two cannot be told apart from outside, so what counts is whether `server_name` is one we know.
    pub encrypted_client_hello: bool,
}

/// What is known after the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It may still become a ClientHello.
    More,
    /// The whole ClientHello is read.
    Hello(ClientHello),
    /// Not TLS, or no well-formed ClientHello. To be tunnelled as it is: the true server knows what to do with it.
    NotTls,
    /// Longer than the limit.
    TooLarge,
}

/// An incremental ClientHello parser. Give it each byte of the connection once, in order, in pieces of any size.
#[derive(Debug)]
pub struct Parser {
    records: Records,
    /// The answer, once there is one: more bytes do not change it.
    outcome: Option<Progress>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser that gives up after [`LIMIT`] bytes.
    pub fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    /// A parser that gives up after `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { records: Records::new(limit), outcome: None }
    }

    /// Takes the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let progress = match self.records.push(bytes) {
            Defragmented::More => return Progress::More,
            Defragmented::Message(body) => message::parse(body).map_or(Progress::NotTls, Progress::Hello),
            Defragmented::NotTls => Progress::NotTls,
            Defragmented::TooLarge => Progress::TooLarge,
        };
        self.records.clear();
        self.outcome = Some(progress.clone());
        progress
    }
}

#[cfg(test)]
mod tests;
