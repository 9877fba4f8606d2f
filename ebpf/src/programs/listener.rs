//! Is there somebody to take the connection?

use aya_ebpf::{
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    cty::c_void,
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release},
};
use tollgate_ebpf::{Counter, flow::LISTENS_ON_V6};

use crate::maps::{HEARTBEAT, LISTENERS, STALE_AFTER_NS, now};

/// 127.0.0.1.
pub(crate) const LOCALHOST4: u32 = 0x7f00_0001;

/// `TCP_LISTEN` of the kernel's socket states.
const LISTEN: u32 = 10;

/// The port of the namespace's listener, if its agent is well and it really listens; else the reason.
#[inline(always)]
pub(crate) fn find(context: *mut c_void, netns: u64, v4: bool) -> Result<u16, Counter> {
    // SAFETY: pointers to map values stay valid while the program runs.
    let served = LISTENERS.get_ptr(netns).map(|served| unsafe { *served }).ok_or(Counter::NoListener)?;
    if !v4 && served & LISTENS_ON_V6 == 0 {
        // Whatever is at that port of ::1 is not the agent.
        return Err(Counter::NoListener);
    }
    let port = served as u16;
    // SAFETY: as above.
    let beat = HEARTBEAT.get_ptr(0).map_or(0, |beat| unsafe { *beat });
    if now().saturating_sub(beat) > STALE_AFTER_NS.load() {
        return Err(Counter::Stale);
    }
    if listens(context, port, v4) { Ok(port) } else { Err(Counter::NoListener) }
}

/// Looks the listener up in the namespace of the calling socket.
#[inline(always)]
fn listens(context: *mut c_void, port: u16, v4: bool) -> bool {
    let port = port.to_be();
    let (mut tuple, size) = if v4 {
        let address = LOCALHOST4.to_be();
        (
            bpf_sock_tuple__bindgen_ty_1 {
                ipv4: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                    saddr: address,
                    daddr: address,
                    sport: 0,
                    dport: port,
                },
            },
            size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>(),
        )
    } else {
        let address = [0, 0, 0, 1_u32.to_be()];
        (
            bpf_sock_tuple__bindgen_ty_1 {
                ipv6: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
                    saddr: address,
                    daddr: address,
                    sport: 0,
                    dport: port,
                },
            },
            size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2>(),
        )
    };
    let tuple = (&raw mut tuple).cast::<bpf_sock_tuple>();
    // SAFETY: the context is the program's own, the tuple has the size that is told, and a socket that is found is
    // released before the program ends.
    unsafe {
        let socket = bpf_sk_lookup_tcp(context, tuple, size as u32, BPF_F_CURRENT_NETNS as i64 as u64, 0);
        if socket.is_null() {
            return false;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state == LISTEN
    }
}
