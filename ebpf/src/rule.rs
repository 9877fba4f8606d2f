//! Name patterns as the kernel matches them: a longest-prefix trie of reversed names, and what else must hold.
//!
//! Names are in wire form (RFC 1035, section 3.1), in lower case and without the root label. The length bytes stay
//! in, so a suffix ends at a label's boundary by itself, and a dot inside a label fools nobody.

/// Room for a reversed name and the byte that ends an exact one; a name has at most 254 bytes without its root.
pub const KEY: usize = 256;
/// How many bytes of a name a pattern can fix before its `*`, with length bytes.
pub const HEAD: usize = 64;
/// How many patterns can end alike.
pub const ALTERNATIVES: usize = 16;

const WORDS: usize = HEAD / 8;

/// What a pattern asks of a name beyond its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The name's first bytes, as little-endian words.
    pub head: [u64; WORDS],
    /// Which bits of the head count.
    pub mask: [u64; WORDS],
    /// How many labels the name has; 0 for any number, `u32::MAX` for an alternative that is not there.
    pub labels: u32,
    /// How many bytes it has at least.
    pub length: u32,
}

/// The value of the trie: the patterns that end in its key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One of them must hold.
    pub alternatives: [Alternative; ALTERNATIVES],
}

/// What a rule looks at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The first bytes in lower case, as little-endian words; what lies beyond the name is arbitrary.
    pub head: [u64; WORDS],
    /// The number of labels.
    pub labels: u32,
    /// The number of bytes, length bytes included, root excluded.
    pub length: u32,
}

const _: () = {
    assert!(size_of::<Alternative>() == 136);
    assert!(size_of::<Rule>() == 136 * ALTERNATIVES);
    assert!(size_of::<Name>() == 72);
};

impl Alternative {
    /// One that never holds.
    pub const ABSENT: Self = Self { head: [0; WORDS], mask: [0; WORDS], labels: u32::MAX, length: u32::MAX };

    /// Whether it holds. Compares without branching per word: the kernel's verifier would follow each branch.
    #[inline(always)]
    pub fn holds(&self, name: &Name) -> bool {
        let mut differs = 0;
        let mut word = 0;
        while word < WORDS {
            differs |= (name.head[word] ^ self.head[word]) & self.mask[word];
            word += 1;
        }
        differs == 0 && (self.labels == 0 || self.labels == name.labels) && name.length >= self.length
    }
}

impl Rule {
    /// Whether one of the alternatives holds.
    #[inline(always)]
    pub fn accepts(&self, name: &Name) -> bool {
        let mut index = 0;
        while index < ALTERNATIVES {
            if self.alternatives[index].holds(name) {
                return true;
            }
            index += 1;
        }
        false
    }
}

/// Eight bytes with `A`-`Z` in lower case; every other byte, length bytes among them, is unchanged.
#[inline(always)]
pub const fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low7 = word & (ONES * 0x7f);
    // Bit 7 of each byte: at least 'A'; above 'Z'; is ASCII.
    let from_a = low7 + ONES * (0x80 - b'A' as u64);
    let above_z = low7 + ONES * (0x7f - b'Z' as u64);
    let upper = from_a & !above_z & !word & (ONES * 0x80);
    word | (upper >> 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lower_is_ascii_lower_case_of_every_byte(bytes in any::<[u8; 8]>()) {
            let lowered = lower(u64::from_le_bytes(bytes)).to_le_bytes();
            prop_assert_eq!(lowered, bytes.map(|byte| byte.to_ascii_lowercase()));
        }
    }
}
