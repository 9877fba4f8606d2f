use http::StatusCode;
use rust_decimal::Decimal;
use tollgate_llm::{Operation, Usage, UsageSource};

use super::*;
use crate::outcome::Outcome;
use crate::record::tests::chat;
use crate::totals::dollars;

fn anthropic(model: &str) -> Record {
    Record { provider: "anthropic".into(), request_model: Some(model.into()), ..chat() }
}

fn summary(records: &[Record]) -> Summary {
    let summary = Summary::new();
    for record in records {
        summary.add(record);
    }
    summary
}

#[test]
fn nothing_seen_says_so() {
    assert_eq!(Summary::new().to_string(), "no calls to LLM providers were seen");
}

#[test]
fn the_table_has_a_row_a_model_and_totals_with_aligned_numbers() {
    let large = Usage { input: 1_234_567, output: 8_910, cache_read: 1_000_000, ..Usage::default() };
    let seen = summary(&[
        chat(),
        chat(),
        Record { usage: Some(large), cost: Some(Decimal::new(12_345_678_901, 7)), ..anthropic("claude-opus-4-5") },
    ]);
    let table = "
 Provider   Model            Calls  Errors      Input  Output     Cached  Reasoning         Cost
 anthropic  claude-opus-4-5      1       0  1,234,567   8,910  1,000,000          0  $1,234.5679
 openai     gpt-5                2       0      2,400     680      2,000        128    $0.007550
 Total                           3       0  1,236,967   9,590  1,002,000        128  $1,234.5754";
    assert_eq!(format!("\n{seen}"), table);
}

#[test]
fn totals_add_up_over_models() {
    let seen = summary(&[
        chat(),
        anthropic("claude-opus-4-5"),
        Record { status: Some(StatusCode::TOO_MANY_REQUESTS), usage: None, cost: None, ..chat() },
    ]);
    let total = seen.total();
    assert_eq!((total.calls, total.errors, total.input, total.output), (3, 1, 2_400, 680));
    assert_eq!((total.cached, total.reasoning, total.cost), (2_000, 128, Decimal::new(7_550, 6)));
    assert_eq!(seen.rows().len(), 2);
}

#[test]
fn an_unknown_price_makes_the_cost_a_lower_bound_and_is_never_nothing() {
    let unpriced = Record { cost: None, ..anthropic("secret-model") };
    let text = summary(&[chat(), unpriced.clone(), unpriced]).to_string();
    let row = text.lines().find(|line| line.contains("secret-model")).unwrap();
    assert!(row.trim_end().ends_with("unknown"), "{text}");
    let total = text.lines().find(|line| line.contains("Total")).unwrap();
    assert!(total.trim_end().ends_with("≥ $0.003775"), "{text}");
    assert!(text.ends_with("≥ 2 calls at a price that is not known"), "{text}");
}

#[test]
fn answers_without_a_count_and_answers_cut_short_are_named() {
    let uncounted = Record { usage: None, usage_source: UsageSource::None, cost: None, ..chat() };
    let cut = Record { usage_source: UsageSource::Partial, outcome: Outcome::ClientGone, ..chat() };
    let text = summary(&[uncounted, cut]).to_string();
    assert!(text.contains("≥ 1 call answered without a token count\n"), "{text}");
    assert!(text.ends_with("1 call cut short, and counted up to there"), "{text}");
}

#[test]
fn estimates_are_marked_in_their_row_and_explained_below() {
    let estimated = Record { usage_source: UsageSource::Estimated, ..anthropic("claude-opus-4-5") };
    let text = summary(&[chat(), estimated.clone()]).to_string();
    let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().trim_end().to_owned();
    assert!(row("claude").ends_with(" ~$0.003775") && row("gpt-5").ends_with(" $0.003775"), "{text}");
    assert!(row("Total").ends_with(" ~$0.007550"), "{text}");
    assert!(text.contains("\n~ 1 call with tokens estimated here"), "{text}");
    let unpriced = Record { cost: None, ..estimated };
    let text = summary(&[chat(), unpriced]).to_string();
    assert!(text.contains("≥ ~$0.003775") && text.contains("unknown"), "{text}");
}

#[test]
fn calls_that_cost_nothing_are_no_lower_bound() {
    let listing = Record { operation: Operation::Other, usage: None, cost: None, ..chat() };
    let denied = Record { status: Some(StatusCode::UNAUTHORIZED), usage: None, cost: None, ..chat() };
    let seen = summary(&[listing, denied]);
    assert_eq!(seen.total().cost_text(), "$0.000000");
    assert!(!seen.to_string().contains('≥'));
}

#[test]
fn memory_stays_bounded_whatever_models_are_named() {
    let seen = Summary::new();
    for number in 0..10_000 {
        seen.add(&anthropic(&format!("model-{number}")));
    }
    assert!(seen.rows().len() <= ROWS + 1);
    assert_eq!(seen.total().calls, 10_000);
}

#[test]
fn sums_stop_at_the_largest_number() {
    let huge =
        Usage { input: u64::MAX, output: u64::MAX, cache_read: u64::MAX, reasoning: u64::MAX, ..Usage::default() };
    let record = Record { usage: Some(huge), cost: Some(Decimal::MAX), ..chat() };
    let total = summary(&[record.clone(), record]).total();
    assert_eq!((total.input, total.cost), (u64::MAX, Decimal::MAX));
}

#[test]
fn a_hostile_model_name_cannot_break_the_table() {
    let text = summary(&[anthropic(&format!("\u{1b}[2J\n{}", "x".repeat(10_000)))]).to_string();
    assert!(!text.contains('\u{1b}'));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
}

#[test]
fn dollars_are_readable_at_every_size() {
    for (amount, text) in [
        ("0", "$0.000000"),
        ("0.0000001", "< $0.000001"),
        ("0.000012", "$0.000012"),
        ("0.0123", "$0.0123"),
        ("12.34567", "$12.3457"),
        ("1234567.8", "$1,234,567.8000"),
    ] {
        assert_eq!(dollars(amount.parse().unwrap()), text);
    }
}
