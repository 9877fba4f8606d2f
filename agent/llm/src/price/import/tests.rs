use proptest::prelude::*;

use super::*;

fn date() -> Day {
    "2026-11-01".parse().unwrap()
}

fn read(format: Format, text: &str) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    assert_eq!(Format::guess(text).unwrap(), format);
    let imported = format.import(text, "test", date()).unwrap();
    crate::price::Layer::new("test", &imported.file, &mut Vec::new()).expect("what is imported is valid");
    let entries = imported.file.prices.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    (entries, imported.skipped)
}

#[test]
fn litellm_prices_per_token_become_prices_per_million_without_losing_a_digit() {
    let (entries, skipped) = read(Format::LiteLlm, include_str!("fixtures/litellm.json"));
    same(&entries, include_str!("fixtures/litellm.txt"));
    let reasons: Vec<_> = skipped.iter().map(|(reason, names)| format!("{reason}: {}", names.join(", "))).collect();
    same(&reasons, include_str!("fixtures/litellm.skipped.txt"));
}

#[test]
fn models_dev_prices_and_tiers() {
    let (entries, skipped) = read(Format::ModelsDev, include_str!("fixtures/models-dev.json"));
    same(&entries, include_str!("fixtures/models-dev.txt"));
    let reasons: Vec<_> = skipped.iter().map(|(reason, names)| format!("{reason}: {}", names.join(", "))).collect();
    same(&reasons, include_str!("fixtures/models-dev.skipped.txt"));
}

#[test]
fn genai_prices_with_dates_hours_tiers_and_patterns() {
    let (entries, skipped) = read(Format::GenaiPrices, include_str!("fixtures/genai-prices.json"));
    same(&entries, include_str!("fixtures/genai-prices.txt"));
    let reasons: Vec<_> = skipped.iter().map(|(reason, names)| format!("{reason}: {}", names.join(", "))).collect();
    same(&reasons, include_str!("fixtures/genai-prices.skipped.txt"));
}

/// Compares with a file of lines.
fn same(lines: &[String], expected: &str) {
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(lines.iter().map(String::as_str).collect::<Vec<_>>(), expected, "\n{}", lines.join("\n"));
}

#[test]
fn what_is_no_list_is_refused_with_its_place() {
    assert!(matches!(Format::guess("{}"), Err(ImportError::Unknown)));
    for format in [Format::LiteLlm, Format::ModelsDev, Format::GenaiPrices] {
        let error = format.import("{\n\"a\": ]}", "test", date()).unwrap_err().to_string();
        assert!(error.contains("line ") && error.contains(&format.to_string()), "{error}");
        let nothing = if format == Format::GenaiPrices { "[]" } else { "{}" };
        assert!(matches!(format.import(nothing, "test", date()), Err(ImportError::Empty { .. })));
    }
}

proptest! {
    #[test]
    fn any_text_is_taken(text in "\\PC{0,200}", key in "[a-z_]{1,30}", value in "[-0-9.eE]{0,12}|true|null|\\[\\]|\\{\\}|\"x\"") {
        let litellm = format!("{{\"m\":{{\"litellm_provider\":\"openai\",\"input_cost_per_{key}\":{value},\"{key}_above_200k_tokens\":{value}}}}}");
        let models_dev = format!("{{\"openai\":{{\"models\":{{\"m\":{{\"cost\":{{\"input\":{value},\"tiers\":{value}}}}}}}}}}}");
        let genai = format!("[{{\"id\":\"openai\",\"models\":[{{\"id\":\"m\",\"match\":{{\"regex\":\"^{key}\"}},\"prices\":{{\"input_mtok\":{value}}}}}]}}]");
        for format in [Format::LiteLlm, Format::ModelsDev, Format::GenaiPrices] {
            for text in [&text, &litellm, &models_dev, &genai] {
                if let Ok(imported) = format.import(text, "test", date()) {
                    prop_assert_eq!(File::from_json(&imported.file.to_json()).unwrap(), imported.file);
                }
            }
        }
    }
}
