//! What the probe, a client of our own, is told to do and tells: it hides nothing that HTTP libraries hide.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tollgate_world::Program;

use crate::wire::Fields;

/// One connection, and what to do on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Where to connect to, on port 443, and the name in the handshake.
    pub host: String,
    /// HTTP/2, or else HTTP/1.1.
    pub http2: bool,
    /// Requests, one after the other.
    pub requests: Vec<Request>,
    /// HTTP/2: all requests at once.
    pub together: bool,
}

/// A request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// HTTP/1.1: the field lines as they are written, framing and `host` included. HTTP/2: all but the pseudo-headers.
    pub headers: Fields,
    /// The body, if any.
    pub body: Option<Body>,
    /// The body as text, in place of [`Self::body`].
    pub text: Option<String>,
    /// What follows the body.
    pub trailers: Fields,
    /// After so many bytes of the body, waits for a response's head, 100 included, before the rest.
    pub wait_after: Option<usize>,
    /// HTTP/2: after so many bytes of the response's body gives the stream up, and the connection goes on.
    pub leave: Option<u64>,
    /// Reads nothing after the response's head, and keeps the connection.
    pub stall: bool,
    /// Extended CONNECT (RFC 8441) for this protocol.
    pub protocol: Option<String>,
    /// Bytes to send after a switch of protocols, and how many to wait for then.
    pub switched: Option<(Vec<u8>, usize)>,
}

impl Request {
    /// The body in its pieces; `None` where there is none.
    pub fn pieces(&self) -> Option<Vec<bytes::Bytes>> {
        let text = self.text.as_ref().map(|text| vec![bytes::Bytes::from(text.clone())]);
        text.or_else(|| self.body.as_ref().map(Body::cut))
    }
}

/// Bytes drawn from a seed; see [`tollgate_provider::random_bytes`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Which bytes.
    pub seed: u64,
    /// How many.
    pub length: usize,
    /// The sizes in which they are written, over and over; 64 KiB where there are none.
    pub pieces: Vec<usize>,
}

impl Body {
    /// The bytes, in their pieces.
    pub fn cut(&self) -> Vec<bytes::Bytes> {
        let mut rest = bytes::Bytes::from(tollgate_provider::random_bytes(self.seed, self.length));
        let sizes: &[usize] = if self.pieces.is_empty() { &[64 * 1024] } else { &self.pieces };
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.push(rest.split_to((*size).clamp(1, rest.len())));
        }
        pieces
    }

    /// SHA-256 of the bytes, in hexadecimal.
    pub fn sha256(&self) -> String {
        tollgate_provider::sha256(&tollgate_provider::random_bytes(self.seed, self.length))
    }
}

/// What the probe saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What `getpeername` told, once connected.
    pub peer: SocketAddr,
    /// SHA-256 of the server's certificate: it tells the gateway from the server.
    pub certificate: String,
    /// One for each request.
    pub answers: Vec<Answer>,
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The statuses of informational responses before it.
    pub interim: Vec<u16>,
    /// The status; 0 where there was no response.
    pub status: u16,
    /// HTTP/1.1: the head as it came.
    pub head: String,
    /// The fields.
    pub headers: Fields,
    /// Bytes of the body that came.
    pub length: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// What followed the body.
    pub trailers: Fields,
    /// What came after a switch of protocols.
    pub switched: Vec<u8>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Answer {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::wire::field(&self.headers, name)
    }
}

/// Has `program`, which is the probe somewhere in a world, do what is planned.
pub fn run(program: Program, plan: &Plan) -> Result<Report> {
    let output = program.stdin(serde_json::to_vec(plan)?).run()?.success()?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("the probe wrote no report: {output}"))
}
