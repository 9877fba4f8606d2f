//! How an agent's own connections are told from those that it is to take.

use std::{io, os::fd::AsFd};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::Priority},
};
use tollgate_ebpf::flow::AGENT_PRIORITY;

/// Has a socket that is about to connect left alone by the programs of every agent, not only of this process.
///
/// Without CAP_NET_ADMIN it does nothing: such a process is no agent.
pub fn exempt(socket: &impl AsFd) -> io::Result<()> {
    match setsockopt(socket, Priority, &AGENT_PRIORITY.cast_signed()) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives a connected socket the ordinary priority back, so that nothing but its first packets ever had another.
pub fn unexempt(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, Priority, &0)?)
}
