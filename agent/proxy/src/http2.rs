//! Streams of HTTP/2: bodies in both directions, and what a stream carries once it has switched to another protocol.
//!
//! h2 is used by itself, not through hyper, which hands each request and each answer through three tasks of its own.

mod pipe;
mod received;
mod switched;

use std::error::Error;

use h2::Reason;

pub(crate) use self::pipe::Pipe;
pub use self::received::ReceiveError;
pub(crate) use self::received::Received;
pub(crate) use self::switched::Switched;

/// Frames' payloads of up to so many bytes are waiting to be sent on a stream at a time, in each direction.
pub(crate) const SEND_BUFFER: usize = 400 * 1024;

/// The reason that a stream is reset with for an error, which is among its sources.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason().unwrap_or(Reason::INTERNAL_ERROR);
        }
        source = error.source();
    }
    Reason::INTERNAL_ERROR
}
