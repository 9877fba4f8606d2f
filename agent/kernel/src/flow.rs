//! A redirected connection, as the agent sees it.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::NetnsCookie;

/// Where an accepted connection was going, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The address that the program asked for.
    pub destination: SocketAddr,
    /// The process (thread group) that called, numbered in the initial PID namespace.
    pub tgid: u32,
    /// Its user id, in the initial user namespace.
    pub uid: u32,
    /// Its group id, in the initial user namespace.
    pub gid: u32,
    /// The name of the calling thread, at most 15 bytes.
    pub comm: String,
    /// The caller's cgroup v2 id, which is the inode number of its directory.
    pub cgroup_id: u64,
    /// The network namespace that it called in.
    pub netns: NetnsCookie,
    /// The kernel's identity of the caller's socket, never reused while the machine is up.
    pub socket_cookie: u64,
    /// When `connect` was called, on `CLOCK_MONOTONIC`.
    pub connected_at: Duration,
}

impl From<tollgate_ebpf::Flow> for Flow {
    fn from(flow: tollgate_ebpf::Flow) -> Self {
        let name = flow.comm.split(|&byte| byte == 0).next().unwrap_or_default();
        Self {
            destination: SocketAddr::new(from_octets(flow.destination), flow.port),
            tgid: flow.tgid,
            uid: flow.uid,
            gid: flow.gid,
            comm: String::from_utf8_lossy(name).into_owned(),
            cgroup_id: flow.cgroup_id,
            netns: NetnsCookie::from_raw(flow.netns_cookie),
            socket_cookie: flow.socket_cookie,
            connected_at: Duration::from_nanos(flow.connected_at_ns),
        }
    }
}

/// The map form of an address.
pub(crate) fn to_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address in its plain form: IPv4 where it is IPv4-mapped.
pub(crate) fn from_octets(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}
