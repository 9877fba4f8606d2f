//! The memory that a message is read in.

use super::MESSAGE;
use crate::{
    rule::{HEAD, KEY, Name, lower},
    verifier::{Slot, load, opaque},
};

/// What can be read beyond the last masked index without a further check.
const SPARE: usize = 80;
const MASK: u32 = MESSAGE as u32 - 1;

/// Masks for any number of leading bytes: a table, for no arithmetic on a length of 0 to 64 does without a branch.
static ONES_THEN_ZEROS: [u8; 128] = {
    let mut bytes = [0; 128];
    let mut index = 0;
    while index < 64 {
        bytes[index] = 0xff;
        index += 1;
    }
    bytes
};

/// A key of the trie, laid out as the kernel wants it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// How many bits count.
    pub bits: u32,
    /// The reversed name, and a NUL after its last byte.
    pub bytes: [u8; KEY],
}

/// Where the reader is in the message; all offsets count from the message's start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// The hash of the labels read so far of the current name.
    pub(super) hash: Slot<u64>,
    /// The hash of the name whose addresses are wanted: the question's, then each CNAME's target.
    pub(super) wanted: Slot<u64>,
    /// A place where that name is written, for owners that are one pointer to it.
    pub(super) wanted_at: Slot<u32>,
    /// The message's length.
    pub(super) length: Slot<u32>,
    /// The next byte.
    pub(super) at: Slot<u32>,
    /// Where the current run of labels started; pointers must lead before it, so that they cannot loop.
    pub(super) run: Slot<u32>,
    /// Where the first pointer of the name ended; 0 before one is met.
    pub(super) resume: Slot<u32>,
    /// The length of the current name so far.
    pub(super) spent: Slot<u32>,
    /// Which name is being read.
    pub(super) phase: Slot<u32>,
    /// Where the target of the CNAME that is being read must end.
    pub(super) next: Slot<u32>,
    /// Where the first record is.
    pub(super) first: Slot<u32>,
    /// How many records the message says it has.
    pub(super) records: Slot<u32>,
    /// How many of them are left.
    pub(super) left: Slot<u32>,
    /// Whether a record of another owner was passed over in this pass.
    pub(super) skipped: Slot<u32>,
    /// Whether a CNAME was followed in this pass.
    pub(super) advanced: Slot<u32>,
    /// Where that target starts.
    pub(super) target: Slot<u32>,
}

/// One message and all that is known while it is read: too much for the kernel's stack.
#[repr(C)]
pub struct Scratch {
    /// The message, and room so that reads near its end stay inside.
    pub message: [u8; MESSAGE + SPARE],
    pub(super) state: State,
    pub(super) name: Name,
    pub(super) key: Key,
}

const _: () = {
    // A label and its length byte are read as eight words.
    assert!(SPARE >= HEAD + 8 && MESSAGE.is_power_of_two());
    assert!(size_of::<Key>() == 4 + KEY);
    assert!(core::mem::offset_of!(Scratch, state) % 8 == 0);
};

impl Scratch {
    /// Memory with nothing in it.
    #[cfg(not(target_arch = "bpf"))]
    pub fn new() -> alloc::boxed::Box<Self> {
        alloc::boxed::Box::new(Self {
            message: [0; MESSAGE + SPARE],
            state: State::default(),
            name: Name { head: [0; HEAD / 8], labels: 0, length: 0 },
            key: Key { bits: 0, bytes: [0; KEY] },
        })
    }

    /// The byte at an offset, which wraps around so that any offset is inside.
    #[inline(always)]
    pub(super) fn byte(&self, at: u32) -> u32 {
        u32::from(self.message[inside(at)])
    }

    /// The eight bytes from `step * 8` behind an offset, as a little-endian word.
    #[inline(always)]
    pub(super) fn word(&self, at: u32, step: usize) -> u64 {
        load(&self.message, inside(at) + step * 8)
    }

    /// The two bytes at an offset, as a number.
    #[inline(always)]
    pub(super) fn short(&self, at: u32) -> u32 {
        let start = inside(at);
        u32::from(u16::from_be_bytes([self.message[start], self.message[start + 1]]))
    }

    /// The word at `step * 8` of the `length` bytes at an offset, at most 64, followed by zeros.
    #[inline(always)]
    pub(super) fn label_word(&self, at: u32, length: u32, step: usize) -> u64 {
        // The mask of that many bytes starts that far before the middle.
        let start = 64 - (opaque(length.wrapping_sub(1)) & 63) as usize - 1 + step * 8;
        self.word(at, step) & load(&ONES_THEN_ZEROS, start)
    }

    /// Copies the name of `length` bytes after the header, in lower case, to where rules and the trie look at it.
    #[inline(always)]
    pub(super) fn take_name(&mut self, from: u32, length: u32, labels: u32) {
        let length = opaque(length) & (KEY as u32 - 1);
        let mut index = 0;
        while index < KEY as u32 {
            if index >= length {
                break;
            }
            self.key.bytes[index as usize] = self.message[inside(from + length - 1 - index)];
            index += 1;
        }
        self.key.bytes[length as usize] = 0;
        self.key.bits = (length + 1) * 8;
        for word in self.key.bytes.as_chunks_mut::<8>().0 {
            *word = lower(u64::from_le_bytes(*word)).to_le_bytes();
        }
        for step in 0..HEAD / 8 {
            self.name.head[step] = lower(self.word(from, step));
        }
        self.name.labels = labels;
        self.name.length = length;
    }
}

/// An offset inside the message.
#[inline(always)]
fn inside(at: u32) -> usize {
    (opaque(at) & MASK) as usize
}
