//! What this machine offers for interception, each lack with its remedy.
//!
//! Features are probed, never concluded from the kernel's version: distributions carry newer ones back.

mod features;

use std::fs;

use crate::{Kernel, NetnsCookie, OnFailure, Options, cgroup, listen, listener::PORTS};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// What was found, or what is wrong.
    pub outcome: Result<String, Problem>,
}

/// Something that is missing or in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Looks at everything. Loads the programs and attaches them to an empty cgroup for a moment, which changes nothing
/// for any process.
pub fn run() -> Vec<Finding> {
    let look = |name, outcome| Finding { name, outcome };
    vec![
        look("capabilities", capabilities()),
        look("cgroup v2", cgroup_v2()),
        look("eBPF program types", features::programs()),
        look("eBPF map types", features::maps()),
        look("eBPF helpers", features::helpers()),
        look("eBPF JIT", jit()),
        look("locked memory", features::locked_memory()),
        look("network namespaces", namespaces()),
        look("programs", programs()),
        look("listeners", listeners()),
    ]
}

/// Capabilities by their number (capabilities(7)), and what each is for.
const NEEDED: [(u32, &str, &str); 4] = [
    (39, "CAP_BPF", "to load programs"),
    (12, "CAP_NET_ADMIN", "to attach them to sockets"),
    (38, "CAP_PERFMON", "for the verifier to follow the DNS parser's pointers"),
    (19, "CAP_SYS_PTRACE", "to see which program other users' processes run"),
];

fn capabilities() -> Result<String, Problem> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| problem(&format!("/proc/self/status: {error}"), "mount /proc"))?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<_> = NEEDED.iter().filter(|(bit, ..)| effective >> bit & 1 == 0).collect();
    if missing.is_empty() {
        return Ok(NEEDED.map(|(_, name, _)| name).join(", "));
    }
    let what: Vec<String> = missing.iter().map(|(_, name, purpose)| format!("{name} {purpose}")).collect();
    Err(problem(&format!("missing: {}", what.join("; ")), "run as root, or grant these capabilities"))
}

fn cgroup_v2() -> Result<String, Problem> {
    let remedy = "mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified`; in a container, mount the host's";
    let found = cgroup::root().and_then(|root| Ok((root, cgroup::own()?)));
    let (root, own) = found.map_err(|error| problem(&error, remedy))?;
    Ok(format!("at {}; this process is in {}", root.display(), own.display()))
}

fn jit() -> Result<String, Problem> {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => Err(problem(&"it is off, so programs are interpreted", "sysctl net.core.bpf_jit_enable=1")),
        // Kernels that always compile may not have the file.
        _ => Ok("on".into()),
    }
}

fn namespaces() -> Result<String, Problem> {
    let cookie = NetnsCookie::current().map_err(|error| {
        problem(&format!("a socket does not tell its namespace: {error}"), "use Linux 5.14 or newer")
    })?;
    Ok(format!("this is {cookie}"))
}

/// The real thing: all programs go through this kernel's verifier, and a cgroup takes them.
fn programs() -> Result<String, Problem> {
    // With everything switched on, for what is switched off is not verified. The cgroup is nobody's.
    let options =
        Options { agent_cgroup: Some(u64::MAX), on_failure: OnFailure::Closed, block_quic: true, ..Options::default() };
    let kernel = Kernel::load(&options).map_err(|error| problem(&error, "use a kernel with the features above"))?;
    let remedy = "run where cgroups can be created, with cgroup v2 writable";
    let parent = cgroup::own().map_err(|error| problem(&error, remedy))?;
    let scope = cgroup::Scope::create(&parent, &format!("probe-{}", std::process::id()));
    let scope = scope.map_err(|error| problem(&error, remedy))?;
    kernel.attach(scope.path()).map_err(|error| problem(&error, "use Linux 5.7 or newer, with CONFIG_CGROUP_BPF"))?;
    let verified = kernel.verified_instructions();
    let largest = verified.iter().max_by_key(|(_, count)| count);
    Ok(match largest {
        Some((name, count)) => {
            format!("{} load and attach; the largest, {name}, takes {count} steps to verify", verified.len())
        }
        None => "they load and attach".into(),
    })
}

fn listeners() -> Result<String, Problem> {
    let listeners =
        listen(PORTS).map_err(|error| problem(&error, "free a port, or bring the loopback interface up"))?;
    let families = if listeners.v6.is_some() { "127.0.0.1 and ::1" } else { "127.0.0.1 only, there is no ::1" };
    Ok(format!("port {} is free on {families}", listeners.port))
}

fn problem(what: &impl ToString, remedy: &str) -> Problem {
    Problem { what: what.to_string(), remedy: remedy.into() }
}
