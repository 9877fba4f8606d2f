//! TLS on both sides of an intercepted connection: the CA that vouches for us to clients, the ClientHello that says what they
//! want, the verification of the servers behind us, and the files by which clients come to trust the CA.
//!
//! Nothing here decides which connections are opened; that is the proxy's. No verification can be switched off.
//!
//! The public interface is:

#![forbid(unsafe_code)]

mod authority;
mod certificates;
pub mod hello;
mod name;
mod provider;
mod refusal;
mod roots;
#[cfg(test)]
mod testing;
pub mod trust;
mod upstream;

pub use authority::{Authority, AuthorityError, MintError};
pub use refusal::{Refusal, client_refusal, closed_after_certificate};
pub use roots::{Roots, RootsError};
pub use upstream::{UpstreamTlsError, client_config};
