//! What the kernel programs and the agent share: map keys and values, the DNS answer parser, host-name patterns.
//!
//! Everything here but [`name`] runs in the kernel and on the host alike, so that it is tested, compared and fuzzed
//! outside the kernel. The programs themselves are `main.rs`, built for the BPF target only.
#![no_std]
#![expect(clippy::inline_always, reason = "the kernel's verifier follows calls at a price, and older ones not at all")]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
extern crate alloc;

pub mod address;
pub mod counter;
pub mod dns;
pub mod flow;
#[cfg(not(target_arch = "bpf"))]
pub mod name;
pub mod rule;
pub mod verifier;

pub use counter::Counter;
pub use flow::{Flow, FlowKey};
