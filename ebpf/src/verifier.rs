//! What the kernel's verifier has to be told, or kept from knowing.
//!
//! It follows every path with what it knows of each number, so two paths that differ in a number are both followed to
//! the end; and it must see for itself, right before an access, that an index is in range.

use core::ptr;

/// A number in memory, which neither the compiler nor the verifier knows anything about once it is stored, so that
/// paths merge.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot<T>(T);

impl<T: Copy> Slot<T> {
    /// What was stored last.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: a reference is valid, aligned and initialised.
        unsafe { ptr::read_volatile(&raw const self.0) }
    }

    /// Stores a value.
    #[inline(always)]
    pub fn set(&mut self, value: T) {
        // SAFETY: a mutable reference is valid and aligned.
        unsafe { ptr::write_volatile(&raw mut self.0, value) }
    }

    /// The value, with nothing known about it.
    #[inline(always)]
    pub fn launder(&mut self, value: T) -> T {
        self.set(value);
        self.get()
    }
}

/// Eight bytes as a little-endian word, in one instruction: by default the compiler takes eight, for it does not know
/// that kernels with BPF have unaligned access. To tell it so would make it use that for the stack too, where the
/// verifier forbids it. The callers keep the word inside the bytes.
#[inline(always)]
pub fn load<const N: usize>(bytes: &[u8; N], start: usize) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let word: u64;
        // SAFETY: the word is inside the bytes, which the verifier proves.
        unsafe {
            let place = bytes.as_ptr().add(start);
            core::arch::asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) place, options(pure, readonly, nostack));
        }
        u64::from_le(word)
    }
    #[cfg(not(target_arch = "bpf"))]
    u64::from_le_bytes(*bytes[start..].first_chunk().expect("the callers keep the word inside"))
}

/// The same number, of which the compiler knows nothing: it must not drop a mask because of what it concluded from an
/// earlier comparison, for the verifier may not have concluded the same.
#[inline(always)]
pub fn opaque(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = u64::from(number);
        // SAFETY: this is no instruction at all.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
        number as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}
