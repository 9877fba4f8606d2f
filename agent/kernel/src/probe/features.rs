//! Program types, map types and helpers, asked of the kernel one by one.

use std::fmt::Display;

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{Problem, problem};

/// What the programs are, and the kernel that had it first.
const PROGRAMS: [(ProgramType, &str); 4] = [
    (ProgramType::CgroupSkb, "cgroup_skb (4.10)"),
    (ProgramType::CgroupSock, "cgroup_sock (4.10, release 5.9)"),
    (ProgramType::CgroupSockAddr, "cgroup_sock_addr (4.17)"),
    (ProgramType::SockOps, "sock_ops (4.13)"),
];

/// What they keep.
const MAPS: [(MapType, &str); 5] = [
    (MapType::Array, "array (3.19)"),
    (MapType::Hash, "hash (3.19)"),
    (MapType::LruHash, "LRU hash (4.10)"),
    (MapType::LpmTrie, "LPM trie (4.11)"),
    (MapType::PerCpuArray, "per-CPU array (4.6)"),
];

/// What they ask of the kernel.
const HELPERS: [(ProgramType, BpfHelper, &str); 10] = [
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_sk_lookup_tcp, "sk_lookup_tcp in connect (4.20)"),
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_get_socket_cookie, "get_socket_cookie in connect (4.17)"),
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_get_netns_cookie, "get_netns_cookie in connect (5.7)"),
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_get_current_cgroup_id, "get_current_cgroup_id in connect (5.7)"),
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_get_current_comm, "get_current_comm in connect (5.7)"),
    (ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_get_current_pid_tgid, "get_current_pid_tgid in connect (5.7)"),
    (ProgramType::SockOps, BpfHelper::BPF_FUNC_get_socket_cookie, "get_socket_cookie in sock_ops (4.13)"),
    (ProgramType::SockOps, BpfHelper::BPF_FUNC_get_netns_cookie, "get_netns_cookie in sock_ops (5.15)"),
    (ProgramType::CgroupSock, BpfHelper::BPF_FUNC_get_socket_cookie, "get_socket_cookie in release (5.7)"),
    (ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_skb_load_bytes, "skb_load_bytes in ingress (4.10)"),
];

pub(super) fn programs() -> Result<String, Problem> {
    all(PROGRAMS.iter().map(|&(kind, name)| (name, is_program_supported(kind))))
}

pub(super) fn maps() -> Result<String, Problem> {
    all(MAPS.iter().map(|&(kind, name)| (name, is_map_supported(kind))))
}

pub(super) fn helpers() -> Result<String, Problem> {
    all(HELPERS.iter().map(|&(kind, helper, name)| (name, is_helper_supported(kind, helper))))
}

/// Since Linux 5.11 maps count against the memory cgroup; before, against a limit that is small by default. That
/// kernel brought a helper, too, by which it is known.
pub(super) fn locked_memory() -> Result<String, Problem> {
    let by_cgroup = is_helper_supported(ProgramType::SocketFilter, BpfHelper::BPF_FUNC_ktime_get_coarse_ns);
    if by_cgroup.map_err(unknown)? {
        return Ok("maps count against the memory cgroup".into());
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(unknown)?;
    if limit == RLIM_INFINITY {
        return Ok("unlimited".into());
    }
    Err(problem(&format!("limited to {limit} bytes"), "`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit"))
}

/// One finding of many questions.
fn all<E: Display>(answers: impl Iterator<Item = (&'static str, Result<bool, E>)>) -> Result<String, Problem> {
    let (mut found, mut missing) = (0, Vec::new());
    for (name, answer) in answers {
        if answer.map_err(unknown)? {
            found += 1;
        } else {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(format!("all {found} that are needed"));
    }
    Err(problem(&format!("missing: {}", missing.join(", ")), "use a kernel that has them, Linux 5.15 or newer"))
}

fn unknown(error: impl Display) -> Problem {
    problem(&format!("the kernel could not be asked: {error}"), "run as root, or with CAP_BPF and CAP_NET_ADMIN")
}
