//! Who calls: from a process id to program, user and control group.
//!
//! Everything is read from `/proc`, which is memory, and the user table is parsed ahead of time, so
//! a look-up on the request path never waits for a disk, for NSS or for another process.

#![forbid(unsafe_code)]

mod caller;
mod cgroup;
mod place;
mod process;
mod users;
mod workloads;

pub use caller::{Caller, Pod};
pub use workloads::{Pods, Workloads};
