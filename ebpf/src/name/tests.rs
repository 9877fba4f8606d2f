use alloc::{format, string::String, vec::Vec};
use core::str::FromStr as _;

use proptest::prelude::*;

use super::*;
use crate::{
    dns::Key,
    rule::{HEAD, KEY, Name, lower},
};

fn pattern(text: &str) -> Pattern {
    Pattern::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn exact_matches_that_name_only() {
    let exact = pattern("API.OpenAI.com.");
    assert!(exact.matches("api.openai.com") && exact.matches("Api.OPENAI.com."));
    for other in
        ["eu.api.openai.com", "notapi.openai.com", "api.openai.com.evil.net", "openai.com", "", "api.openai.com.."]
    {
        assert!(!exact.matches(other), "{other}");
    }
}

#[test]
fn suffix_needs_a_label_and_a_boundary() {
    let suffix = pattern("*.openai.azure.com");
    assert!(suffix.matches("corp.openai.azure.com") && suffix.matches("A.B.openai.azure.com."));
    for other in [
        "openai.azure.com",
        "evilopenai.azure.com",
        ".openai.azure.com",
        "a..openai.azure.com",
        "openai.azure.com.evil.net",
    ] {
        assert!(!suffix.matches(other), "{other}");
    }
}

#[test]
fn label_ending_matches_one_label() {
    let ending = pattern("*-aiplatform.googleapis.com");
    assert!(ending.matches("us-central1-aiplatform.googleapis.com"));
    for other in [
        "-aiplatform.googleapis.com",
        "aiplatform.googleapis.com",
        "a.b-aiplatform.googleapis.com",
        "x-aiplatform.googleapis.com.evil.net",
    ] {
        assert!(!ending.matches(other), "{other}");
    }
}

#[test]
fn middle_matches_exactly_one_label() {
    let middle = pattern("bedrock-runtime.*.amazonaws.com");
    assert!(middle.matches("bedrock-runtime.us-east-1.amazonaws.com"));
    for other in [
        "s3.us-east-1.amazonaws.com",
        "bedrock-runtime.amazonaws.com",
        "bedrock-runtime..amazonaws.com",
        "bedrock-runtime.a.b.amazonaws.com",
        "x.bedrock-runtime.a.amazonaws.com",
    ] {
        assert!(!middle.matches(other), "{other}");
    }
}

#[test]
fn suffix_is_a_name_constraint() {
    for (text, suffix) in [
        ("api.openai.com", "api.openai.com"),
        ("*.openai.azure.com", "openai.azure.com"),
        ("*-aiplatform.googleapis.com", "googleapis.com"),
        ("bedrock-runtime.*.amazonaws.com", "amazonaws.com"),
    ] {
        assert_eq!(pattern(text).suffix(), suffix);
    }
}

#[test]
fn refusals_say_why() {
    for (text, error) in [
        ("", ParseError::Empty),
        (".", ParseError::Empty),
        ("a..b", ParseError::Label(String::new())),
        ("bücher.example", ParseError::Character('ü')),
        ("https://api.openai.com", ParseError::Character(':')),
        ("*.*.com", ParseError::Stars),
        ("*", ParseError::Star),
        ("a*", ParseError::Star),
        ("api-*.example.com", ParseError::Star),
        ("api.example.*", ParseError::Star),
        ("a.*-b.example.com", ParseError::Star),
        ("*-api", ParseError::Star),
        ("203.0.113.7", ParseError::Address),
    ] {
        let found = Pattern::from_str(text).err();
        // `a.*-b.example.com` would need a label that is open at its start behind a fixed one.
        assert_eq!(found, Some(error), "{text}");
    }
    assert!(matches!(Pattern::from_str(&format!("{}.com", "a".repeat(64))), Err(ParseError::Label(_))));
    assert_eq!(Pattern::from_str(&"a.".repeat(128)), Err(ParseError::TooLong));
    assert_eq!(Pattern::from_str(&format!("{}.*.example.com", "a".repeat(63))), Err(ParseError::Head));
}

#[test]
fn more_alike_patterns_than_a_rule_holds_are_refused() {
    let many: Vec<Pattern> = (0..17).map(|n| pattern(&format!("service-{n}.*.example.com"))).collect();
    assert!(compile(&many[..16]).is_ok());
    let refused = compile(&many).expect_err("17 alternatives");
    assert_eq!(refused.suffix, "example.com");
}

/// What the kernel does with the compiled entries: the longest prefix, then its rule.
fn kernel_matches(entries: &[Compiled], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let mut wire = Vec::new();
    for label in host.trim_end_matches('.').split('.') {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    let mut reversed: Vec<u8> = wire.iter().rev().copied().collect();
    reversed.push(0);
    let labels = host.trim_end_matches('.').split('.').count() as u32;
    let mut name = Name { head: [0; HEAD / 8], labels, length: wire.len() as u32 };
    let length = wire.len();
    wire.resize(length.max(HEAD), 0xee);
    for (index, word) in name.head.iter_mut().enumerate() {
        *word = lower(u64::from_le_bytes(*wire[index * 8..].first_chunk().expect("sixty-four bytes")));
    }
    let mut key = Key { bits: reversed.len() as u32 * 8, bytes: [0; KEY] };
    key.bytes[..reversed.len()].copy_from_slice(&reversed);
    accepts(entries, &key, &name)
}

/// Few labels, so that names and patterns often meet.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("ab"), Just("a-b"), Just("x-a"), Just("-a"), Just("com")]
        .prop_map(String::from)
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 1..6).prop_map(|labels| labels.join("."))
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    let form = (prop::option::of(host()), host(), 0..4);
    form.prop_filter_map("a pattern", |(head, tail, kind)| {
        let text = match (kind, head) {
            (0, _) => tail,
            (1, _) => format!("*.{tail}"),
            (2, _) => format!("*-{tail}"),
            (_, Some(head)) => format!("{head}.*.{tail}"),
            (_, None) => format!("*{tail}"),
        };
        Pattern::from_str(&text).ok()
    })
}

proptest! {
    #[test]
    fn compiled_entries_match_what_the_patterns_match(
        patterns in prop::collection::vec(any_pattern(), 1..8), hosts in prop::collection::vec(host(), 1..40),
    ) {
        let entries = compile(&patterns).expect("fewer than a rule holds");
        for host in hosts {
            let expected = patterns.iter().any(|pattern| pattern.matches(&host));
            prop_assert_eq!(kernel_matches(&entries, &host), expected, "{}", host);
        }
    }

    #[test]
    fn what_is_written_is_read_back(pattern in any_pattern()) {
        let again = Pattern::from_str(&format!("{pattern}"));
        prop_assert_eq!(again, Ok(pattern));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", host in "\\PC{0,80}") {
        if let Ok(pattern) = Pattern::from_str(&text) {
            let _matched: bool = pattern.matches(&host);
            prop_assert!(!pattern.suffix().is_empty());
        }
    }
}
