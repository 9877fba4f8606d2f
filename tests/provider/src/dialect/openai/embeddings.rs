//! `POST /v1/embeddings`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pretty;
use crate::answer::Answer;
use crate::dialect::{Ask, Dialect};
use crate::json::{Object, Raw, obj};
use crate::seed::{Random, Seed};
use crate::truth::Usage;

pub(crate) fn answer(ask: &Ask) -> Answer {
    let request = ask.json();
    let model = ask.model_name();
    let inputs = match &request["input"] {
        // A list of strings or of token lists has many inputs; a string or one token list is one.
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.len(),
        _ => 1,
    };
    let natural = if model.contains("large") { 3072 } else { 1536 };
    let dimensions = request["dimensions"].as_u64().unwrap_or(natural).clamp(1, natural) as usize;
    let base64 = request["encoding_format"] == "base64";
    let data: Vec<Raw> = (0..inputs)
        .map(|index| {
            let vector = vector(ask.seed, index, dimensions);
            let embedding = if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Raw(format!("\"{}\"", STANDARD.encode(bytes)))
            } else {
                Raw(super::text(&vector.iter().map(|number| f64::from(*number)).collect::<Vec<_>>()))
            };
            obj! { "object" => "embedding", "index" => index as u64, "embedding" => embedding }
        })
        .collect();
    let input = ask.seed.usage(ask.body_length, 0).input;
    let usage = Usage { input, ..Usage::default() };
    let totals = obj! { "prompt_tokens" => input, "total_tokens" => input };
    let mut body = Object::new();
    if ask.dialect == Dialect::Mistral {
        body.field("id", &ask.seed.hex("embeddings", 32));
    }
    body.field("object", "list").field("data", &data).field("model", model).field("usage", &totals);
    let body = body.end();
    Answer::new(http::StatusCode::OK, "application/json", pretty(&body)).model(model).usage(usage)
}

/// A vector of length one, as real embeddings are.
pub(crate) fn vector(seed: Seed, index: usize, dimensions: usize) -> Vec<f32> {
    let mut random = Random::new(seed.number(&format!("vector {index}")));
    let mut vector: Vec<f32> = (0..dimensions).map(|_| (random.next() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
    let norm = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for number in &mut vector {
        *number /= norm;
    }
    vector
}
