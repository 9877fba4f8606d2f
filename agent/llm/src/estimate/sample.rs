//! A bounded part of a text, taken evenly from all of it, the same however the text is cut on its way.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Text is kept or passed over in blocks of this many bytes. Each block that has no neighbour costs the
/// count a token or so at its edges.
const BLOCK: usize = 256;
/// How many blocks are kept at most: 4 KiB, beyond which every second, then every fourth block is kept, and so on.
const BLOCKS: usize = 16;
/// How far from a block's edge a space is looked for, to begin and end with whole words.
const EDGE: usize = 48;

/// Stands between two texts. No JSON has this byte in it.
pub(super) const SEPARATOR: u8 = 0xff;

/// Takes text as it is written in JSON, with its escapes, and keeps some of it.
#[derive(Default)]
pub(crate) struct Sampler(Sample);

/// A part of a text. It is content: it has no way out but being counted, and is wiped when it is dropped.
#[derive(Default)]
pub struct Sample {
    kept: Vec<u8>,
    /// One block in 2^`thinning` is kept.
    thinning: u32,
    total: u64,
    messages: u64,
}

impl Sampler {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let Sample { kept, thinning, total, .. } = &mut self.0;
        while !bytes.is_empty() {
            let (block, offset) = (*total / BLOCK as u64, (*total % BLOCK as u64) as usize);
            let past = block % (1 << *thinning);
            let taken = if *thinning == 0 && kept.len() < BLOCK * BLOCKS {
                // All of it, until there is too much.
                let taken = bytes.len().min(BLOCK * BLOCKS - kept.len());
                keep(kept, &bytes[..taken]);
                taken
            } else if past != 0 {
                let skipped = ((1 << *thinning) - past) * BLOCK as u64 - offset as u64;
                bytes.len().min(usize::try_from(skipped).unwrap_or(usize::MAX))
            } else if offset == 0 && kept.len() == BLOCK * BLOCKS {
                thin(kept);
                *thinning += 1;
                continue;
            } else {
                let taken = bytes.len().min(BLOCK - offset);
                keep(kept, &bytes[..taken]);
                taken
            };
            *total += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    /// One text ends, another may follow.
    pub(crate) fn separate(&mut self) {
        self.push(&[SEPARATOR]);
    }

    /// A message begins.
    pub(crate) fn message(&mut self) {
        self.0.messages += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.total == 0
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> &Sample {
        &self.0
    }

    pub(crate) fn finish(self) -> Sample {
        self.0
    }
}

/// Keeps every second block.
fn thin(kept: &mut Vec<u8>) {
    for pair in 1..BLOCKS / 2 {
        kept.copy_within(2 * pair * BLOCK..(2 * pair + 1) * BLOCK, pair * BLOCK);
    }
    kept[BLOCK * BLOCKS / 2..].zeroize();
    kept.truncate(BLOCK * BLOCKS / 2);
}

/// Grows in few steps, and leaves nothing behind where it was.
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    if kept.len() + bytes.len() > kept.capacity() {
        let needed = (kept.len() + bytes.len()).next_power_of_two();
        let capacity = (kept.capacity() * 4).clamp(BLOCK, BLOCK * BLOCKS).max(needed);
        let mut grown = Vec::with_capacity(capacity);
        grown.extend_from_slice(kept);
        kept.zeroize();
        *kept = grown;
    }
    kept.extend_from_slice(bytes);
}

impl Sample {
    /// Whether there was no text.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How long the text is, as it is written in JSON.
    pub(crate) fn bytes(&self) -> u64 {
        self.total
    }

    /// What was kept, its texts joined by `|`.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let texts: Vec<_> = self.kept.split(|&byte| byte == SEPARATOR).map(|text| unescape(text).to_string()).collect();
        texts.join("|")
    }

    /// How many messages the text came in, where that is known.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// What `tokens` says of the part that was kept, scaled to the whole.
    pub(super) fn scale(&self, mut tokens: impl FnMut(&str) -> u64) -> u64 {
        let mut sum = |bytes: &[u8]| -> u64 {
            bytes
                .split(|&byte| byte == SEPARATOR)
                .filter(|text| !text.is_empty())
                .map(|text| tokens(&unescape(text)))
                .sum()
        };
        if self.thinning == 0 {
            return sum(&self.kept);
        }
        let (mut counted, mut bytes) = (0_u64, 0_u64);
        for block in self.kept.chunks(BLOCK) {
            let words = whole_words(block);
            counted += sum(words);
            bytes += words.len() as u64;
        }
        let scaled = u128::from(counted) * u128::from(self.total) + u128::from(bytes / 2);
        u64::try_from(scaled.checked_div(u128::from(bytes)).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.kept.zeroize();
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").field("total", &self.total).finish_non_exhaustive()
    }
}

/// A block without the words that its edges cut, or at least without characters that they cut.
fn whole_words(block: &[u8]) -> &[u8] {
    let is_gap = |byte: &u8| matches!(byte, b' ' | &SEPARATOR);
    let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
    let edge = EDGE.min(block.len());
    let start = match block[..edge].iter().position(is_gap) {
        Some(gap) => gap,
        None => block.iter().position(|byte| !is_inside(byte)).unwrap_or(block.len()),
    };
    let block = &block[start..];
    let tail = block.len().saturating_sub(EDGE);
    let end = match block[tail..].iter().rposition(is_gap) {
        Some(gap) => tail + gap,
        // The last character may lack some of its bytes; where it does not, leaving it out does no harm.
        None => block.iter().rposition(|byte| !is_inside(byte)).unwrap_or(0),
    };
    &block[..end]
}

/// The text that a piece of a JSON string stands for. What the edges of the piece cut off is left out.
pub(super) fn unescape(written: &[u8]) -> Zeroizing<String> {
    // Long enough for all, so that it never moves and leaves a copy.
    let mut text = Zeroizing::new(String::with_capacity(written.len() * 3));
    let mut rest = written;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        push_lossy(&mut text, &rest[..at]);
        let (character, used) = escape(&rest[at + 1..]);
        text.extend(character);
        rest = &rest[(at + 1 + used).min(rest.len())..];
    }
    push_lossy(&mut text, rest);
    text
}

fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// The character that follows a `\`, and how many bytes it takes.
fn escape(after: &[u8]) -> (Option<char>, usize) {
    let unit = |bytes: &[u8]| {
        let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(&first) = after.first() else { return (None, 0) };
    let plain = match first {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let Some(high) = unit(&after[1..]) else { return (None, after.len().min(5)) };
            let low = after.get(5..7).filter(|next| next == b"\\u").and_then(|_| unit(&after[7..]));
            let mut pair = char::decode_utf16([high].into_iter().chain(low));
            return match pair.next() {
                Some(Ok(character)) => (Some(character), if character > '\u{ffff}' { 11 } else { 5 }),
                _ => (Some(char::REPLACEMENT_CHARACTER), 5),
            };
        }
        other if other.is_ascii() => char::from(other),
        _ => return (None, 0),
    };
    (Some(plain), 1)
}

#[cfg(test)]
mod tests;
