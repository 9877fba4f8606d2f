//! What redirected connections arrive at: listeners on the loopback of a network namespace.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    ops::RangeInclusive,
    os::fd::BorrowedFd,
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{Backlog, listen as set_backlog},
};

use crate::NetnsCookie;

/// Ports to try. They are outside the ephemeral range, Kubernetes' NodePorts (which Cilium also answers on loopback)
/// and the ports of known service meshes.
pub const PORTS: RangeInclusive<u16> = 18443..=18542;

/// How many connections may wait to be accepted: a burst of many, but not without end, so that callers of a hung agent
/// notice.
const BACKLOG: i32 = 1024;

/// Two listeners on one port, ready for [`TcpListener::from_std`](tokio::net::TcpListener::from_std).
#[derive(Debug)]
pub struct Listeners {
    /// The namespace they are in.
    pub netns: NetnsCookie,
    /// The port of both.
    pub port: u16,
    /// On 127.0.0.1.
    pub v4: TcpListener,
    /// On ::1; none where the namespace has no IPv6.
    pub v6: Option<TcpListener>,
}

/// Why there are no listeners.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has each of the ports.
    #[error("no port from {} to {} is free on 127.0.0.1 and ::1; see which program has them with `ss -ltnp`", .0.start(), .0.end())]
    NoPort(RangeInclusive<u16>),
    /// The address cannot be bound at all.
    #[error("cannot listen on {address}: {source}; is the loopback interface up (`ip link set lo up`)?")]
    Bind {
        /// The address that was tried.
        address: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace could not be entered.
    #[error("cannot enter the network namespace: {0}; CAP_SYS_ADMIN is needed")]
    Enter(io::Error),
    /// The namespace did not tell its cookie.
    #[error("cannot identify the network namespace: {0}; Linux 5.14 or newer is needed")]
    Netns(io::Error),
}

/// Listens in the calling thread's network namespace, on the first port of the range that is free on both loopback
/// addresses.
pub fn listen(ports: RangeInclusive<u16>) -> Result<Listeners, ListenError> {
    for port in ports.clone() {
        let Some(v4) = bind(Ipv4Addr::LOCALHOST.into(), port)? else { continue };
        let v6 = match bind(Ipv6Addr::LOCALHOST.into(), port) {
            Ok(Some(v6)) => Some(v6),
            Ok(None) => continue,
            Err(ListenError::Bind { source, .. }) if is_absent(&source) => None,
            Err(error) => return Err(error),
        };
        let netns = NetnsCookie::of(&v4).map_err(ListenError::Netns)?;
        return Ok(Listeners { netns, port, v4, v6 });
    }
    Err(ListenError::NoPort(ports))
}

/// Listens in another network namespace. The sockets stay there, and are used from here like any other.
pub fn listen_in(netns: BorrowedFd<'_>, ports: RangeInclusive<u16>) -> Result<Listeners, ListenError> {
    run_in(netns, || listen(ports)).map_err(ListenError::Enter)?
}

/// Runs a function in another network namespace, for the sockets that it makes. It runs on a thread of its own, so
/// that no other work ever finds itself in the wrong namespace.
pub fn run_in<T: Send>(netns: BorrowedFd<'_>, make: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("netns".into()).spawn_scoped(scope, || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            Ok(make())
        })?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A listener, or none if the port is taken.
fn bind(address: IpAddr, port: u16) -> Result<Option<TcpListener>, ListenError> {
    let failed = |source| ListenError::Bind { address, source };
    let listener = match TcpListener::bind((address, port)) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let backlog = Backlog::new(BACKLOG).map_err(|errno| failed(errno.into()))?;
    set_backlog(&listener, backlog).map_err(|errno| failed(errno.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Some(listener))
}

/// Whether the namespace lacks the address, or the family altogether.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
