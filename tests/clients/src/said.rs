//! What a client printed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tollgate_world::{ANTHROPIC, GOOGLE, OPENAI, Output, Pair};

/// A client's output: the answers, and the facts about its connections.
pub(crate) struct Said {
    pub(crate) answers: Vec<u8>,
    /// All of standard error.
    pub(crate) errors: String,
    /// From `peer ADDRESS PORT` on standard error.
    pub(crate) peers: BTreeSet<SocketAddr>,
    /// From `issuer NAME`: who issued the certificate that the client saw.
    pub(crate) issuers: BTreeSet<String>,
}

impl Said {
    pub(crate) fn new(output: Output) -> Result<Self> {
        let output = output.success()?;
        let errors = output.errors();
        // curl puts an asterisk before what it says of itself, and a colon after its words.
        let fact = |line: &str, word: &str| {
            let rest = line.trim_start_matches(['*', ' ']).strip_prefix(word)?;
            Some(rest.trim_start_matches(':').trim().to_owned())
        };
        let facts = |word: &'static str| errors.lines().filter_map(|line| fact(line, word)).collect::<Vec<_>>();
        let peers = facts("peer").iter().map(|text| address(text)).collect::<Result<_>>()?;
        let issuers = facts("issuer").into_iter().collect();
        ensure!(!output.stdout.is_empty(), "the client printed no answer\n{output}");
        Ok(Self { answers: output.stdout, errors, peers, issuers })
    }

    /// Fails unless every connection was, as the client sees it, to a provider's own address.
    pub(crate) fn is_connected_to_providers(&self) -> Result<()> {
        let known = [OPENAI, ANTHROPIC, GOOGLE].map(Pair::https).concat();
        for peer in &self.peers {
            ensure!(known.contains(peer), "getpeername() said {peer}, which is no provider's address");
        }
        Ok(())
    }

    /// Fails, and shows the first difference, unless both hold the same bytes. But for one thing: of a stream that is asked for its
    /// usage, each chunk but the last says that it has none.
    pub(crate) fn is_same_as(&self, other: &Self) -> Result<()> {
        let but_for_usage = |text: String| {
            [r#","usage":null"#, r#", "usage": null"#].iter().fold(text, |text, none| text.replace(none, ""))
        };
        let (ours, theirs) = (but_for_usage(self.text()), but_for_usage(other.text()));
        if ours == theirs {
            return Ok(());
        }
        let different = ours.lines().zip(theirs.lines()).position(|(ours, theirs)| ours != theirs);
        let at = different.unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
        let case = ours.lines().take(at + 1).filter(|line| line.starts_with("== ")).last().unwrap_or("the start");
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        anyhow::bail!("after `{case}`, line {at} differs\n  this run: {}\n  directly: {}", line(&ours), line(&theirs))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.answers).into_owned()
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let parsed = text
        .split_once(' ')
        .and_then(|(address, port)| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?)));
    parsed.with_context(|| format!("`{text}` is no address and port"))
}
