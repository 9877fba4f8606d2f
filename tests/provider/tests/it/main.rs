//! The stand-in providers, met by a plain hyper client over TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking where it stands")]

mod client;
mod clouds;
mod dialects;
mod faults;
mod likes;
mod transparency;
