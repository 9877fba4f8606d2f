//! Finds its way over strings and spaces, many bytes at a time.

use memchr::memchr;

/// Where the string that `bytes` are in ends: its closing quotation mark. `escaping` tells whether a `\` stands right before
/// them, and is told whether one stands at their end, where the string goes on.
pub(crate) fn closing_quote(bytes: &[u8], escaping: &mut bool) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    let start = usize::from(std::mem::take(escaping));
    let mut from = start;
    // Marks are looked for and not escapes, of which prose with line ends and code have many more.
    while let Some(at) = quote(&bytes[from..]) {
        let at = from + at;
        if !is_escaped(&bytes[start..at]) {
            return Some(at);
        }
        from = at + 1;
    }
    *escaping = is_escaped(&bytes[start..]);
    None
}

/// Whether what comes after these bytes is escaped by them.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The first quotation mark. Most strings are short, so the first bytes are looked at without a call.
fn quote(bytes: &[u8]) -> Option<usize> {
    const WORD: usize = size_of::<u64>();
    let mut seen = 0;
    while seen < 2 * WORD {
        let Some(word) = bytes[seen..].first_chunk() else { break };
        let marks = u64::from_le_bytes(*word) ^ u64::from_le_bytes([b'"'; WORD]);
        // The lowest byte that is nought keeps its highest bit.
        let hit = marks.wrapping_sub(u64::from_le_bytes([0x01; WORD])) & !marks & u64::from_le_bytes([0x80; WORD]);
        if hit != 0 {
            return Some(seen + hit.trailing_zeros() as usize / 8);
        }
        seen += WORD;
    }
    memchr(b'"', &bytes[seen..]).map(|at| seen + at)
}

/// The first byte that is sought, which is no space. Passes over indentation in large steps.
pub(super) fn spaces(bytes: &[u8], is_sought: impl Fn(&u8) -> bool) -> Option<usize> {
    let mut seen = 0;
    while let Some(byte) = bytes.get(seen) {
        if is_sought(byte) {
            return Some(seen);
        }
        seen += 1;
        while *byte == b' ' && bytes[seen..].first_chunk() == Some(b"        ") {
            seen += 8;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition, byte by byte.
    fn closing(bytes: &[u8], escaping: &mut bool) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match (std::mem::take(escaping), byte) {
                (true, _) => {}
                (false, b'"') => return Some(at),
                (false, byte) => *escaping = *byte == b'\\',
            }
        }
        None
    }

    proptest! {
        #[test]
        fn strings_end_where_their_definition_says(
            text in r#"([ab"\\\\]|[a-z\u{80}-\u{ff}]{1,20}){0,12}"#,
            escaping in any::<bool>(),
        ) {
            let (mut one, mut other) = (escaping, escaping);
            prop_assert_eq!(closing_quote(text.as_bytes(), &mut one), closing(text.as_bytes(), &mut other));
            prop_assert_eq!(one, other);
        }

        #[test]
        fn any_bytes_have_their_marks_found(bytes in proptest::collection::vec(0x1f_u8..0xa4, 0..40)) {
            prop_assert_eq!(quote(&bytes), bytes.iter().position(|byte| *byte == b'"'));
            let is_sought = |byte: &u8| *byte > b'z';
            prop_assert_eq!(spaces(&bytes, is_sought), bytes.iter().position(is_sought));
        }

        #[test]
        fn indentation_is_passed_over(text in "( {0,20}[\nxy]){0,3}") {
            let is_sought = |byte: &u8| *byte == b'y';
            prop_assert_eq!(spaces(text.as_bytes(), is_sought), text.bytes().position(|byte| byte == b'y'));
        }
    }
}
