//! The stand-in providers, met by a plain hyper client over TLS.

mod client;
mod dialects;
mod faults;
mod transparency;
