//! Price files and the lists of others: any text, none may panic, and what is read is written so that it is read back.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use tollgate_llm::price::import::Format;
use tollgate_llm::price::file::{Day, File};
use tollgate_llm::{Asked, Prices, Usage};

fuzz_target!(|text: &str| {
    let date = Day::of(SystemTime::UNIX_EPOCH);
    for format in [Format::LiteLlm, Format::ModelsDev, Format::GenaiPrices] {
        if let Ok(imported) = format.import(text, "fuzz", date) {
            price(imported.file);
        }
    }
    if let Ok(file) = tollgate_config::parse_prices("fuzz", text) {
        price(file);
    }
});

fn price(file: File) {
    assert_eq!(File::from_json(&file.to_json()).expect("what is written is read back"), file);
    let names: Vec<(String, String)> =
        file.prices.iter().take(4).map(|entry| (entry.provider.clone(), entry.model.clone())).collect();
    let Ok(prices) = Prices::with(&[("fuzz".to_owned(), file)]) else { return };
    let usage = Usage { input: 300_000, output: 1_000, cache_read: 10, audio_ms: 5, images: 1, ..Usage::default() };
    for (provider, model) in &names {
        let asked = Asked {
            provider,
            region: Some("eu"),
            response_model: Some(model),
            request_model: None,
            usage: &usage,
            pointed: None,
            told: None,
            at: SystemTime::UNIX_EPOCH,
        };
        if let Ok(price) = prices.price(&asked) {
            assert!(!price.cost.is_sign_negative());
        }
    }
}
