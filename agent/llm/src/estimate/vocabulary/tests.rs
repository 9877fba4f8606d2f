use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

thread_local! {
    static TOKENIZERS: std::cell::RefCell<Tokenizers> = std::cell::RefCell::default();
}

fn counted(vocabulary: Vocabulary, text: &str) -> u64 {
    TOKENIZERS.with_borrow_mut(|tokenizers| tokenizers.count(vocabulary, text))
}

fn oracle(vocabulary: Vocabulary, text: &str) -> u64 {
    let tokenizer = match vocabulary {
        Vocabulary::Cl100k => bpe_openai::cl100k_base(),
        Vocabulary::O200k => bpe_openai::o200k_base(),
    };
    tokenizer.count(text) as u64
}

/// How many tokens the cuts may cost. Where a run is cut, the few tokens on both sides may come out as others.
fn allowance(text: &str) -> u64 {
    4 * (pieces(text).count() as u64 - 1)
}

#[test]
fn published_counts_come_out() {
    // From OpenAI's own examples of its tokenizer.
    assert_eq!(counted(Vocabulary::Cl100k, "tiktoken is great!"), 6);
    assert_eq!(counted(Vocabulary::Cl100k, "antidisestablishmentarianism"), 6);
    assert_eq!(counted(Vocabulary::O200k, "antidisestablishmentarianism"), 6);
    assert_eq!(counted(Vocabulary::Cl100k, "2 + 2 = 4"), 7);
    assert_eq!(counted(Vocabulary::O200k, "お誕生日おめでとう"), 8);
    assert_eq!(counted(Vocabulary::Cl100k, "お誕生日おめでとう"), 9);
}

#[test]
fn models_have_the_vocabulary_that_openai_gave_them() {
    for model in [
        "gpt-5",
        "gpt-5.2-codex",
        "gpt-4o-mini-2024-07-18",
        "o3-mini",
        "ft:gpt-4o-mini:org::id",
        "openai/gpt-4.1",
        "gpt-oss-120b",
        "gpt-6",
    ] {
        assert_eq!(Vocabulary::of(model), Some(Vocabulary::O200k), "{model}");
    }
    for model in ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo-0125", "text-embedding-3-small", "gpt-35-turbo"] {
        assert_eq!(Vocabulary::of(model), Some(Vocabulary::Cl100k), "{model}");
    }
    for model in ["claude-opus-4-5", "gemini-2.5-pro", "mistral-large-latest", "meta-llama/llama-4", "deployment-7", ""]
    {
        assert_eq!(Vocabulary::of(model), None, "{model}");
    }
}

#[test]
fn ordinary_text_is_counted_as_by_another_tokenizer() {
    let texts = [
        include_str!("../vocabulary.rs"),
        include_str!("../../../../../ARCHITECTURE.md"),
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Съешь же ещё этих мягких французских булок.",
        "他们在公园里散步，谈论着最近读过的书。吾輩は猫である。名前はまだ無い。오늘은 날씨가 정말 좋네요. 😀👍🏽",
        "{\"a\": [1, 2.5e10, null], \"b\\n\": {\"c\": \"d\"}}\r\n\r\n\t\tif (x) {\n    y();\n}\n",
    ];
    for text in texts {
        for vocabulary in [Vocabulary::Cl100k, Vocabulary::O200k] {
            let (ours, theirs) = (counted(vocabulary, text), oracle(vocabulary, text));
            assert!(ours.abs_diff(theirs) <= allowance(text), "{ours} and {theirs}: {}", &text[..40.min(text.len())]);
        }
    }
}

#[test]
fn no_prompt_stalls_or_crashes_the_count() {
    let length = 1 << 17;
    for unit in [
        " ",
        "a",
        "\n",
        "\t \n",
        "!",
        "é",
        "字",
        "1",
        "😀",
        "\u{301}",
        "a\u{301}",
        "A",
        "aA",
        "'s",
        "\u{200d}",
        "\u{0}",
        " \u{3000}",
    ] {
        let text = unit.repeat(length / unit.len());
        for vocabulary in [Vocabulary::Cl100k, Vocabulary::O200k] {
            let start = Instant::now();
            let ours = counted(vocabulary, &text);
            // A stall is minutes, not seconds, and a crash is none.
            assert!(start.elapsed() < Duration::from_mins(2), "{unit:?} took {:?}", start.elapsed());
            let theirs = oracle(vocabulary, &text);
            assert!(ours.abs_diff(theirs) <= allowance(&text), "{unit:?}: {ours} and {theirs}");
        }
    }
}

#[test]
fn the_estimate_of_an_openai_model_is_its_tokenizers_count() {
    let text = "The quick brown fox jumps over the lazy dog.";
    let mut sampler = super::super::Sampler::default();
    sampler.push(text.as_bytes());
    let sample = sampler.finish();
    let mut tokenizers = Tokenizers::default();
    assert_eq!(tokenizers.estimate(Some("claude-sonnet-4-5"), &sample), super::super::estimate_roughly(&sample));
    assert!(!tokenizers.is_loaded(), "nothing is read in for models that have no vocabulary here");
    assert_eq!(tokenizers.estimate(Some("gpt-5"), &sample), 10);
    assert!(tokenizers.is_loaded());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_counted_as_by_another_tokenizer(
        parts in prop::collection::vec(("\\PC{1,6}|[a-zA-Z]{1,12}|[0-9]{1,9}|\\s{1,4}", 1..400_usize), 1..6),
    ) {
        let text: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
        for vocabulary in [Vocabulary::Cl100k, Vocabulary::O200k] {
            let (ours, theirs) = (counted(vocabulary, &text), oracle(vocabulary, &text));
            prop_assert!(ours.abs_diff(theirs) <= allowance(&text), "{ours} and {theirs} with {} pieces", pieces(&text).count());
        }
    }
}
