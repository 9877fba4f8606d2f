use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, at};
use crate::value::{Leaf, PortRange};

/// What is intercepted, and what happens when the agent is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercept {
    /// Control group whose processes are intercepted; `None` for the root of the hierarchy.
    pub cgroup: Option<PathBuf>,
    /// Destination ports, in ascending order, each once, at least one.
    pub ports: Vec<u16>,
    /// Where listeners are bound on the loopback of each network namespace.
    pub listen_ports: PortRange,
    /// What happens to HTTP/3.
    pub quic: Quic,
    /// What happens to new connections when the agent does not run.
    pub on_failure: OnFailure,
    /// How old the last heartbeat may be.
    pub stale_after: Duration,
}

/// What happens to HTTP/3 to providers, which runs over UDP and cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quic {
    /// It passes unseen.
    Allow,
    /// It is refused at once, and clients fall back to TCP.
    Block,
}

/// What happens to new connections to providers when the agent does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They go to the provider directly, unmetered: the agent's death is nobody's outage.
    Open,
    /// They are refused while the agent hangs or drains. When its process is gone, so are its kernel
    /// programs, and connections go directly.
    Closed,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawIntercept {
    /// Control group (cgroup v2) whose processes are intercepted, with all groups below it. When
    /// absent, the root of the hierarchy: the whole node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<PathBuf>")]
    cgroup: Option<Leaf<PathBuf>>,
    /// Destination ports on which providers speak TLS. Connections to a provider's address on other
    /// ports are passed through.
    ports: Vec<Leaf<NonZeroU16>>,
    /// Ports to listen at, on the loopback of each network namespace that makes calls. The first
    /// free one is taken, so there must be room for an old agent and a new one during an upgrade.
    listen_ports: Leaf<PortRange>,
    /// What happens to HTTP/3 to providers, which no SDK speaks and browsers do. Blocking also reaches
    /// other sites on a provider's addresses, and a resolver that tries addresses out over UDP may
    /// order them differently.
    quic: Quic,
    /// What happens to new connections to providers that the agent cannot take.
    on_failure: OnFailure,
    /// The agent counts as gone when it has not given a sign of life for this long. It gives one
    /// every second, so at least `2s`.
    stale_after: Leaf<Duration>,
}

impl Default for RawIntercept {
    fn default() -> Self {
        Self {
            cgroup: None,
            ports: vec![Leaf(const { NonZeroU16::new(443).expect("not zero") })],
            listen_ports: Leaf(PortRange { first: 18_443, last: 18_542 }),
            quic: Quic::Allow,
            on_failure: OnFailure::Open,
            stale_after: Leaf(Duration::from_secs(5)),
        }
    }
}

impl RawIntercept {
    pub(crate) fn check(self, checks: &mut Checks<'_>) -> Intercept {
        if self.ports.is_empty() {
            let remedy = "name at least one, or write `terminate: off` at the top to open nothing";
            checks.report(&at("intercept", "ports"), "without ports nothing would be seen", remedy);
        }
        let stale_after = self.stale_after.0;
        if !(Duration::from_secs(2)..=Duration::from_mins(5)).contains(&stale_after) {
            let message = "a sign of life comes every second, so this is too soon or too late to be of use";
            checks.report(&at("intercept", "stale_after"), message, "write a duration from `2s` to `5m`");
        }
        if self.listen_ports.0.ports().len() < 2 {
            let message = "an upgrade needs one port for the old agent and one for the new";
            checks.report(&at("intercept", "listen_ports"), message, "give at least two, such as `18443-18542`");
        }
        let mut ports: Vec<u16> = self.ports.into_iter().map(|port| port.0.get()).collect();
        ports.sort_unstable();
        ports.dedup();
        Intercept {
            cgroup: self.cgroup.map(|path| path.0),
            ports,
            listen_ports: self.listen_ports.0,
            quic: self.quic,
            on_failure: self.on_failure,
            stale_after,
        }
    }
}
