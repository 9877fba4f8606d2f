//! Steers connections in the kernel: loads, attaches, feeds and reads the eBPF programs.
//!
//! [`Kernel`] holds the programs and their maps. [`listener`] binds what connections are sent to, [`cgroup`] finds and
//! makes the cgroups that programs attach to, [`probe`] says what this machine lacks. Nothing here knows HTTP or TLS.

pub mod cgroup;
mod exempt;
mod flow;
pub mod kernel;
pub mod listener;
mod netns;
pub mod probe;

pub use exempt::{exempt, unexempt};
pub use flow::Flow;
pub use kernel::{AttachError, Kernel, LoadError, MapError, OnFailure, Options};
pub use listener::{Listeners, listen};
pub use netns::NetnsCookie;
