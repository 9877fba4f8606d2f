use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::price::file::File;
use crate::{Asked, RequestFacts};

const PRICES: &str = r#"{"source": "test", "date": "2026-11-23", "prices": [
    {"provider": "p", "model": "plain", "rates": {"input": "2", "output": "8"}},
    {"provider": "p", "model": "long", "rates": {"input": "1", "output": "4", "cache_read": "0.1", "reasoning": "6"},
     "tiers": [{"context_over": 1000, "rates": {"input": "3", "output": "9"}}]},
    {"provider": "p", "model": "claude-x", "rates": {"input": "4", "output": "20", "cache_write": "5", "cache_write_1h": "8"}},
    {"provider": "p", "model": "fast", "rates": {"input": "2", "output": "8"},
     "variants": [{"tier": "priority", "rates": {"input": "4", "output": "16"}}, {"tier": "flex", "rates": {"input": "1", "output": "4"}}]},
    {"provider": "p", "model": "picture", "rates": {"image": "0.04"}},
    {"provider": "p", "model": "dear", "multiply": "2"},
    {"provider": "p", "model": "dear", "rates": {"input": "2", "output": "8"}}
]}"#;

fn prices() -> Prices {
    let file = File::from_json(PRICES).unwrap();
    Prices::with(&[("test".to_owned(), file)]).unwrap()
}

fn worst(model: &str, input: u64, output: u64, change: impl FnOnce(&mut RequestFacts)) -> Result<String, Unpriced> {
    let mut facts = RequestFacts { model: Some(model.into()), ..RequestFacts::default() };
    change(&mut facts);
    let at = SystemTime::UNIX_EPOCH + Duration::from_hours(498_000);
    let case = WorstCase { provider: "p", region: None, facts: &facts, input, output, at };
    prices().worst(&case).map(|cost| cost.to_string())
}

const M: u64 = 1_000_000;

#[test]
fn all_is_charged_at_the_highest_rate_that_may_apply() {
    let as_it_is = |_: &mut RequestFacts| {};
    assert_eq!(worst("plain", M, M, as_it_is).as_deref(), Ok("10"));
    assert_eq!(worst("plain", 0, 0, as_it_is).as_deref(), Ok("0"));
    assert_eq!(worst("long", 1_000, M, as_it_is).as_deref(), Ok("6.001"), "reasoning is dearer");
    assert_eq!(worst("long", M, M, as_it_is).as_deref(), Ok("12"), "long prompts are");
}

#[test]
fn the_cache_of_claude_is_counted_where_it_is_asked_for() {
    assert_eq!(worst("claude-x", M, 0, |_| {}).as_deref(), Ok("4"));
    assert_eq!(worst("claude-x", M, 0, |facts| facts.caching = Some(Caching::Minutes)).as_deref(), Ok("5"));
    assert_eq!(worst("claude-x", M, 0, |facts| facts.caching = Some(Caching::Hour)).as_deref(), Ok("8"));
}

#[test]
fn dearer_tiers_are_counted_where_they_are_asked_for_and_cheaper_ones_are_not_counted_on() {
    assert_eq!(worst("fast", M, M, |_| {}).as_deref(), Ok("10"));
    assert_eq!(worst("fast", M, M, |facts| facts.tier = ServiceTier::Priority).as_deref(), Ok("20"));
    assert_eq!(worst("fast", M, M, |facts| facts.tier = ServiceTier::Flex).as_deref(), Ok("10"));
    let unknown = worst("plain", M, M, |facts| facts.tier = ServiceTier::Priority);
    assert_eq!(unknown, Err(Unpriced::NoTier(ServiceTier::Priority)));
}

#[test]
fn what_is_sold_by_the_piece_and_what_is_not_sold_at_all() {
    assert_eq!(worst("picture", 50, 6_240, |facts| facts.choices = Some(3)).as_deref(), Ok("0.12"));
    assert_eq!(worst("stranger", 1, 1, |_| {}), Err(Unpriced::UnknownModel));
    assert_eq!(worst("plain", u64::MAX, u64::MAX, |_| {}).map(|_| ()), Ok(()), "no overflow");
}

proptest! {
    /// Whatever comes of a call within its bounds costs no more than was set aside, with the bundled prices.
    #[test]
    fn no_answer_costs_more_than_the_worst(
        which in 0_usize..8,
        input in 0_u64..400_000,
        output in 0_u64..130_000,
        parts in prop::array::uniform4(0_u64..100),
    ) {
        const MODELS: [(&str, &str); 8] = [
            ("openai", "gpt-5"), ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("gcp.gemini", "gemini-2.5-pro"),
            ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"), ("deepseek", "deepseek-chat"), ("x_ai", "grok-4"), ("openai", "o3"),
        ];
        let (provider, model) = MODELS[which];
        let [used, cached, written, reasoned] = parts;
        let (read, wrote) = (input * used / 100, output * used / 100);
        let cache_read = read * cached / 100;
        let cache_write = if provider == "anthropic" { (read - cache_read) * written / 100 } else { 0 };
        let usage = Usage { input: read, output: wrote, cache_read, cache_write, reasoning: wrote * reasoned / 100, ..Usage::default() };
        let at = SystemTime::UNIX_EPOCH + Duration::from_hours(498_000);
        let asked = Asked { provider, region: None, response_model: Some(model), request_model: Some(model), usage: &usage, pointed: None, told: None, at };
        let facts = RequestFacts { model: Some(model.into()), caching: Some(Caching::Minutes), ..RequestFacts::default() };
        let prices = Prices::bundled();
        if let Ok(price) = prices.price(&asked) {
            let worst = prices.worst(&WorstCase { provider, region: None, facts: &facts, input, output, at }).unwrap();
            prop_assert!(price.cost <= worst, "{model}: {} > {worst}", price.cost);
        }
    }
}
