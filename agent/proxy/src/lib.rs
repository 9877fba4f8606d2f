//! What happens to one connection: accept, peek, then intercept, tunnel or refuse; and, when intercepted, HTTP exchange by
//! exchange.

#![forbid(unsafe_code)]

mod admit;
mod exchange;
mod fingerprint;
mod gathered;
mod http2;
mod opened;
mod plain;
mod prefixed;
mod settle;
mod socket;
mod together;

pub mod accept;
pub mod connection;
pub mod drain;
pub mod fate;
pub mod http;
pub mod observe;
pub mod peek;
pub mod refusals;
pub mod tunnel;
pub mod upstream;

pub use fingerprint::{FingerprintError, Fingerprints};
