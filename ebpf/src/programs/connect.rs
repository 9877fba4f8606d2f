//! `connect(2)`: to a known address, and the agent is there to take it? Then to the agent instead.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie},
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::{debug, warn};
use tollgate_ebpf::{
    Counter, Flow,
    address::{Address, Key},
    flow::AGENT_PRIORITY,
};

use crate::{
    dns::{DOMAIN, asked},
    listener::{self, LOCALHOST4},
    maps::{CLOSED, ORIGINS, PORTS, count, is_agent, is_known, now},
    quic,
};

/// What a program on an address hook answers.
pub(crate) const ALLOW: i32 = 1;
/// The system call fails with EPERM.
pub(crate) const REFUSE: i32 = 0;

pub(crate) const TCP: u32 = 6;
const UDP: u32 = 17;
pub(crate) const MPTCP: u32 = 262;

/// IPv4 sockets.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    match decide(&context, address4(sock)) {
        Decision::Pass => ALLOW,
        Decision::Refuse => REFUSE,
        Decision::Listener(port) => {
            set_address4(sock, LOCALHOST4, port);
            ALLOW
        }
    }
}

/// IPv6 sockets, also where they connect to IPv4 addresses: those must stay IPv4-mapped.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    let address = address6(sock);
    match decide(&context, address) {
        Decision::Pass => ALLOW,
        Decision::Refuse => REFUSE,
        Decision::Listener(port) => {
            let listener = if address.is_v4() { Address::v4(LOCALHOST4) } else { Address::v6(0, 1) };
            set_address6(sock, listener.key(), port);
            ALLOW
        }
    }
}

/// The address that an IPv4 system call names.
#[inline(always)]
pub(crate) fn address4(sock: *mut bpf_sock_addr) -> Address {
    // SAFETY: the kernel's context is valid.
    Address::v4(u32::from_be(unsafe { read_volatile(&raw const (*sock).user_ip4) }))
}

/// The address that an IPv6 system call names.
#[inline(always)]
pub(crate) fn address6(sock: *mut bpf_sock_addr) -> Address {
    // SAFETY: the kernel's context is valid; each word is read on its own, as the verifier wants it.
    Address::from_words(unsafe {
        let words = (&raw const (*sock).user_ip6).cast::<u32>();
        [read_volatile(words), read_volatile(words.add(1)), read_volatile(words.add(2)), read_volatile(words.add(3))]
    })
}

/// Changes the address and port that an IPv4 system call names.
#[inline(always)]
pub(crate) fn set_address4(sock: *mut bpf_sock_addr, address: u32, port: u16) {
    // SAFETY: the kernel's context is valid, and these fields can be written.
    unsafe {
        write_volatile(&raw mut (*sock).user_ip4, address.to_be());
        write_volatile(&raw mut (*sock).user_port, u32::from(port.to_be()));
    }
}

/// Changes the address and port that an IPv6 system call names.
#[inline(always)]
pub(crate) fn set_address6(sock: *mut bpf_sock_addr, [upper, lower]: Key, port: u16) {
    let (upper, lower) = (upper.to_ne_bytes(), lower.to_ne_bytes());
    let word = |[a, b, c, d, ..]: [u8; 8]| u32::from_ne_bytes([a, b, c, d]);
    let next = |[.., a, b, c, d]: [u8; 8]| u32::from_ne_bytes([a, b, c, d]);
    // SAFETY: the kernel's context is valid, and these fields can be written, word by word.
    unsafe {
        let words = (&raw mut (*sock).user_ip6).cast::<u32>();
        write_volatile(words, word(upper));
        write_volatile(words.add(1), next(upper));
        write_volatile(words.add(2), word(lower));
        write_volatile(words.add(3), next(lower));
        write_volatile(&raw mut (*sock).user_port, u32::from(port.to_be()));
    }
}

/// The port that a system call names, in host order.
#[inline(always)]
pub(crate) fn port(sock: *mut bpf_sock_addr) -> u16 {
    // SAFETY: the kernel's context is valid. The field is 32 bits wide, and holds a port in network order.
    u16::from_be(unsafe { read_volatile(&raw const (*sock).user_port) } as u16)
}

/// What is to be done with a call.
enum Decision {
    Pass,
    Refuse,
    Listener(u16),
}

/// The checks, cheapest and most frequent first: for all other traffic of the node this is one look-up.
#[inline(always)]
fn decide(context: &SockAddrContext, address: Address) -> Decision {
    let sock = context.sock_addr;
    // SAFETY: the kernel's context is valid.
    let protocol = unsafe { read_volatile(&raw const (*sock).protocol) };
    if protocol == UDP && port(sock) == DOMAIN {
        asked(sock);
        return Decision::Pass;
    }
    if !is_known(address) {
        return Decision::Pass;
    }
    if protocol == UDP {
        return if quic::is_refused(port(sock)) { Decision::Refuse } else { Decision::Pass };
    }
    if protocol != TCP && protocol != MPTCP {
        return Decision::Pass;
    }
    // The agent dials with rights that the caller may not have, so it must not be had for what it cannot read anyway.
    if PORTS.get_ptr(port(sock)).is_none() {
        count(Counter::OtherPort);
        return Decision::Pass;
    }
    if is_agent() || priority(sock) == AGENT_PRIORITY {
        count(Counter::Agent);
        return Decision::Pass;
    }
    if bound_device(sock) != 0 {
        // The loopback interface cannot be reached from there.
        count(Counter::BoundDevice);
        return Decision::Pass;
    }
    // SAFETY: the context is this program's.
    let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
    match listener::find(sock.cast(), netns, address.is_v4())
        .and_then(|listener| remember(context, address, netns, listener))
    {
        Ok(listener) => {
            count(Counter::Redirected);
            // Off unless the agent logs at that level, too; then the verifier drops it.
            debug!(context, "process {} is redirected to port {}", context.tgid(), listener);
            Decision::Listener(listener)
        }
        Err(_reason) if CLOSED.load() != 0 => {
            count(Counter::Refused);
            Decision::Refuse
        }
        Err(reason) => {
            count(reason);
            Decision::Pass
        }
    }
}

/// The interface that the socket is bound to; 0 for none.
#[inline(always)]
fn bound_device(sock: *mut bpf_sock_addr) -> u32 {
    // SAFETY: the kernel's context is valid, and its socket is there for as long as the program runs.
    unsafe {
        let socket = (*sock).__bindgen_anon_1.sk;
        if socket.is_null() { 0 } else { read_volatile(&raw const (*socket).bound_dev_if) }
    }
}

/// What the socket's packets are queued by; 0 unless it was set.
#[inline(always)]
fn priority(sock: *mut bpf_sock_addr) -> u32 {
    // SAFETY: the kernel's context is valid, and its socket is there for as long as the program runs.
    unsafe {
        let socket = (*sock).__bindgen_anon_1.sk;
        if socket.is_null() { 0 } else { read_volatile(&raw const (*socket).priority) }
    }
}

/// Notes who is going where, under the socket's cookie.
#[inline(always)]
fn remember(context: &SockAddrContext, address: Address, netns: u64, listener: u16) -> Result<u16, Counter> {
    let sock = context.sock_addr;
    let caller = bpf_get_current_pid_tgid();
    let user = bpf_get_current_uid_gid();
    // SAFETY: the context is this program's, and the other helpers have no precondition.
    let (cookie, cgroup) = unsafe { (bpf_get_socket_cookie(sock.cast()), bpf_get_current_cgroup_id()) };
    let flow = Flow {
        // SAFETY: both are sixteen bytes, and any bytes are an address.
        destination: unsafe { core::mem::transmute::<Key, [u8; 16]>(address.key()) },
        comm: bpf_get_current_comm().unwrap_or_default(),
        cgroup_id: cgroup,
        netns_cookie: netns,
        socket_cookie: cookie,
        connected_at_ns: now(),
        tgid: (caller >> 32) as u32,
        uid: user as u32,
        gid: (user >> 32) as u32,
        port: port(sock),
        listener,
    };
    if let Err(errno) = ORIGINS.insert(cookie, &flow, 0) {
        warn!(context, "a flow cannot be remembered, error {}", errno);
        return Err(Counter::FlowLost);
    }
    Ok(listener)
}
