//! Names of models as price lists and callers write them.

use std::borrow::Cow;

/// A pattern for a model's name, in lower case: `*` stands for any text, `#` for a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Box<str>);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_lowercase().into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for one name only.
    pub(super) fn is_name(&self) -> bool {
        !self.0.bytes().any(|byte| matches!(byte, b'*' | b'#'))
    }

    /// How much of a name it says: the more, the more specific.
    pub(super) fn weight(&self) -> usize {
        self.0.bytes().filter(|&byte| byte != b'*').count()
    }

    /// Whether `name`, in lower case, is one that it stands for.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        // Where to go on when what follows the latest `*` does not fit: the `*` takes one more.
        let mut retry = None;
        loop {
            match (pattern.get(at), name.get(read)) {
                (None, None) => return true,
                (Some(b'*'), _) => {
                    retry = Some((at, read));
                    at += 1;
                }
                (Some(b'#'), Some(byte)) if byte.is_ascii_digit() => (at, read) = (at + 1, read + 1),
                (Some(one), Some(byte)) if one == byte && *one != b'#' => (at, read) = (at + 1, read + 1),
                _ => match &mut retry {
                    Some((star, from)) if *from < name.len() => {
                        *from += 1;
                        (at, read) = (*star + 1, *from);
                    }
                    _ => return false,
                },
            }
        }
    }
}

/// Other ways to write a name that mean the same model, each tried when the one before is not on a list.
pub(super) fn aliases(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |text: Cow<'_, str>| {
        if text != name && !text.is_empty() && !found.iter().any(|known| *known == text) {
            found.push(text.into_owned());
        }
    };
    // `models/…`, `publishers/google/models/…`, `arn:aws:bedrock:…:inference-profile/…`; not `openai/…`, which is a list's own.
    let bare = ["models/", "inference-profile/", "foundation-model/"]
        .iter()
        .find_map(|mark| name.rfind(mark).map(|at| &name[at + mark.len()..]))
        .unwrap_or(name);
    add(bare.into());
    // Vertex's versions: `claude-sonnet-4-5@20250929`.
    let at = bare.trim_end_matches("@default").trim_end_matches("@latest");
    add(at.into());
    let dashed = at.replace('@', "-");
    add(dashed.as_str().into());
    let (stem, date) = dated(&dashed);
    if let Some(date) = date {
        let digits = date.replace('-', "");
        add(format!("{stem}-{digits}").into());
        add(format!("{stem}-{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]).into());
        // A snapshot costs what its model costs, unless a list knows better, which was asked first.
        add(stem.into());
    }
    if let Some(stem) = dashed.strip_suffix("-latest") {
        add(stem.into());
    }
    found
}

/// A name without the date at its end, and that date: `-20251101` or `-2025-11-01`.
fn dated(name: &str) -> (&str, Option<&str>) {
    for shape in ["-20##-##-##", "-20######"] {
        let Some(at) = name.len().checked_sub(shape.len()) else { continue };
        if name.is_char_boundary(at) && Pattern::new(shape).matches(&name[at..]) {
            return (&name[..at], Some(&name[at + 1..]));
        }
    }
    (name, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_hash_one_digit() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
        assert!(matches("gpt-5", "gpt-5") && !matches("gpt-5", "gpt-5-mini") && !matches("gpt-5", "gpt-"));
        assert!(matches("*claude-3*haiku*", "us.anthropic.claude-3-5-haiku-v1:0"));
        assert!(!matches("*claude-3*haiku", "us.anthropic.claude-3-5-haiku-v1:0"));
        assert!(matches("GPT-6-####-##-##", "gpt-6-2026-10-01") && !matches("gpt-6-####-##-##", "gpt-6-2026-10-x1"));
        assert!(matches("*", "") && matches("**a", "a") && !matches("#", "#") && !matches("", "a"));
    }

    #[test]
    fn names_are_known_by_their_other_spellings() {
        assert_eq!(aliases("gpt-5"), Vec::<String>::new());
        assert_eq!(aliases("models/gemini-2.5-pro"), ["gemini-2.5-pro"]);
        assert_eq!(aliases("publishers/google/models/gemini-2.5-pro"), ["gemini-2.5-pro"]);
        assert_eq!(
            aliases("claude-sonnet-4-5@20250929"),
            ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5-2025-09-29", "claude-sonnet-4-5"]
        );
        assert_eq!(aliases("claude-opus-4@default"), ["claude-opus-4"]);
        assert_eq!(aliases("gpt-9-2027-01-02"), ["gpt-9-20270102", "gpt-9"]);
        assert_eq!(aliases("mistral-large-latest"), ["mistral-large"]);
        let profile = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-5-v1:0";
        assert_eq!(aliases(profile)[0], "us.anthropic.claude-opus-4-5-v1:0");
        assert_eq!(aliases("ft:gpt-4o-mini-2024-07-18:acme::abc"), Vec::<String>::new(), "tuned models cost more");
    }

    proptest! {
        #[test]
        fn any_name_is_taken(pattern in "[a#*é-]{0,12}", name in "\\PC{0,40}", dated in "[a-z@/é-]{0,8}-?20[0-9]{2}-?[0-9]{2}-?[0-9]{2}") {
            Pattern::new(&pattern).matches(&name);
            for name in [name, dated] {
                prop_assert!(aliases(&name).iter().all(|alias| *alias != name));
            }
        }

        #[test]
        fn a_pattern_made_of_a_name_matches_it(name in "[a-z0-9.:-]{1,20}", from in 0usize..20, to in 0usize..20) {
            let (from, to) = (from.min(name.len()), to.min(name.len()));
            let (from, to) = (from.min(to), from.max(to));
            let wild = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(Pattern::new(&wild).matches(&name));
            let digits: String = name.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
            prop_assert!(Pattern::new(&digits).matches(&name));
        }
    }
}
