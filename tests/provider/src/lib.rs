//! Stand-ins for LLM providers, exact in wire format, over real TLS: for end-to-end tests, the demo and benchmarks.
//!
//! [`Pki`] makes the certificates, [`Provider`] serves the APIs of [`Dialect`] (and a plain web site) on listeners
//! that the caller bound, [`Truth`] tells what was really served, [`Faults`] says what should go wrong, and [`Gate`] holds
//! a stream back event by event. Answers are a function of the request, so equal requests get equal bytes.

#![forbid(unsafe_code)]

mod answer;
mod coding;
pub mod control;
mod dialect;
mod exchange;
mod fault;
mod gate;
mod json;
mod pki;
mod provider;
mod reply;
mod script;
mod seed;
mod serve;
mod truth;
mod websocket;

pub use dialect::Dialect;
pub use dialect::bedrock::signature::{KEY_ID as AWS_KEY_ID, SECRET as AWS_SECRET};
pub use exchange::USAGE_OPTION;
pub use fault::{FAULT_HEADER, FaultError, Faults};
pub use gate::Gate;
pub use pki::{Flaw, Pki, PkiError};
pub use provider::{Builder, HOSTS, Provider, StartError};
pub use seed::{random_bytes, sha256};
pub use truth::{Exchange, Handshake, Outcome, Said, Sums, Truth, Usage};

// Tests hand these between threads and runtimes.
const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Pki>();
    shareable::<Provider>();
    shareable::<Gate>();
};
