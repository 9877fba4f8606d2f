use super::*;

const GOOD: &str = r#"
source: our contract with OpenAI
date: 2026-11-01
providers:
  - provider: openai
    rates: { server_tool: "0.0025" }
prices:
  - provider: openai
    model: gpt-5
    names: [gpt-5, "gpt-5-20##-##-##"]
    rates: { input: 1.10, output: "8.5", cache_read: 1.1e-1 }
    tiers:
      - context_over: 272000
        rates: { input: 2.2 }
    variants:
      - tier: batch
        rates: { input: 0.55 }
  - { provider: vllm, model: "*", rates: { input: 0.1, output: 0.2 }, pointers: [{ pointer: /usage/special, each: 0.01 }] }
"#;

fn problems(text: &str) -> String {
    parse_prices("prices.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_price_file_is_read_digit_by_digit() {
    let file = parse_prices("prices.yaml", GOOD).unwrap();
    let rates: Vec<_> = file.prices[0].rates.iter().map(|(kind, rate)| (kind.as_str(), rate.to_string())).collect();
    assert_eq!(rates, [("input", "1.1".into()), ("output", "8.5".into()), ("cache_read", "0.11".into())]);
    assert_eq!(file.prices[0].tiers[0].context_over, 272_000);
    assert_eq!(file.date.to_string(), "2026-11-01");
    assert_eq!(parse_prices("again", &file.to_json()).unwrap(), file, "what is written as JSON is YAML");
}

#[test]
fn the_example_in_the_documentation_is_valid() {
    let page = include_str!("../../../../docs/prices.md");
    let example = page.split("```yaml\n").find(|block| block.starts_with("# contract.yaml")).expect("it is there");
    let example = example.split("```").next().unwrap_or_default();
    assert_eq!(parse_prices("docs/prices.md", example).unwrap().prices.len(), 4);
}

#[test]
fn what_is_wrong_is_told_by_line_field_and_remedy() {
    let key = GOOD.replace("cache_read", "cache_raed").replace("each: 0.01", "each: -1");
    assert_eq!(
        problems(&key),
        "prices.yaml:11:42: prices[0].rates.cache_raed: this key is not known; did you mean `cache_read`?\n\
         prices.yaml:18:115: prices[1].pointers[0].each: `-1` is not an amount: it is below zero; write an amount, such as `1.25`"
    );
    let tier = GOOD.replace("batch", "bach");
    assert_eq!(
        problems(&tier),
        "prices.yaml:16:15: prices[0].variants[0].tier: `bach` is not possible here; did you mean `batch`?"
    );
    let misplaced = GOOD.replace("/usage/special", "usage.special").replace("date: 2026-11-01", "date: yesterday");
    assert_eq!(
        problems(&misplaced),
        "prices.yaml:3:7: date: `yesterday` is not a day: it is no day of the calendar; write a day, such as `2026-10-30`"
    );
    let pointer = GOOD.replace("/usage/special", "usage.special");
    assert_eq!(
        problems(&pointer),
        "prices.yaml:18:81: prices[1].pointers: `usage.special` does not begin with `/`; write it as in `/usage/special_units`"
    );
    let missing = problems("prices: []");
    assert!(missing.contains("`source` is missing"), "{missing}");
    let empty = problems("source: x\ndate: 2026-11-01\nprices:\n  - provider: a\n    model: b\n");
    assert_eq!(
        empty,
        "prices.yaml:5:12: prices[0].model: it has no rates; add `rates`, or `multiply` to change what other files say"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load_prices(Path::new("/nowhere/prices.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the prices /nowhere/prices.yaml: "), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_taken(text in "[-{}\\[\\],:#'\"\n a-z0-9._/*]{0,200}", part in "[a-z_]{1,12}", value in "[-0-9a-z.{}]{0,10}") {
        drop(parse_prices("x", &text));
        drop(parse_prices("x", &format!("source: x\ndate: 2026-11-01\nprices:\n- provider: p\n  model: m\n  {part}: {value}\n")));
        drop(parse_prices("x", &format!("source: x\ndate: 2026-11-01\nprices:\n- {{provider: p, model: m, rates: {{input: {value}}}}}\n")));
    }
}
