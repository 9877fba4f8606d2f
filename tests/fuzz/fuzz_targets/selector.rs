//! A list of patterns of any content is read or refused, and matches what it means, as a second, plain reading has it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_policy::Patterns;

fuzz_target!(|text: &str| {
    // The last line is the value.
    let mut lines: Vec<&str> = text.split('\n').collect();
    let value = lines.pop().unwrap_or_default();
    match Patterns::parse(&lines) {
        Ok(patterns) => {
            let (excluded, included): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with('!'));
            let is_included = included.is_empty() || included.iter().any(|pattern| means(pattern, value));
            let is_excluded = excluded.iter().any(|pattern| means(&pattern[1..], value));
            assert_eq!(patterns.matches(Some(value)), is_included && !is_excluded, "{lines:?} {value:?}");
            assert_eq!(patterns.matches(None), included.is_empty());
            let lower = value.to_ascii_lowercase();
            assert_eq!(patterns.matches_ignoring_case(Some(value)), patterns.matches_ignoring_case(Some(&lower)));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
});

/// What a pattern means: by a table of which of its beginnings match which beginnings of the value.
fn means(pattern: &str, value: &str) -> bool {
    let value: Vec<char> = value.chars().collect();
    let mut row: Vec<bool> = (0..=value.len()).map(|length| length == 0).collect();
    let mut pattern = pattern.chars();
    while let Some(piece) = pattern.next() {
        let mut next = vec![false; row.len()];
        let own = if piece == '\\' { pattern.next() } else { Some(piece).filter(|own| !['*', '?'].contains(own)) };
        if piece == '*' {
            next[0] = row[0];
        }
        for at in 0..value.len() {
            next[at + 1] = match own {
                Some(own) => row[at] && value[at] == own,
                None if piece == '*' => next[at] || row[at + 1],
                None => row[at],
            };
        }
        row = next;
    }
    row[value.len()]
}
