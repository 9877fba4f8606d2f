//! From a socket to the connection that the agent will accept, and the end of both.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock},
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::{cgroup_sock, sock_ops},
    maps::LruHashMap,
    programs::{SockContext, SockOpsContext},
};
use aya_log_ebpf::warn;
use tollgate_ebpf::{
    Counter, FlowKey,
    address::{Address, Key},
};

use crate::{
    connect::{MPTCP, TCP},
    listener::LOCALHOST4,
    maps::{FLOWS, ORIGINS, QUESTIONS, count},
};

const AF_INET6: u32 = 10;
/// For the programs of others on this hook: nothing went wrong.
const OK: u32 = 1;
/// As above, where a program answers with a signed number.
const RELEASED: i32 = 1;

/// Ties the flow to the caller's address and port, which it has now. The SYN has not left yet, so the agent cannot
/// accept the connection before this is there.
#[sock_ops]
pub(crate) fn tcp_connect(context: SockOpsContext) -> u32 {
    let ops = context.ops;
    if context.op() != BPF_SOCK_OPS_TCP_CONNECT_CB {
        return OK;
    }
    // SAFETY: the kernel's context is valid; each field is read on its own, before anything is decided on it, or the
    // compiler would choose between fields by arithmetic on the context, which the verifier forbids.
    let (family, local4, remote4, local6, remote6, local_port, remote_port) = unsafe {
        (
            read_volatile(&raw const (*ops).family),
            read_volatile(&raw const (*ops).local_ip4),
            read_volatile(&raw const (*ops).remote_ip4),
            address(&raw const (*ops).local_ip6),
            address(&raw const (*ops).remote_ip6),
            read_volatile(&raw const (*ops).local_port),
            u32::from_be(read_volatile(&raw const (*ops).remote_port)),
        )
    };
    let (local, remote) = match family {
        AF_INET6 => (local6, remote6),
        _ => (Address::v4(u32::from_be(local4)), Address::v4(u32::from_be(remote4))),
    };
    if !remote.is_localhost() {
        return OK;
    }
    let key = FlowKey {
        // SAFETY: the context is this program's.
        netns_cookie: unsafe { bpf_get_netns_cookie(ops.cast()) },
        // SAFETY: both are sixteen bytes, and any bytes are an address.
        address: unsafe { core::mem::transmute::<Key, [u8; 16]>(local.key()) },
        port: local_port,
        reserved: 0,
    };
    // SAFETY: the context is this program's.
    let cookie = unsafe { bpf_get_socket_cookie(ops.cast()) };
    // SAFETY: pointers to map values stay valid while the program runs.
    let flow = ORIGINS.get_ptr(cookie).map(|flow| unsafe { &*flow });
    // The socket may have been disconnected, and connect elsewhere now.
    let Some(flow) = flow.filter(|flow| remote_port == u32::from(flow.listener)) else {
        forget(&key, remote_port);
        return OK;
    };
    if let Err(errno) = FLOWS.insert(&key, flow, 0) {
        count(Counter::FlowLost);
        warn!(&context, "a connection cannot be tied to its flow, error {}", errno);
    }
    OK
}

/// Drops what an earlier socket with the same address and port left, whose connection was never accepted: this one goes to
/// the listener unasked, and must not pass for it.
#[inline(always)]
fn forget(key: &FlowKey, remote_port: u32) {
    // SAFETY: pointers to map values stay valid while the program runs.
    if FLOWS.get_ptr(key).is_some_and(|flow| u32::from(unsafe { (*flow).listener }) == remote_port) {
        // It may have been evicted meanwhile, which is as good.
        let _absent = FLOWS.remove(key);
    }
}

/// Forgets a socket that is closed. Its flow stays for the agent, which may accept the connection only later.
///
/// All sockets of the node end here, and to look one up in a large map is dear, for its place is in no cache. So what a
/// socket cannot have is told from the socket itself. A flow that is missed (that of a socket which was used again, for
/// somewhere else) does no harm: its cookie never comes back, and the map evicts it.
#[cgroup_sock(sock_release)]
pub(crate) fn release(context: SockContext) -> i32 {
    let sock = context.sock;
    // SAFETY: the kernel's context is valid.
    match unsafe { read_volatile(&raw const (*sock).protocol) } {
        TCP if !is_to_localhost(sock) => {}
        TCP | MPTCP => forget_socket(&ORIGINS, sock),
        _ => forget_socket(&QUESTIONS, sock),
    }
    RELEASED
}

/// Whether the socket was connected to where listeners are.
#[inline(always)]
fn is_to_localhost(sock: *mut bpf_sock) -> bool {
    // SAFETY: the kernel's context is valid. An IPv4 socket has no IPv6 address, an IPv6 one that is connected to an
    // IPv4-mapped address has both.
    let (v4, v6) = unsafe { (read_volatile(&raw const (*sock).dst_ip4), address(&raw const (*sock).dst_ip6)) };
    v4 == LOCALHOST4.to_be() || v6.is_localhost()
}

/// Removes what a map has of the socket.
#[inline(always)]
fn forget_socket<T>(map: &LruHashMap<u64, T>, sock: *mut bpf_sock) {
    // SAFETY: the context is this program's.
    let cookie = unsafe { bpf_get_socket_cookie(sock.cast()) };
    // To look takes no lock, and to remove takes one even where there is nothing.
    if map.get_ptr(cookie).is_some() {
        let _evicted = map.remove(cookie);
    }
}

/// An IPv6 address in a context.
///
/// # Safety
/// The pointer must be one into the program's context.
#[inline(always)]
unsafe fn address(field: *const [u32; 4]) -> Address {
    let words = field.cast::<u32>();
    // SAFETY: the field has four words; each is read on its own, as the verifier wants it.
    Address::from_words(unsafe {
        [read_volatile(words), read_volatile(words.add(1)), read_volatile(words.add(2)), read_volatile(words.add(3))]
    })
}
