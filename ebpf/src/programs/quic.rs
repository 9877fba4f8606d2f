//! Datagrams. HTTP/3 is refused at known addresses where that is asked for, so that clients fall back to TCP; who asks a
//! name server is remembered.

use aya_ebpf::{bindings::bpf_sock_addr, macros::cgroup_sock_addr, programs::SockAddrContext};
use tollgate_ebpf::{Counter, address::Address};

use crate::{
    connect::{ALLOW, REFUSE, address4, address6, port},
    dns::{DOMAIN, asked},
    maps::{BLOCK_QUIC, count, is_agent, is_known},
};

/// Unconnected datagrams of IPv4 sockets.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    decide(sock, address4(sock))
}

/// Unconnected datagrams of IPv6 sockets.
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    decide(sock, address6(sock))
}

#[inline(always)]
fn decide(sock: *mut bpf_sock_addr, address: Address) -> i32 {
    let port = port(sock);
    if port == DOMAIN {
        asked(sock);
        return ALLOW;
    }
    // Asked in the order of cost: datagrams are many, and most are not for this port.
    if port == HTTPS && BLOCK_QUIC.load() != 0 && is_known(address) && is_refused(port) { REFUSE } else { ALLOW }
}

/// Whether UDP to this port of a known address is refused. Counts it.
#[inline(always)]
pub(crate) fn is_refused(port: u16) -> bool {
    if port != HTTPS || BLOCK_QUIC.load() == 0 || is_agent() {
        return false;
    }
    count(Counter::QuicRefused);
    true
}

const HTTPS: u16 = 443;
