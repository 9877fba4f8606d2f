//! Requests of any bytes, as JSON and as a form, are metered without a panic, and the same however they are cut; any bytes as a
//! path are identified. The first line is the path, the boundary of the form, or both.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Catalogue, Dialect, Provider, RequestMeter, identify, is_ambiguous};

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/messages", "/api/chat"];

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let line = String::from_utf8_lossy(&bytes[..end]);
    let catalogue = Catalogue::builtin();
    let ollama = Provider::new("ollama", Vec::new(), Some(Dialect::Ollama));
    for provider in catalogue.providers().iter().map(|provider| &**provider).chain([&ollama]) {
        for method in [Method::POST, Method::GET] {
            let call = identify(provider, &method, &line);
            is_ambiguous(provider, &method, &line);
            assert!(call.model_in_path.is_none_or(|model| !model.is_empty() && model.len() <= 256));
        }
        provider.region(&line);
    }
    // Without its CR, as a parameter of a header has it, and with what a delimiter has before it.
    let boundary = line.trim_end_matches('\r').trim_start_matches("--");
    let form = format!("multipart/form-data; boundary=\"{boundary}\"");
    for path in PATHS {
        let call = identify(&ollama, &Method::POST, path);
        for kind in [None, Some("application/json"), Some(form.as_str())] {
            let facts = |size: usize, coding| {
                let mut meter = RequestMeter::new(&call, kind, coding);
                bytes.chunks(size).for_each(|piece| meter.push(piece));
                meter.finish()
            };
            assert_eq!(facts(1, None), facts(bytes.len().max(1), None), "{path} as {kind:?}");
            facts(64, Some("zstd"));
            let told = |size: usize| {
                let mut meter = RequestMeter::for_policy(&call, kind, None);
                bytes.chunks(size).for_each(|piece| meter.push(piece));
                meter.finish()
            };
            assert_eq!(told(1), told(bytes.len().max(1)), "{path} as {kind:?}");
        }
    }
});
