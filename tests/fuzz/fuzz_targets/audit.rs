//! An audit of any bytes is read without a panic, and no byte before its last line can be another unseen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_audit::{check_bytes, example};

fuzz_target!(|input: (Vec<u8>, Vec<String>, usize, u8)| {
    let (bytes, details, at, byte) = input;
    check_bytes(&bytes);
    let details: Vec<&str> = details.iter().map(String::as_str).take(16).collect();
    let good = example(&details);
    let report = check_bytes(&good);
    assert!(report.broken.is_none() && report.lines == details.len() as u64);
    let Some(last) = good.strip_suffix(b"\n").and_then(|good| good.iter().rposition(|byte| *byte == b'\n')) else { return };
    let mut bad = good;
    let at = at % last;
    if std::mem::replace(&mut bad[at], byte) != byte {
        assert!(check_bytes(&bad).broken.is_some());
    }
});
