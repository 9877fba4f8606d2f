//! Journals of any bytes, as a crash or a damaged disk may leave them, are read without a panic, and what is read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_ledger::store::journal_counts;

const HEADER: &[u8] = br#"{"version":3,"ledger":"/l","identity":null}"#;

fuzz_target!(|bytes: &[u8]| {
    journal_counts(bytes);
    // The first line of all is seldom met by chance.
    let whole = [HEADER, b"\n", bytes].concat();
    assert!(journal_counts(&whole).is_some());
});
