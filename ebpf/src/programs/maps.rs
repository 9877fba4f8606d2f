//! What the programs and the agent share at run time.

use core::arch::asm;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray},
};
use tollgate_ebpf::{
    Counter, Flow, FlowKey,
    address::{Address, Key},
    counter::COUNTERS as COUNTER_COUNT,
    dns::Scratch,
    flow::Known,
    rule::{KEY, Rule},
};

// What the agent fixes when it loads the programs. The verifier sees constants, so what is off costs nothing.

/// The cgroup whose connections are never redirected; 0 for none.
#[unsafe(no_mangle)]
static AGENT_CGROUP: Global<u64> = Global::new(0);

/// The process whose connections are never redirected; 0 for none.
#[unsafe(no_mangle)]
static AGENT_TGID: Global<u32> = Global::new(0);

/// 1 to refuse connections that no live listener could take, 0 to let them go direct.
#[unsafe(no_mangle)]
pub(crate) static CLOSED: Global<u32> = Global::new(0);

/// 1 to refuse UDP to port 443 of known addresses, so that HTTP/3 clients fall back to TCP.
#[unsafe(no_mangle)]
pub(crate) static BLOCK_QUIC: Global<u32> = Global::new(0);

/// How old the heartbeat may be, in nanoseconds, before the agent counts as hung.
#[unsafe(no_mangle)]
pub(crate) static STALE_AFTER_NS: Global<u64> = Global::new(0);

/// Reversed names to what else must hold. The agent sets its size.
#[map]
pub(crate) static NAMES: LpmTrie<[u8; KEY], Rule> = LpmTrie::with_max_entries(1, 0);

/// The ports whose connections are redirected. The agent sets its size.
#[map]
pub(crate) static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(1, 0);

/// The addresses of intercepted names.
#[map]
pub(crate) static ADDRESSES: LruHashMap<Key, Known> = LruHashMap::with_max_entries(16_384, 0);

/// The cookies of sockets that asked a name server: the only ones whose answers are believed. Bounded and LRU, for any
/// program can open sockets; an answer comes long before its question is displaced.
#[map]
pub(crate) static QUESTIONS: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16_384, 0);

/// Network namespace cookies to the port of the listeners in it, and [`LISTENS_ON_V6`](tollgate_ebpf::flow::LISTENS_ON_V6).
#[map]
pub(crate) static LISTENERS: HashMap<u64, u32> = HashMap::with_max_entries(4_096, 0);

/// Socket cookies to the flow of the socket, for as long as the socket lives.
#[map]
pub(crate) static ORIGINS: LruHashMap<u64, Flow> = LruHashMap::with_max_entries(65_536, 0);

/// What the agent finds a flow by, until it has accepted the connection.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(16_384, 0);

/// When the agent was last well, in nanoseconds of `CLOCK_MONOTONIC`.
#[map]
pub(crate) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// What happened, by reason.
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTER_COUNT, 0);

/// Where a DNS message is read. Packets are delivered with bottom halves off, so one per CPU is enough.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Counts something.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // The target has this instruction, but not the ones that the library's atomic types ask for. It must be
        // atomic, for a task can be preempted here by another one on its CPU.
        // SAFETY: the map's value is valid and aligned.
        unsafe { asm!("lock *(u64 *)({value} + 0) += {one}", value = in(reg) value, one = in(reg) 1_u64) };
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

/// Whether the address is that of an intercepted name.
#[inline(always)]
pub(crate) fn is_known(address: Address) -> bool {
    // SAFETY: the pointer stays valid while the program runs; a value that is replaced meanwhile is as good.
    ADDRESSES.get_ptr(address.key()).is_some_and(|known| unsafe { (*known).until_ns } > now())
}

/// Whether the calling process is the agent, whose connections must not come back to it.
#[inline(always)]
pub(crate) fn is_agent() -> bool {
    let cgroup = AGENT_CGROUP.load();
    // SAFETY: the helper has no precondition.
    if cgroup != 0 && unsafe { bpf_get_current_cgroup_id() } == cgroup {
        return true;
    }
    let tgid = AGENT_TGID.load();
    tgid != 0 && (aya_ebpf::helpers::bpf_get_current_pid_tgid() >> 32) as u32 == tgid
}
