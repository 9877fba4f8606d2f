//! `getpeername(2)`: the program asked for the provider, so that is who it is connected to.

use aya_ebpf::{
    bindings::bpf_sock_addr, helpers::generated::bpf_get_socket_cookie, macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use tollgate_ebpf::{Flow, address::Key};

use crate::{
    connect::{ALLOW, address4, address6, port, set_address4, set_address6},
    maps::ORIGINS,
};

/// IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    if address4(sock).is_localhost()
        && let Some(([_, lower], port)) = destination(sock)
    {
        set_address4(sock, u64::from_be(lower) as u32, port);
    }
    ALLOW
}

/// IPv6 sockets, IPv4-mapped ones among them.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(context: SockAddrContext) -> i32 {
    let sock = context.sock_addr;
    if address6(sock).is_localhost()
        && let Some((address, port)) = destination(sock)
    {
        set_address6(sock, address, port);
    }
    ALLOW
}

/// Where the socket was going, if it is connected to the listener it was sent to.
#[inline(always)]
fn destination(sock: *mut bpf_sock_addr) -> Option<(Key, u16)> {
    // SAFETY: the context is this program's.
    let cookie = unsafe { bpf_get_socket_cookie(sock.cast()) };
    let flow: *const Flow = ORIGINS.get_ptr(cookie)?;
    // SAFETY: pointers to map values stay valid while the program runs; the address is aligned, as the flow is.
    let (address, original, listener) =
        unsafe { ((&raw const (*flow).destination).cast::<Key>().read(), (*flow).port, (*flow).listener) };
    // The socket may have been disconnected, and connected to something else since.
    (listener == port(sock)).then_some((address, original))
}
