use super::*;

fn entry(provider: &str, model: &str, rates: &[(Kind, &str)]) -> Entry {
    let mut entry = Entry { provider: provider.into(), model: model.into(), ..Entry::default() };
    for (kind, rate) in rates {
        entry.rates.set(*kind, rate.parse().unwrap());
    }
    entry
}

fn file(source: &str, prices: Vec<Entry>) -> File {
    File { source: source.into(), date: "2026-11-01".parse().unwrap(), providers: Vec::new(), prices }
}

fn with(files: &[File]) -> Prices {
    let named: Vec<_> = (0..).zip(files).map(|(number, file)| (format!("{number}.yaml"), file.clone())).collect();
    Prices::with(&named).unwrap()
}

fn said(prices: &Prices, provider: &str, model: &str, usage: &Usage) -> (String, String) {
    let price = prices.price(&asked(provider, model, usage)).unwrap();
    (price.cost.to_string(), price.from.to_string())
}

const MILLION: Usage = Usage {
    input: 1_000_000,
    output: 1_000_000,
    cache_read: 0,
    cache_write: 0,
    cache_write_1h: 0,
    reasoning: 0,
    input_audio: 0,
    cache_read_audio: 0,
    output_audio: 0,
    output_image: 0,
    input_image: 0,
    cache_read_image: 0,
    input_tool: 0,
    web_searches: 0,
    server_tools: 0,
    images: 0,
    audio_ms: 0,
    characters: 0,
    search_units: 0,
    tier: ServiceTier::Standard,
};

#[test]
fn the_last_file_that_has_the_model_decides_and_the_most_specific_name_in_it() {
    let both = |input, output| [(Kind::Input, input), (Kind::Output, output)];
    let first =
        file("first", vec![entry("openai", "gpt-5", &both("1", "1")), entry("openai", "gpt-5-mini", &both("2", "2"))]);
    let second = file(
        "second",
        vec![
            entry("openai", "gpt-5", &both("3", "3")),
            entry("openai", "gpt-*", &both("4", "4")),
            entry("openai", "gpt-4*", &both("5", "5")),
            entry("vllm", "*", &both("0.1", "0.2")),
        ],
    );
    let prices = with(&[first.clone(), second.clone()]);
    let cost = |prices: &Prices, model: &str| said(prices, "openai", model, &MILLION).0;
    assert_eq!(cost(&prices, "gpt-5"), "6");
    assert_eq!(cost(&prices, "gpt-5-mini"), "8");
    assert_eq!(cost(&prices, "gpt-4o"), "10");
    assert_eq!(said(&prices, "vllm", "any", &MILLION), ("0.3".into(), "second, 2026-11-01".into()));
    let other_way = with(&[second, first]);
    assert_eq!(cost(&other_way, "gpt-5"), "2");
    assert_eq!(cost(&other_way, "gpt-5-mini"), "4");
    assert_eq!(cost(&other_way, "gpt-4o"), "10");
}

#[test]
fn a_factor_changes_what_the_files_below_say() {
    let discount = Entry { multiply: Some("0.9".parse().unwrap()), ..entry("openai", "*", &[]) };
    let surcharge =
        Entry { multiply: Some("2".parse().unwrap()), regions: vec!["eu*".into()], ..entry("openai", "gpt-5*", &[]) };
    let prices = with(&[file("contract", vec![discount]), file("region", vec![surcharge])]);
    assert_eq!(said(&prices, "openai", "gpt-5", &MILLION).0, "10.125");
    let (_, from) = said(&prices, "openai", "gpt-5", &MILLION);
    assert!(from.starts_with("genai-prices") && from.ends_with(" × contract, 2026-11-01"), "{from}");
    let there = Asked { region: Some("eu-west"), ..asked("openai", "gpt-5", &MILLION) };
    assert_eq!(prices.price(&there).unwrap().cost.to_string(), "20.25");
    // What a provider tells is changed as well: a discount is not in it, or it would not be in the file.
    let told = Asked { told: Some(Decimal::ONE), ..asked("openai", "gpt-5", &MILLION) };
    assert_eq!(prices.price(&told).unwrap().cost.to_string(), "0.9");
}

#[test]
fn a_file_counts_before_what_the_provider_tells() {
    let prices = with(&[file("own", vec![entry("openrouter", "a/b", &[(Kind::Input, "1"), (Kind::Output, "1")])])]);
    let told = Asked { told: Some(Decimal::ONE), ..asked("openrouter", "a/b", &MILLION) };
    assert_eq!(prices.price(&told).unwrap().cost.to_string(), "2");
}

#[test]
fn a_rate_for_all_models_of_a_provider_fills_what_they_lack() {
    let usage = Usage { server_tools: 4, ..MILLION };
    let mut own = file("own", Vec::new());
    let rates = Rates { server_tool: Some("0.0025".parse().unwrap()), ..Rates::default() };
    own.providers.push(file::ProviderEntry { provider: "openai".into(), rates, ..Default::default() });
    assert_eq!(said(&with(&[own]), "openai", "gpt-5", &usage).0, "11.26");
}

#[test]
fn an_entry_holds_from_its_first_day_until_the_one_that_ends_it() {
    let both = [(Kind::Input, "1"), (Kind::Output, "1")];
    let dated = Entry {
        from: Some("2026-11-10".parse().unwrap()),
        until: Some("2026-11-20".parse().unwrap()),
        ..entry("openai", "gpt-5", &both)
    };
    let prices = with(&[file("promotion", vec![dated])]);
    let on = |at: &str| {
        let asked = Asked { at: day(at), ..asked("openai", "gpt-5", &MILLION) };
        prices.price(&asked).unwrap().cost.to_string()
    };
    assert_eq!([on("2026-11-09"), on("2026-11-10"), on("2026-11-19"), on("2026-11-20")], ["11.25", "2", "2", "11.25"]);
}

#[test]
fn pointers_are_charged_on_top() {
    let pointer = |pointer: &str, each: Option<&str>, million: Option<&str>| PointerRate {
        pointer: pointer.into(),
        each: each.map(|rate| rate.parse().unwrap()),
        per_million: million.map(|rate| rate.parse().unwrap()),
    };
    let mut special = entry("openai", "gpt-5", &[]);
    special.pointers =
        vec![pointer("/usage/special_units", None, Some("1.5")), pointer("/usage/a~1b/pieces", Some("0.01"), None)];
    let prices = with(&[file("own", vec![special])]);
    let pointers = prices.pointers("openai").expect("the file has some");
    assert!(prices.pointers("anthropic").is_none());
    let read = |events: &[&str]| {
        let mut reader = PointerReader::new(Arc::clone(pointers));
        for event in events {
            reader.event(event.as_bytes());
        }
        reader.finish()
    };
    let pointed = read(&[
        r#"{"usage":{"special_units":7}}"#,
        r#"{"choices":[{"usage":{"special_units":9}}]}"#,
        r#"{"usage":{"special_units":2000000,"a/b":{"pieces":2.5}}}"#,
        r#"{"usage":{"special_units":-5,"a/b":{"pieces":null}}}"#,
        r#"{"usage":{"special_units":"8"}}"#,
        r#"{"usage":{"special_units":1e400}"#,
    ]);
    let with_them = Asked { pointed: Some(&pointed), ..asked("openai", "gpt-5", &MILLION) };
    assert_eq!(prices.price(&with_them).unwrap().cost.to_string(), "14.275", "11.25 + 2 × 1.5 + 2.5 × 0.01");
    assert!(read(&["[DONE]", "{}", "\"\\"]).is_empty());
}

#[test]
fn what_cannot_be_meant_is_told_with_its_place() {
    let wrong = |entry: Entry| {
        let (_, complaints) = Prices::with(&[("f".into(), file("f", vec![entry]))]).unwrap_err();
        complaints.into_iter().map(|complaint| (complaint.key, complaint.message)).collect::<Vec<_>>()
    };
    let input = [(Kind::Input, "1")];
    let pointer =
        |pointer: &str| PointerRate { pointer: pointer.into(), each: Some("1".parse().unwrap()), per_million: None };
    assert_eq!(wrong(entry("a", "b", &[])), [("model", "it has no rates".into())]);
    assert_eq!(wrong(entry("", "b", &input))[0].0, "provider");
    assert_eq!(wrong(entry("a", "", &input))[0].0, "model");
    let day = |day: &str| Some(day.parse().unwrap());
    assert_eq!(
        wrong(Entry { from: day("2026-01-01"), until: day("2026-01-01"), ..entry("a", "b", &input) })[0].0,
        "until"
    );
    let tier = LongPrompt { context_over: 1, rates: entry("", "", &[(Kind::Output, "1")]).rates };
    assert_eq!(
        wrong(Entry { tiers: vec![tier], ..entry("a", "b", &input) }),
        [("tiers", "`output` has a rate for long prompts only".into())]
    );
    for text in ["usage/x", "", "/", "/a//b", "/a/0", "/a/-", &"/a".repeat(20), &format!("/{}", "a".repeat(600))] {
        let entry = Entry { pointers: vec![pointer(text)], ..entry("a", "b", &input) };
        assert_eq!(wrong(entry)[0].0, "pointers", "{text}");
    }
    let many = (0..33).map(|number| pointer(&format!("/n{number}"))).collect();
    assert_eq!(wrong(Entry { pointers: many, ..entry("a", "b", &input) })[0].1, "more than 32 pointers");
    let both = PointerRate { per_million: Some("1".parse().unwrap()), ..pointer("/a") };
    assert_eq!(wrong(Entry { pointers: vec![both], ..entry("a", "b", &input) })[0].1, "`/a` needs one rate");
}

proptest! {
    /// However many files say something of a model, the last one counts.
    #[test]
    fn the_order_of_files_decides(rates in proptest::collection::vec(0u32..1_000_000, 1..6)) {
        let files: Vec<File> = rates
            .iter()
            .map(|rate| file("f", vec![entry("p", "m", &[(Kind::Input, &rate.to_string()), (Kind::Output, "0")])]))
            .collect();
        let (cost, _) = said(&with(&files), "p", "m", &MILLION);
        prop_assert_eq!(cost, rates.last().unwrap().to_string());
    }
}
