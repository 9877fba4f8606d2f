//! Reads a DNS answer (RFC 1035) and tells which addresses an intercepted name has.
//!
//! The code is written for the kernel's verifier: loops have constant bounds, indices are masked right where they
//! are used, and what lives across a step is in memory ([`Slot`](crate::verifier::Slot)), so that the verifier forgets its value and the
//! states of a loop merge. It reads nothing outside its scratch memory, whatever the message says. Records may be
//! in any order; an address counts only if the chain of CNAMEs from the question leads to its owner.

mod scratch;
mod walk;

pub use scratch::{Key, Scratch};

use crate::{address::Address, rule::Name};

/// The longest message that is read, in bytes; the rest of a longer one is ignored.
pub const MESSAGE: usize = 4096;

/// What the reader needs from around it.
pub trait Sink {
    /// Whether the name is intercepted. The key is the name reversed, for a look-up of the longest prefix.
    fn wants(&mut self, key: &Key, name: &Name) -> bool;
    /// Takes an address of the name, and its time to live in seconds.
    fn learn(&mut self, address: Address, time_to_live: u32);
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No successful answer to one question.
    Ignored,
    /// An answer to a question about another name.
    Unwanted,
    /// Read to its end.
    Read,
    /// Not a valid message, or too long to follow; what was learned before the fault stays.
    Malformed,
}

/// Reads the message of `length` bytes that is in the scratch memory.
#[inline(always)]
pub fn read(scratch: &mut Scratch, length: u32, sink: &mut impl Sink) -> Outcome {
    match walk::question(scratch, length) {
        Outcome::Read => {}
        other => return other,
    }
    if !sink.wants(&scratch.key, &scratch.name) {
        return Outcome::Unwanted;
    }
    walk::answers(scratch, sink)
}

/// Copies a message into the scratch memory and reads it, as the kernel program does.
#[cfg(not(target_arch = "bpf"))]
pub fn read_message(scratch: &mut Scratch, message: &[u8], sink: &mut impl Sink) -> Outcome {
    let length = message.len().min(MESSAGE);
    scratch.message[..length].copy_from_slice(&message[..length]);
    read(scratch, length as u32, sink)
}
