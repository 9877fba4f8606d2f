//! What the agent fixes when it loads the programs.

/// Constants for the verifier, patched into the object before it is loaded, so that they cost nothing per call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The cgroup whose connections are never redirected; 0 for none.
    pub agent_cgroup: u64,
    /// How old the heartbeat may be, in nanoseconds, before the agent counts as hung.
    pub stale_after_ns: u64,
    /// The process whose connections are never redirected; 0 for none.
    pub agent_tgid: u32,
    /// 1 to refuse connections to known addresses while no live listener could take them, 0 to let them go direct.
    pub closed: u32,
    /// 1 to refuse UDP to port 443 of known addresses, so that HTTP/3 clients fall back to TCP.
    pub block_quic: u32,
    /// Keeps the structure free of uninitialised bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Settings>() == 32 && align_of::<Settings>() == 8);
