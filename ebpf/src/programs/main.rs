//! The programs, thin over the library: each file is one job, and [`maps`] is what they share with the agent.
//!
//! A program lets the call or packet through unless the settings say otherwise, whatever goes wrong inside it.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod connect;
mod dns;
mod flow;
mod listener;
mod maps;
mod peer;
mod quic;

/// The kernel offers some helpers to compatible licences only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the verifier proves that no index is out of bounds, and would refuse this loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
