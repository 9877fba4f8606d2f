//! Host names as clients send them.

/// The longest host name in its textual form (RFC 1035 § 2.3.4, less the root's length byte).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 § 2.3.4).
const MAX_LABEL: usize = 63;

/// A host name in lower case and without its trailing dot; `None` where it is none.
///
/// What arrives here was chosen by whoever connects. Letters, digits, hyphens and (common if not legal) underscores pass; a name
/// whose last label is a number does not, as that is an IPv4 address in one of its many spellings.
pub(crate) fn canonical(raw: &[u8]) -> Option<String> {
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    if raw.is_empty() || raw.len() > MAX_NAME {
        return None;
    }
    let mut last = &raw[..0];
    for label in raw.split(|byte| *byte == b'.') {
        let legal = label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if label.is_empty() || label.len() > MAX_LABEL || label.starts_with(b"-") || label.ends_with(b"-") || !legal {
            return None;
        }
        last = label;
    }
    if last.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(String::from_utf8(raw.to_ascii_lowercase()).expect("every byte was seen to be ASCII"))
}

/// Whether an X.509 name constraint for `subtree` permits `host` (RFC 5280 § 4.2.1.10): the name itself and all below it. Both
/// canonical.
pub(crate) fn within(host: &str, subtree: &str) -> bool {
    host.strip_suffix(subtree).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_and_lose_their_trailing_dot() {
        assert_eq!(canonical(b"API.OpenAI.com.").as_deref(), Some("api.openai.com"));
        assert_eq!(canonical(b"my_host").as_deref(), Some("my_host"));
        assert_eq!(canonical(b"xn--bcher-kva.example").as_deref(), Some("xn--bcher-kva.example"));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long_label = [b"a".repeat(64), b".com".to_vec()].concat();
        let long_name = b"abcdefg.".repeat(33);
        let cases: [&[u8]; 16] = [
            b"",
            b".",
            b"..",
            b"a..b",
            b".a",
            b"a.com..",
            b"*.openai.com",
            b"a b.com",
            b"a\0.com",
            b"1.2.3.4",
            b"127.1",
            b"::1",
            b"-a.com",
            "bücher.example".as_bytes(),
            &long_label,
            &long_name,
        ];
        for case in cases {
            assert_eq!(canonical(case), None, "{:?}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn a_subtree_ends_at_a_label_boundary() {
        assert!(within("openai.com", "openai.com"));
        assert!(within("api.openai.com", "openai.com"));
        assert!(!within("evilopenai.com", "openai.com"));
        assert!(!within("com", "openai.com"));
        assert!(!within("openai.com.evil.com", "openai.com"));
    }
}
