//! Everything that looks random in an answer, drawn from the request, so that equal requests get equal bytes.

use aws_lc_rs::digest::{SHA256, digest};

use crate::truth::Usage;

/// Seconds since 1970 that every answer claims to be made at: Sun, 22 Nov 2026 09:26:40 GMT.
pub(crate) const CREATED: u64 = 1_795_339_600;
/// [`CREATED`] as an HTTP date.
pub(crate) const DATE: &str = "Sun, 22 Nov 2026 09:26:40 GMT";
/// [`CREATED`] as RFC 3339.
pub(crate) const TIMESTAMP: &str = "2026-11-22T09:26:40Z";

/// A digest of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seed(pub(crate) [u8; 32]);

impl Seed {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Another seed for another purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        Self::of(&[&self.0, purpose.as_bytes()])
    }

    pub(crate) fn number(&self, purpose: &str) -> u64 {
        u64::from_le_bytes(self.derive(purpose).0[..8].try_into().expect("eight bytes"))
    }

    /// `prefix` and `length` letters and digits.
    pub(crate) fn id(&self, prefix: &str, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut random = Random::new(self.number(prefix));
        let mut id = String::from(prefix);
        id.extend((0..length).map(|_| char::from(ALPHABET[(random.next() % 62) as usize])));
        id
    }

    /// `length` hexadecimal digits, at most 64.
    pub(crate) fn hex(&self, purpose: &str, length: usize) -> String {
        let mut text = hex(&self.derive(purpose).0);
        text.truncate(length);
        text
    }

    /// Token counts for a prompt of so many characters and an answer of so many words: no two fields equal, nor any
    /// sum that a dialect reports, so that a mix-up of fields shows.
    pub(crate) fn usage(&self, characters: usize, words: usize) -> Usage {
        let mut usage = Usage {
            cache_read: 40 + self.number("cache read") % 61,
            cache_write: 110 + self.number("cache write") % 37,
            reasoning: 150 + self.number("reasoning") % 43,
            ..Usage::default()
        };
        let mut uncached = 300 + characters as u64 / 4 + self.number("input") % 29;
        let visible = 17 + words as u64;
        loop {
            usage.input = uncached + usage.cache_read + usage.cache_write;
            usage.output = visible + usage.reasoning;
            let mut seen = [
                usage.cache_read,
                usage.cache_write,
                usage.cache_read + usage.cache_write,
                usage.reasoning,
                uncached,
                uncached + usage.cache_read,
                uncached + usage.cache_write,
                usage.input,
                visible,
                usage.output,
                usage.input + usage.output,
            ];
            seen.sort_unstable();
            if seen.windows(2).all(|pair| pair[0] != pair[1]) {
                return usage;
            }
            // All sums grow at rates of their own, so that equal ones part.
            usage.cache_read += 1;
            usage.cache_write += 2;
            usage.reasoning += 7;
            uncached += 11;
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// SHA-256 of `data` in lower-case hexadecimal, as [`crate::Exchange::request_sha256`] and `/echo` give it.
pub fn sha256(data: &[u8]) -> String {
    hex(digest(&SHA256, data).as_ref())
}

/// The bytes that `/bytes/{length}?seed=` sends.
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    Random::new(seed).fill(&mut data);
    data
}

/// SplitMix64: fast, seedable, and good enough to be incompressible. Filling in pieces of a multiple of 8 bytes gives the
/// same bytes as filling at once.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn fill(&mut self, data: &mut [u8]) {
        for chunk in data.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_deterministic_and_pairwise_different() {
        for index in 0_u64..2_000 {
            let seed = Seed::of(&[&index.to_le_bytes()]);
            let usage = seed.usage(index as usize, (index % 200) as usize);
            assert_eq!(usage, seed.usage(index as usize, (index % 200) as usize));
            let mut fields = [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning];
            fields.sort_unstable();
            assert!(fields.windows(2).all(|pair| pair[0] < pair[1]), "{usage:?}");
        }
    }

    #[test]
    fn random_bytes_do_not_depend_on_the_pieces_they_are_made_in() {
        let mut pieces = vec![0; 1000];
        let mut random = Random::new(7);
        for piece in pieces.chunks_mut(64) {
            random.fill(piece);
        }
        assert_eq!(pieces, random_bytes(7, 1000));
    }
}
