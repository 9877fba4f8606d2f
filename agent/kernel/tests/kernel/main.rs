//! The programs on the running kernel, as root: real cgroups, namespaces, sockets and packets.
//!
//! Each test has a cgroup and a network namespace of its own, so they run in parallel and touch nothing else.

mod budget;
mod cost;
mod dns;
mod failure;
mod lab;
mod log;
mod probe;
mod quic;
mod redirect;
mod scope;
