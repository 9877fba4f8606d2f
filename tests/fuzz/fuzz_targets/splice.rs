//! A request is edited to the same value and the option, or not at all, and an answer loses nothing but the chunk of usage,
//! however both are cut. The first byte is the size of the pieces.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollgate_llm::{ChunkRemover, Edit, Splicer};

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let size = usize::from(size.max(1));
    request(bytes, size);
    let whole = answer(std::iter::once(bytes));
    assert_eq!(answer(bytes.chunks(size)), whole);
    assert!(is_subsequence(&whole, bytes));
});

fn request(bytes: &[u8], size: usize) {
    let mut splicer = Splicer::default();
    splicer.push(bytes);
    let edit = splicer.finish();
    let mut splicer = Splicer::default();
    bytes.chunks(size).for_each(|piece| splicer.push(piece));
    assert_eq!(splicer.finish(), edit);
    let Some(Edit { start, end, text }) = edit else { return };
    assert!(matches!(&bytes[start..end], b"" | b"null" | b"false"));
    let read = |bytes: &[u8]| serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes));
    let before = match read(bytes) {
        Ok(before) => before,
        // What is well written, and serde cannot hold: huge numbers, half a surrogate pair.
        Err(error) => {
            let known = ["number out of range", "surrogate", "hex escape"];
            return assert!(known.iter().any(|what| error.to_string().contains(what)), "{error}");
        }
    };
    let after = read(&[&bytes[..start], text.as_bytes(), &bytes[end..]].concat()).expect("still JSON");
    assert_eq!(before["stream"], true);
    assert_ne!(before["stream_options"]["include_usage"], true);
    assert_eq!(after["stream_options"]["include_usage"], true);
    // But for the option both say the same.
    let rest = |mut value: Value| {
        match &mut value["stream_options"] {
            Value::Object(options) => drop(options.remove("include_usage")),
            options => *options = serde_json::json!({}),
        }
        value
    };
    assert_eq!(rest(before), rest(after));
}

fn answer<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut remover = ChunkRemover::default();
    let mut passed: Vec<u8> = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&remover.push(&Bytes::copy_from_slice(piece)));
    }
    passed.extend_from_slice(&remover.finish());
    passed
}

fn is_subsequence(part: &[u8], of: &[u8]) -> bool {
    let mut rest = of.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}
