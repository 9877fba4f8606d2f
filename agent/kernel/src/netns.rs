//! Network namespaces.

use std::{
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::net::UnixDatagram,
    },
};

/// The kernel's identity of a network namespace, never reused while the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsCookie(u64);

impl NetnsCookie {
    /// The namespace that a socket lives in (`SO_NETNS_COOKIE`, Linux 5.14).
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let mut cookie = 0_u64;
        let mut length = size_of::<u64>() as libc::socklen_t;
        // SAFETY: the option writes at most `length` bytes, which is the size of what the pointer leads to.
        let status = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        if status == 0 { Ok(Self(cookie)) } else { Err(io::Error::last_os_error()) }
    }

    /// The namespace that the calling thread is in.
    pub fn current() -> io::Result<Self> {
        // Any socket will do; this kind needs no address, interface or permission.
        Self::of(&UnixDatagram::unbound()?)
    }

    pub(crate) const fn from_raw(cookie: u64) -> Self {
        Self(cookie)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NetnsCookie {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "netns:{}", self.0)
    }
}
