//! The programs in the kernel, and their maps.

mod error;
mod log;
mod object;

use std::{fs::File, net::IpAddr, net::SocketAddr, path::Path, time::Duration};

use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use parking_lot::Mutex;
use tollgate_ebpf::{
    Counter,
    address::Address,
    flow::{Known, LISTENS_ON_V6},
    name::Pattern,
};

pub use self::error::{AttachError, LoadError, MapError};
use self::{
    log::ProgramLog,
    object::{Links, Programs, Shared},
};
use crate::{
    Flow, Listeners, NetnsCookie,
    flow::{from_octets, to_octets},
};

/// How long a learned address counts at least: programs keep answers for longer than their time to live.
const SHORTEST_LIFE: Duration = Duration::from_hours(1);
/// How long it counts at most (RFC 8767, section 4: a week is as good as forever).
const LONGEST_LIFE: Duration = Duration::from_hours(7 * 24);

/// How old a flow may be when its connection is accepted. An agent that is well accepts within moments, so an older flow is
/// that of a connection which was never accepted, and says nothing about who has its port now.
const OLDEST_FLOW: Duration = Duration::from_mins(2);

/// What happens to a connection that no live listener can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes to its destination directly, as if nothing were installed.
    #[default]
    Open,
    /// `connect` fails with EPERM.
    Closed,
}

/// What is fixed when the programs are loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// The names whose addresses are intercepted.
    pub patterns: Vec<Pattern>,
    /// The destination ports whose connections are intercepted. Others are left alone, so that the agent, which dials
    /// with its own rights, is nobody's way to them.
    pub ports: Vec<u16>,
    /// The cgroup whose connections are never redirected, beside those of this process.
    pub agent_cgroup: Option<u64>,
    /// What happens while there is no live listener.
    pub on_failure: OnFailure,
    /// Whether UDP to port 443 of intercepted addresses is refused, so that HTTP/3 clients fall back to TCP.
    pub block_quic: bool,
    /// How old the last [`Kernel::beat`] may be before the agent counts as hung.
    pub stale_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            ports: vec![443],
            agent_cgroup: None,
            on_failure: OnFailure::Open,
            block_quic: false,
            stale_after: Duration::from_secs(5),
        }
    }
}

/// The loaded programs. Nothing is pinned: when this is dropped, or its process ends, connections go direct.
pub struct Kernel {
    // Detached before the programs go.
    links: Mutex<Vec<Links>>,
    programs: Mutex<Programs>,
    listeners: Mutex<HashMap<MapData, u64, u32>>,
    origins: HashMap<MapData, u64, Shared<tollgate_ebpf::Flow>>,
    flows: Mutex<HashMap<MapData, Shared<tollgate_ebpf::FlowKey>, Shared<tollgate_ebpf::Flow>>>,
    addresses: Mutex<HashMap<MapData, [u8; 16], Shared<Known>>>,
    heartbeat: Mutex<Array<MapData, u64>>,
    counters: PerCpuArray<MapData, u64>,
    log: Mutex<Option<ProgramLog>>,
    verified: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// Loads the programs and tells them the names. They do nothing before [`Self::attach`] and [`Self::serve`].
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let mut programs = Programs::load(options)?;
        let kernel = Self {
            links: Mutex::default(),
            listeners: Mutex::new(programs.map("LISTENERS")?),
            origins: programs.map("ORIGINS")?,
            flows: Mutex::new(programs.map("FLOWS")?),
            addresses: Mutex::new(programs.map("ADDRESSES")?),
            heartbeat: Mutex::new(programs.map("HEARTBEAT")?),
            counters: programs.map("COUNTERS")?,
            log: Mutex::new(programs.log()),
            verified: programs.verified_instructions(),
            programs: Mutex::new(programs),
        };
        kernel.beat();
        Ok(kernel)
    }

    /// Attaches the programs to a cgroup: they see the sockets of all processes in it and below.
    pub fn attach(&self, cgroup: &Path) -> Result<(), AttachError> {
        let directory = File::open(cgroup).map_err(|source| AttachError::Cgroup { path: cgroup.into(), source })?;
        let links = self.programs.lock().attach(&directory, cgroup)?;
        self.links.lock().push(links);
        Ok(())
    }

    /// Detaches the programs from everywhere. New connections go direct; those already redirected carry on.
    pub fn detach(&self) {
        self.links.lock().clear();
    }

    /// Sends new connections of the listeners' namespace to them; those to IPv6 addresses only if one listens on ::1.
    /// Replaces earlier listeners at once, so a new agent can take over while the old one drains.
    pub fn serve(&self, listeners: &Listeners) -> Result<(), MapError> {
        let v6 = if listeners.v6.is_some() { LISTENS_ON_V6 } else { 0 };
        let served = u32::from(listeners.port) | v6;
        self.listeners.lock().insert(listeners.netns.raw(), served, 0).map_err(MapError::writing("LISTENERS"))
    }

    /// Ends [`Self::serve`]. New connections of the namespace go as [`Options::on_failure`] says.
    pub fn withdraw(&self, netns: NetnsCookie) -> Result<(), MapError> {
        match self.listeners.lock().remove(&netns.raw()) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(MapError::writing("LISTENERS")(error)),
        }
    }

    /// Tells the programs that the agent is well, and passes on what they logged. To be called every second, from where
    /// a hang would be noticed.
    pub fn beat(&self) {
        let written = self.heartbeat.lock().set(0, object::now_ns(), 0);
        if let Err(error) = written {
            tracing::warn!(%error, "the heartbeat could not be written; connections will soon go direct");
        }
        if let Some(log) = self.log.lock().as_mut() {
            log.flush();
        }
    }

    /// The flow of an accepted connection, by its peer's address. It is there before the connection is, and can be
    /// taken once, within two minutes. A connection that has none was not redirected and must be reset.
    pub fn take_flow(&self, netns: NetnsCookie, peer: SocketAddr) -> Option<Flow> {
        let key = Shared(tollgate_ebpf::FlowKey {
            netns_cookie: netns.raw(),
            address: to_octets(peer.ip()),
            port: u32::from(peer.port()),
            reserved: 0,
        });
        let mut flows = self.flows.lock();
        let flow = flows.get(&key, 0).ok()?;
        if let Err(error) = flows.remove(&key) {
            tracing::debug!(%error, "the flow was evicted while it was read");
        }
        is_fresh(flow.0.connected_at_ns, object::now_ns()).then(|| flow.0.into())
    }

    /// Makes an address known, as if a DNS answer had told it. Addresses that no host on a network can have
    /// (loopback, link-local, multicast) are left out.
    pub fn learn(&self, address: IpAddr, time_to_live: Duration) -> Result<(), MapError> {
        let octets = to_octets(address);
        if !Address::from_octets(octets).is_interceptable() {
            return Ok(());
        }
        let life = time_to_live.clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let until_ns = object::now_ns().saturating_add(life.as_nanos() as u64);
        let known = Shared(Known { until_ns });
        self.addresses.lock().insert(octets, known, 0).map_err(MapError::writing("ADDRESSES"))
    }

    /// The addresses that are known now, for diagnosis.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let now = object::now_ns();
        let entries = self.addresses.lock();
        let live = entries.iter().flatten().filter(|(_, known)| known.0.until_ns > now);
        live.map(|(octets, _)| from_octets(octets)).collect()
    }

    /// How many sockets that were redirected are open, for diagnosis: it goes through the whole table.
    pub fn redirected_sockets(&self) -> usize {
        self.origins.keys().flatten().count()
    }

    /// What happened, by reason, summed over the CPUs, since the programs were loaded.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let sum = |counter: Counter| {
            let values = self.counters.get(&(counter as u32), 0);
            values.map_or(0, |values| values.iter().sum())
        };
        Counter::ALL.iter().map(|&counter| (counter.name(), sum(counter))).collect()
    }

    /// How many instructions the kernel's verifier went through for each program; empty before Linux 5.16.
    pub fn verified_instructions(&self) -> Vec<(&'static str, u32)> {
        self.verified.clone()
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Kernel").field("attached", &self.links.lock().len()).finish_non_exhaustive()
    }
}

/// Whether a flow can be that of a connection which is accepted now.
const fn is_fresh(connected_at_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(connected_at_ns) <= OLDEST_FLOW.as_nanos() as u64
}

fn is_absent(error: &aya::maps::MapError) -> bool {
    matches!(error, aya::maps::MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_counts_for_two_minutes() {
        let connected = 7_000_000_000;
        let after = |age: Duration| is_fresh(connected, connected + age.as_nanos() as u64);
        assert!(after(Duration::ZERO) && after(Duration::from_mins(2)));
        assert!(!after(Duration::from_mins(2) + Duration::from_nanos(1)));
        assert!(is_fresh(connected, connected - 1), "clocks of other CPUs may be a moment behind");
    }
}
