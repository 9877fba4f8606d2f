//! What is measured: calling directly, Tollgate, and what a user would pick instead.

mod direct;
mod envoy;
mod haproxy;
mod litellm;
mod mitmproxy;
mod nginx;
mod portkey;
mod rival;
mod tensorzero;
mod tollgate;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::stage::Stage;

/// Every contender, in the order of the tables. One line each.
pub const ALL: &[&dyn Contender] = &[
    &direct::Direct,
    &tollgate::Tollgate,
    &haproxy::Haproxy { h2_throughout: false },
    &haproxy::Haproxy { h2_throughout: true },
    &nginx::Nginx,
    &envoy::Envoy { h2_throughout: false },
    &envoy::Envoy { h2_throughout: true },
    &mitmproxy::Mitmproxy,
    &litellm::Litellm,
    &tensorzero::Tensorzero,
    &portkey::Portkey,
];

/// What tunnels are compared with, and nothing else: HAProxy as a relay of bytes.
pub const TCP_RELAY: &dyn Contender = &haproxy::HaproxyTcp;

/// Something that stands between a client and the provider.
pub trait Contender: Sync {
    /// As the tables and the command line call it.
    fn name(&self) -> &'static str;

    /// What kind of thing it is, and what it does not do.
    fn traits(&self) -> Traits;

    /// Its version, as it tells itself.
    fn version(&self) -> Result<String>;

    /// Starts it on the contenders' processor, in a cgroup of its own, and waits until it serves. It is stopped when the result is
    /// dropped. An error says why it cannot start, with the last lines of its log.
    fn start(&self, stage: &Stage) -> Result<Running>;
}

/// What kind of thing a contender is.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Traits {
    /// What it is, to a user.
    pub kind: Kind,
    /// Whether clients reach it by TLS.
    pub client_tls: bool,
    /// Whether it reaches the provider by TLS.
    pub upstream_tls: bool,
    /// Whether it takes HTTP/2 from clients.
    pub client_h2: bool,
    /// Whether it passes streamed answers on.
    pub streams: bool,
    /// Whether it is compared in requests over HTTP/2, and in nothing else.
    pub h2_only: bool,
    /// A mark for the table, where something else must be known of it. Empty: nothing.
    pub note: &'static str,
}

impl Traits {
    /// Of one that does all that is asked of it, with TLS on both sides.
    const fn of(kind: Kind) -> Self {
        Self { kind, client_tls: true, upstream_tls: true, client_h2: true, streams: true, h2_only: false, note: "" }
    }

    /// Of a relay that can speak either protocol to the provider, whichever its clients speak. Tollgate speaks theirs.
    const fn relay(h2_throughout: bool) -> Self {
        let note = if h2_throughout { "HTTP/2 to the provider as well" } else { "HTTP/1.1 to the provider, always" };
        Self { h2_only: h2_throughout, note, ..Self::of(Kind::Relay) }
    }
}

/// What a contender is, to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing at all: the client calls the provider.
    Direct,
    /// Tollgate.
    Ours,
    /// A relay that terminates TLS and makes it anew, and looks at no prompt: HAProxy, nginx, Envoy.
    Relay,
    /// An interceptor for people: mitmproxy. Hundreds of requests a second, so it gets few and light cases.
    Interceptor,
    /// An AI gateway that clients are pointed to. Few and light cases, too.
    Gateway,
}

impl Kind {
    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Direct => "the client calls the provider itself",
            Self::Ours => "this project's agent, as it is shipped",
            Self::Relay => "a relay that terminates TLS and makes it anew",
            Self::Interceptor => "an interceptor for people",
            Self::Gateway => "an AI gateway that clients are pointed to",
        }
    }

    /// Whether it carries load of thousands of requests a second, so that all cases are worth the time.
    pub fn is_fast(self) -> bool {
        matches!(self, Self::Direct | Self::Ours | Self::Relay)
    }
}

/// How a client's request reaches the contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Over TLS, with the server name of the provider.
    Https,
    /// Without TLS.
    Http,
}

/// A started contender.
pub struct Running {
    /// Where the client connects; none: where the provider's name leads.
    pub address: Option<SocketAddr>,
    /// How.
    pub scheme: Scheme,
    /// What replaces `/v1` before `/chat/completions`.
    pub path_prefix: String,
    /// Headers that the client must add.
    pub headers: Vec<(String, String)>,
    /// The model to ask for.
    pub model: String,
    /// The cgroup that it alone is in; none for direct calls.
    pub cgroup: Option<PathBuf>,
    /// Its main process; none for direct calls.
    pub pid: Option<u32>,
    /// The file with the root that a client must trust to reach it, PEM.
    pub root: PathBuf,
    /// Whatever must live as long: processes, files.
    pub keep: Vec<Box<dyn std::any::Any>>,
}

impl Running {
    /// One that a client reaches as it reaches the provider. The others change what differs.
    pub fn new(stage: &Stage) -> Self {
        Self {
            address: None,
            scheme: Scheme::Https,
            path_prefix: "/v1".into(),
            headers: Vec::new(),
            model: "gpt-4o-mini".into(),
            cgroup: None,
            pid: None,
            root: stage.root(),
            keep: Vec::new(),
        }
    }

    /// A relay's listener with the certificate of [`Stage::certificate`], served by this process.
    pub fn relay(stage: &Stage, address: SocketAddr, cgroup: PathBuf, process: tollgate_world::Running) -> Self {
        let pid = Some(process.pid());
        Self { address: Some(address), cgroup: Some(cgroup), pid, keep: vec![Box::new(process)], ..Self::new(stage) }
    }
}

/// Those with these names, in the order of the tables; all where none is named.
pub fn chosen(names: &[String]) -> Result<Vec<&'static dyn Contender>> {
    for name in names {
        if !ALL.iter().any(|contender| contender.name() == name) {
            let known: Vec<_> = ALL.iter().map(|contender| contender.name()).collect();
            bail!("there is no contender `{name}`; there are {}", known.join(", "));
        }
    }
    Ok(ALL.iter().copied().filter(|one| names.is_empty() || names.iter().any(|name| name == one.name())).collect())
}
