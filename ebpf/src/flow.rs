//! A redirected connection: where it was going and who made it.

/// What `connect` saw, remembered until the agent accepts the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The address the program asked for; an IPv4 address is IPv4-mapped.
    pub destination: [u8; 16],
    /// The calling thread's name (`TASK_COMM_LEN`), NUL-padded.
    pub comm: [u8; 16],
    /// The caller's cgroup v2 id, which is the inode number of its directory.
    pub cgroup_id: u64,
    /// The network namespace of the socket.
    pub netns_cookie: u64,
    /// The kernel's identity of the socket, never reused while the machine is up.
    pub socket_cookie: u64,
    /// When `connect` was called, in nanoseconds of `CLOCK_MONOTONIC`.
    pub connected_at_ns: u64,
    /// The process (thread group) that called, numbered in the initial PID namespace.
    pub tgid: u32,
    /// Its user id, in the initial user namespace.
    pub uid: u32,
    /// Its group id, in the initial user namespace.
    pub gid: u32,
    /// The port the program asked for, in host order.
    pub port: u16,
    /// The listener's port that the connection was sent to instead, in host order.
    pub listener: u16,
}

/// How the agent finds the flow of a connection it accepted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// The network namespace of the socket, and so of the listener.
    pub netns_cookie: u64,
    /// The caller's own address, which is the accepted socket's peer; an IPv4 address is IPv4-mapped.
    pub address: [u8; 16],
    /// The caller's own port, in host order.
    pub port: u32,
    /// Keeps the key free of uninitialised bytes, which the kernel would compare.
    pub reserved: u32,
}

/// What is known of an address that an intercepted name resolved to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When the entry stops to count, in nanoseconds of `CLOCK_MONOTONIC`.
    pub until_ns: u64,
}

/// Where connections of a namespace are sent, as one number: the port, and this bit if something listens on ::1, too.
pub const LISTENS_ON_V6: u32 = 1 << 16;

const _: () = {
    assert!(size_of::<Flow>() == 80 && align_of::<Flow>() == 8);
    assert!(core::mem::offset_of!(Flow, cgroup_id) == 32);
    assert!(core::mem::offset_of!(Flow, tgid) == 64);
    assert!(core::mem::offset_of!(Flow, listener) == 78);
    assert!(size_of::<FlowKey>() == 32 && align_of::<FlowKey>() == 8);
    assert!(core::mem::offset_of!(FlowKey, port) == 24);
    assert!(size_of::<Known>() == 8);
};

/// The priority (`SO_PRIORITY`) that an agent's sockets have while they connect. It is how agents let each other be: two that
/// steer the same programs, during an upgrade or `exec` beside a node-wide one, would else hand a connection to and fro for ever.
/// Only a process with CAP_NET_ADMIN can set a priority above 6 (socket(7)); a mark (`SO_MARK`) would do as well, but CNIs have
/// claimed its bits.
pub const AGENT_PRIORITY: u32 = 0x746f_6c6c;
