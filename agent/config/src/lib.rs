//! The configuration: one YAML file, all of it optional, read and checked as a whole before anything starts.
//!
//! Each key is one field of a `Raw…` type in its section's file: its documentation there is the reference page's,
//! its default there is the default. What is handed out is checked and typed.

#![forbid(unsafe_code)]

mod admin;
mod amount;
mod audit;
mod ca;
mod cases;
mod check;
mod clock;
mod decode;
mod document;
mod drain;
mod error;
mod intercept;
mod kubernetes;
mod ledger;
mod log;
mod many;
mod metering;
mod peek;
mod policy;
mod prices;
mod provider;
mod raw;
mod reference;
mod terminate;
mod upstream;
mod value;
mod words;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub use admin::Admin;
pub use audit::Audit;
pub use ca::Ca;
pub use cases::{Case, CaseCall, Expectation, load_cases, parse_cases};
pub use drain::Drain;
pub use error::{Error, Place, Problem};
pub use intercept::{Intercept, OnFailure, Quic};
pub use kubernetes::{Kubernetes, KubernetesApi};
pub use ledger::Ledger;
pub use log::{Format, Level, Log};
pub use metering::{IncludeUsage, Metering, OnDisconnect};
pub use peek::Peek;
pub use policy::Policy;
pub use prices::{Prices, load_prices, parse_prices};
pub use reference::{reference, schema};
pub use terminate::Terminate;
pub use upstream::Upstream;
pub use value::PortRange;

use crate::document::{Document, LIMIT};
use crate::raw::Raw;

/// The whole configuration. `Config::default()` is that of an empty file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is intercepted, and what happens when the agent is not there.
    pub intercept: Intercept,
    /// Whose TLS is opened.
    pub terminate: Terminate,
    /// Providers to add to the built-in catalogue, in the order of the file.
    pub providers: Vec<tollgate_llm::Provider>,
    /// Connections to providers.
    pub upstream: Upstream,
    /// What is done so that calls can be counted to the token.
    pub metering: Metering,
    /// What was used, by whom, on disk.
    pub ledger: Ledger,
    /// The certificate authority that intercepted clients meet.
    pub ca: Ca,
    /// Metrics, health and status.
    pub admin: Admin,
    /// How the agent stops.
    pub drain: Drain,
    /// The agent's own log.
    pub log: Log,
    /// What models cost, beside the bundled list.
    pub prices: Prices,
    /// How long and how much is waited for before it is known what a connection is.
    pub peek: Peek,
    /// Who may call what, and how much of it.
    pub policy: Policy,
    /// The audit: decisions that matter, one after another.
    pub audit: Audit,
    /// Where pods' names, namespaces, labels and service accounts are from.
    pub kubernetes: Kubernetes,
    /// What is probably not meant, though it can be done.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = read(path, LIMIT).map_err(|source| Error::Read { path: path.into(), source })?;
        Self::parse(&path.to_string_lossy(), &text)
    }

    /// Checks a text. `name` stands for the file in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let invalid = |problems| Error::Invalid { name: name.into(), problems };
        let document = Document::parse(text, LIMIT).map_err(|problem| invalid(vec![problem]))?;
        let raw: Raw = decode::decode(&document).map_err(invalid)?;
        raw.check(&document).map_err(invalid)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::parse("default", "").expect("defaults are tested to be valid")
    }
}

fn read(path: &Path, limit: usize) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than is allowed, so that the limit's own error is told.
    File::open(path)?.take(limit as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
