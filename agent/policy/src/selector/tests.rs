use proptest::prelude::*;

use super::*;

fn patterns(texts: &[&str]) -> Patterns {
    Patterns::parse(texts).unwrap_or_else(|error| panic!("{texts:?}: {error}"))
}

#[test]
fn a_value_matches_one_of_the_patterns_and_none_of_the_excluded() {
    for (texts, matching, others) in [
        (&["ci"][..], &["ci"][..], &["CI", "ci2", "c", ""][..]),
        (&["ci", "dev"], &["ci", "dev"], &["ops"]),
        (&["*"], &["", "a", "ä", "a/b"], &[]),
        (&["search-*"], &["search-", "search-api"], &["search", "a-search-"]),
        (&["*.service"], &[".service", "a.service"], &["service", "a.service "]),
        (&["gpt-5*mini"], &["gpt-5mini", "gpt-5-mini", "gpt-5-mini-mini"], &["gpt-5-mini-2", "gpt-5-min"]),
        (&["a*b*c"], &["abc", "a1b2c", "abbcc"], &["acb", "ab", "abcd"]),
        (&["aa*aa"], &["aaaa", "aabaa"], &["aaa", "aa"]),
        (&["*a*"], &["a", "bab", "ba"], &["", "b"]),
        (&["?"], &["a", "ä", "🦀"], &["", "ab"]),
        (&["??-*"], &["ab-", "äö-x"], &["a-", "abc-"]),
        (&["*?x?*"], &["axb", "aaxbb", "xxx"], &["xa", "ax", "x"]),
        (&["*a?c*"], &["abc", "zabcd", "aabc"], &["ac", "abbc"]),
        (&["!prod"], &["dev", ""], &["prod"]),
        (&["ml-*", "!ml-prod", "!*-secret"], &["ml-", "ml-dev"], &["ml-prod", "ml-secret", "dev"]),
        (&["research", "ml-*", "!ml-prod"], &["research", "ml-x"], &["ml-prod"]),
        (&[r"what\?"], &["what?"], &["whatx"]),
        (&[r"\*"], &["*"], &["x", ""]),
        (&[r"a\\b"], &[r"a\b"], &["ab", r"a\\b"]),
        (&[r"\!x"], &["!x"], &["x", "y"]),
        (&[r"!\!x"], &["x"], &["!x"]),
        (&["a!b"], &["a!b"], &["ab"]),
        (&["**"], &["", "x"], &[]),
        (&["a**b"], &["ab", "axb"], &["a"]),
    ] {
        let patterns = patterns(texts);
        for value in matching {
            assert!(patterns.matches(Some(value)), "{texts:?} {value:?}");
        }
        for value in others {
            assert!(!patterns.matches(Some(value)), "{texts:?} {value:?}");
        }
    }
}

#[test]
fn what_is_absent_is_matched_by_exclusions_alone() {
    assert!(!patterns(&["*"]).matches(None));
    assert!(!patterns(&["x"]).matches(None));
    assert!(!patterns(&["x", "!y"]).matches(None));
    assert!(patterns(&["!x"]).matches(None));
    assert!(patterns(&["!*"]).matches(None) && !patterns(&["!*"]).matches(Some("x")));
}

#[test]
fn many_patterns_match_like_few() {
    let many: Vec<String> =
        (0..9_000).map(|at| format!("exact-{at}")).chain((0..900).map(|at| format!("team-{at}-*"))).collect();
    let patterns = Patterns::parse(&many).unwrap();
    for value in ["exact-0", "exact-8999", "team-7-x", "team-899-"] {
        assert!(patterns.matches(Some(value)), "{value}");
    }
    for value in ["exact-9000", "exact", "team-900-x", "team-7"] {
        assert!(!patterns.matches(Some(value)), "{value}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_what_to_write() {
    let long = "x".repeat(513);
    let masked = format!("*{}*", "a?".repeat(33));
    let many = vec!["x"; 10_001];
    let globs: Vec<String> = (0..101).map(|at| format!("a*{at}*b")).collect();
    let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
    for (texts, why) in [
        (&[][..], "leave the field out"),
        (&[""], "!* for what is absent"),
        (&["!"], "after the !"),
        (&["!!x"], r"write \!"),
        (&[" x"], "blank"),
        (&["! x"], "blank"),
        (&["a\nb"], "control character"),
        (&[r"a\b"], r"write \\"),
        (&["a\\"], r"write \\"),
        (&[&*long], "too long"),
        (&[&*masked], "split it"),
        (&*many, "too many"),
        (&*globs, "too many"),
    ] {
        let error = Patterns::parse(texts).unwrap_err();
        assert!(error.0.contains(why), "{texts:.40?}: {error}");
    }
}

#[test]
fn hosts_providers_and_models_ignore_case_and_nothing_else_does() {
    let own = patterns(&["API.openai.*", r"!*\*"]);
    assert!(own.matches_ignoring_case(Some("api.OpenAI.com")) && !own.matches(Some("api.openai.com")));
    assert!(Field::ALL.into_iter().filter(|field| field.ignores_case()).eq([
        Field::Provider,
        Field::Host,
        Field::Model
    ]));
}

#[test]
fn patterns_are_told_as_they_were_written() {
    assert_eq!(patterns(&["A*", "!b", r"\*"]).in_lower_case().to_string(), r"A*, !b, \*");
}

/// What a pattern means, said in the plainest way: slow, and another way than the one that is tested.
fn means(pattern: &[char], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['*', rest @ ..] => (0..=value.len()).any(|skipped| means(rest, &value[skipped..])),
        ['?', rest @ ..] => !value.is_empty() && means(rest, &value[1..]),
        ['\\', own, rest @ ..] | [own, rest @ ..] => value.first() == Some(own) && means(rest, &value[1..]),
    }
}

proptest! {
    #[test]
    fn a_glob_matches_what_it_means(
        pattern in r"([ab*?é]|\\[*?\\]){1,9}",
        values in prop::collection::vec(r"[abé*?\\]{0,10}", 1..20),
    ) {
        let own = patterns(&[&pattern]);
        let characters: Vec<char> = pattern.chars().collect();
        for value in values {
            let expected = means(&characters, &value.chars().collect::<Vec<_>>());
            prop_assert_eq!(own.matches(Some(&value)), expected, "{} {}", pattern, value);
            let excluding = patterns(&[&format!("!{pattern}")]);
            prop_assert_eq!(excluding.matches(Some(&value)), !expected, "!{} {}", pattern, value);
        }
    }

    #[test]
    fn whatever_matches_fits_a_key(pattern in r"([abcé*?]|\\[*?\\]){1,9}", value in r"[abcé*?\\]{0,10}") {
        let own = patterns(&[&pattern]);
        if own.matches(Some(&value)) && let Some(keys) = own.keys() {
            let fits = keys.iter().any(|key| match key {
                Key::Exact(text) => **text == *value,
                Key::Prefix(text) => value.as_bytes().starts_with(text),
                Key::Suffix(text) => value.as_bytes().ends_with(text),
            });
            prop_assert!(fits, "{} {} {:?}", pattern, value, keys);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_is_refused(texts in prop::collection::vec(".{0,20}", 0..4), value in ".{0,20}") {
        if let Ok(patterns) = Patterns::parse(&texts) {
            let _ = (patterns.matches(Some(&value)), patterns.matches_ignoring_case(Some(&value)), patterns.keys());
        }
    }
}
