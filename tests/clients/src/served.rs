//! What the provider got and gave, in a form that two runs can be compared in.

use std::fmt::Debug;

use anyhow::{Result, bail, ensure};
use tollgate_provider::{Exchange, Outcome, USAGE_OPTION, Usage};

/// Headers of one hop (RFC 9110 § 7.6.1), which HTTP/2 does not have, and the host, which it has as `:authority`.
const HOP: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "te", "host"];

/// One exchange, without what differs from run to run for reasons of the client's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) request_sha256: Option<String>,
    pub(crate) request_bytes: u64,
    pub(crate) model: Option<String>,
    pub(crate) response_model: Option<String>,
    pub(crate) stream: bool,
    pub(crate) status: u16,
    /// Whether the signature held, where there was one.
    pub(crate) signed: Option<bool>,
    pub(crate) response_bytes: u64,
    pub(crate) usage: Option<[u64; 5]>,
    pub(crate) completed: bool,
    /// A fault ended it, which clients meet by leaving at once.
    pub(crate) faulted: bool,
    /// The digest of the request without the option that asks for a stream's usage.
    unasked_sha256: Option<String>,
}

/// The exchanges, sorted, since those of parallel calls come in any order. Headers named in `own` are left out.
pub(crate) fn served(exchanges: &[Exchange], own: &[&str]) -> Vec<Served> {
    let mut served: Vec<_> = exchanges.iter().map(|exchange| Served::new(exchange, own)).collect();
    served.sort();
    served
}

impl Served {
    fn new(exchange: &Exchange, own: &[&str]) -> Self {
        let lower = exchange.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let mut headers: Vec<_> =
            lower.filter(|(name, _)| !HOP.contains(&name.as_str()) && !own.contains(&name.as_str())).collect();
        headers.sort();
        Self {
            host: exchange.host.clone(),
            path: exchange.path.clone(),
            method: exchange.method.clone(),
            headers,
            request_sha256: exchange.request_sha256.clone(),
            request_bytes: exchange.request_bytes,
            model: exchange.model.clone(),
            response_model: exchange.response_model.clone(),
            stream: exchange.stream,
            status: exchange.status,
            signed: exchange.signed,
            response_bytes: exchange.response_bytes,
            usage: exchange.usage.map(fields),
            completed: exchange.outcome == Outcome::Completed,
            faulted: exchange.outcome == Outcome::Faulted,
            unasked_sha256: exchange.unasked_sha256.clone(),
        }
    }

    /// Without that in which a stream differs that the agent asks for its usage: the option, the lengths, the coding of the answer.
    /// What else differs is a defect.
    pub(crate) fn but_for_usage(mut self) -> Self {
        if self.is_chat_stream() {
            if let Some(digest) = self.unasked_sha256.take() {
                self.request_sha256 = Some(digest);
                self.request_bytes -= USAGE_OPTION.len() as u64;
            }
            self.headers.retain(|(name, _)| !["content-length", "accept-encoding"].contains(&name.as_str()));
            self.response_bytes = 0;
            self.usage = None;
        }
        self
    }

    /// Whether it is one that the agent may ask for its usage.
    pub(crate) fn is_chat_stream(&self) -> bool {
        self.stream && self.path.split('?').next().is_some_and(|path| path.ends_with("/chat/completions"))
    }
}

/// Input, output, cache read, cache write, reasoning.
fn fields(usage: Usage) -> [u64; 5] {
    [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning]
}

/// Fails, and shows the first element that differs and the fields it differs in, unless both lists are the same.
pub(crate) fn same<T: Debug + PartialEq>(ours: &[T], theirs: &[T]) -> Result<()> {
    if let Some((ours, theirs)) = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs) {
        let (shown, other) = (format!("{ours:#?}"), format!("{theirs:#?}"));
        let only = |of: &str, not: &str| {
            of.lines()
                .filter(|line| !not.lines().any(|other| other == *line))
                .map(str::trim)
                .collect::<Vec<_>>()
                .join("\n  ")
        };
        bail!("{ours:?}\nhas only here\n  {}\nand only there\n  {}", only(&shown, &other), only(&other, &shown));
    }
    ensure!(ours.len() == theirs.len(), "{} of them here, and {} there", ours.len(), theirs.len());
    Ok(())
}
