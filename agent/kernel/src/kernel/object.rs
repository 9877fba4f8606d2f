//! The object that the build script made from the sources, and how it gets into the kernel.

use std::{fs, fs::File, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
    programs::{CgroupAttachMode, CgroupSkbAttachType, Program},
};
use tollgate_ebpf::{
    name,
    rule::{KEY, Rule},
};

use super::{AttachError, LoadError, MapError, OnFailure, Options, log::ProgramLog};

/// The programs, in the order they are attached: what a redirected connection needs comes first, what redirects last.
const PROGRAMS: [&str; 9] = [
    "release",
    "getpeername4",
    "getpeername6",
    "tcp_connect",
    "dns_answer",
    "sendmsg4",
    "sendmsg6",
    "connect4",
    "connect6",
];

/// The inode number of the initial PID namespace (`PROC_PID_INIT_INO`), which is part of the kernel's interface.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A type of the shared crate, as bytes for the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: these are `repr(C)` with no padding (their crate asserts the sizes), and any bytes are a value of theirs.
unsafe impl Pod for Shared<tollgate_ebpf::Flow> {}
// SAFETY: as above.
unsafe impl Pod for Shared<tollgate_ebpf::FlowKey> {}
// SAFETY: as above.
unsafe impl Pod for Shared<tollgate_ebpf::flow::Known> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Rule> {}

/// Links of all programs to one cgroup. Dropping one detaches its program.
pub(super) struct Links(Vec<Box<dyn Send + Sync>>);

impl Drop for Links {
    /// In reverse, so that nothing is redirected any more when the rest goes.
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// The loaded object.
pub(super) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Loads every program, and fills in the names.
    pub(super) fn load(options: &Options) -> Result<Self, LoadError> {
        let (cgroup, tgid) = exemption(options)?;
        let stale_after = u64::try_from(options.stale_after.as_nanos()).unwrap_or(u64::MAX);
        let closed = u32::from(options.on_failure == OnFailure::Closed);
        let block_quic = u32::from(options.block_quic);
        let log_level = ProgramLog::level();
        let rules = name::compile(&options.patterns)?;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("AGENT_CGROUP", &cgroup, true)
            .override_global("AGENT_TGID", &tgid, true)
            .override_global("CLOSED", &closed, true)
            .override_global("BLOCK_QUIC", &block_quic, true)
            .override_global("STALE_AFTER_NS", &stale_after, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .map_max_entries("NAMES", rules.len().max(1) as u32)
            .map_max_entries("PORTS", options.ports.len().max(1) as u32);
        let mut programs = Self { ebpf: loader.load(OBJECT).map_err(LoadError::object)? };
        let mut names: LpmTrie<MapData, [u8; KEY], Shared<Rule>> = programs.map("NAMES")?;
        for name::Compiled { prefix, rule } in rules {
            let mut bytes = [0; KEY];
            bytes[..prefix.len()].copy_from_slice(&prefix);
            let key = Key::new(prefix.len() as u32 * 8, bytes);
            names.insert(&key, Shared(rule), 0).map_err(MapError::writing("NAMES"))?;
        }
        let mut ports: HashMap<MapData, u16, u8> = programs.map("PORTS")?;
        for port in &options.ports {
            ports.insert(port, 1, 0).map_err(MapError::writing("PORTS"))?;
        }
        for name in PROGRAMS {
            let program = programs.ebpf.program_mut(name).ok_or(LoadError::Part(name))?;
            let loaded = match program {
                Program::CgroupSock(program) => program.load(),
                Program::CgroupSockAddr(program) => program.load(),
                Program::CgroupSkb(program) => program.load(),
                Program::SockOps(program) => program.load(),
                _ => return Err(LoadError::Part(name)),
            };
            loaded.map_err(|error| LoadError::program(name, error))?;
        }
        Ok(programs)
    }

    /// Takes a map out of the object.
    pub(super) fn map<M: TryFrom<Map, Error = aya::maps::MapError>>(
        &mut self,
        name: &'static str,
    ) -> Result<M, LoadError> {
        let map = self.ebpf.take_map(name).ok_or(LoadError::Part(name))?;
        Ok(M::try_from(map).map_err(MapError::writing(name))?)
    }

    /// Takes the programs' log out of the object.
    pub(super) fn log(&mut self) -> Option<ProgramLog> {
        ProgramLog::take(&mut self.ebpf)
    }

    /// Attaches every program, or none.
    pub(super) fn attach(&mut self, cgroup: &File, path: &Path) -> Result<Links, AttachError> {
        let mut links = Links(Vec::new());
        for name in PROGRAMS {
            let program = self.ebpf.program_mut(name).ok_or(AttachError::Part(name))?;
            let failed = |source| AttachError::Program { program: name, path: path.into(), source };
            // On kernels with links this mode lets others attach as well, and the "multiple" one is refused.
            let mode = CgroupAttachMode::Single;
            let link: Box<dyn Send + Sync> = match program {
                Program::CgroupSock(program) => {
                    let id = program.attach(cgroup, mode).map_err(failed)?;
                    Box::new(program.take_link(id).map_err(failed)?)
                }
                Program::CgroupSockAddr(program) => {
                    let id = program.attach(cgroup, mode).map_err(failed)?;
                    Box::new(program.take_link(id).map_err(failed)?)
                }
                Program::CgroupSkb(program) => {
                    let id = program.attach(cgroup, CgroupSkbAttachType::Ingress, mode).map_err(failed)?;
                    Box::new(program.take_link(id).map_err(failed)?)
                }
                Program::SockOps(program) => {
                    let id = program.attach(cgroup, mode).map_err(failed)?;
                    Box::new(program.take_link(id).map_err(failed)?)
                }
                _ => return Err(AttachError::Part(name)),
            };
            links.0.push(link);
        }
        Ok(links)
    }

    /// What the verifier went through for each program, where the kernel tells.
    pub(super) fn verified_instructions(&self) -> Vec<(&'static str, u32)> {
        let count = |name| self.ebpf.program(name)?.info().ok()?.verified_instruction_count();
        PROGRAMS.iter().filter_map(|&name| Some((name, count(name)?))).collect()
    }
}

/// The time that programs see, which is that of `CLOCK_MONOTONIC`.
pub(super) fn now_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("Linux always has this clock");
    Duration::from(now).as_nanos() as u64
}

/// The cgroup and the process whose connections are the agent's own; 0 for none.
fn exemption(options: &Options) -> Result<(u64, u32), LoadError> {
    // Elsewhere the number would be some other process's.
    let global_ids = fs::metadata("/proc/self/ns/pid").is_ok_and(|link| link.ino() == INITIAL_PID_NAMESPACE);
    if !global_ids && options.agent_cgroup.is_none() {
        return Err(LoadError::Exemption);
    }
    Ok((options.agent_cgroup.unwrap_or(0), if global_ids { std::process::id() } else { 0 }))
}

/// The programs, as the build script made them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs"));
