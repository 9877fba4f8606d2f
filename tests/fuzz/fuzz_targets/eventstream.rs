//! AWS's event stream says the same however it is cut, damaged or not, for every API that has it. Checksums would keep the fuzzer at
//! the door, so each input is tried as it is, and once more with them put right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Api, ResponseMeter, UsageSource};

const APIS: [Api; 3] = [Api::BedrockConverseStream, Api::BedrockInvokeStream, Api::Messages];

fuzz_target!(|bytes: &[u8]| {
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    for stream in [bytes, &repaired[..]] {
        for api in APIS {
            let kind = Some("application/vnd.amazon.eventstream");
            let meter = || ResponseMeter::new(api, http::StatusCode::OK, kind, None);
            let mut whole = meter();
            whole.push(stream);
            let whole = whole.finish();
            assert_eq!(whole.usage.is_none(), whole.source == UsageSource::None);
            assert_eq!(whole.unmetered.is_none(), whole.source == UsageSource::Provider);
            for size in [1, 2, 7, 13, 1 + stream.len() / 2] {
                let mut cut = meter();
                stream.chunks(size).for_each(|piece| cut.push(piece));
                assert_eq!(cut.finish(), whole, "{api:?} in pieces of {size}");
            }
        }
    }
});

/// Makes what is there a stream of messages whose lengths and checksums hold.
fn repair(mut bytes: &mut [u8]) {
    while bytes.len() >= 16 {
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let total = if (16..=bytes.len()).contains(&number(0)) { number(0) } else { bytes.len() };
        let headers = number(4).min(total - 16);
        let (message, rest) = bytes.split_at_mut(total);
        message[..4].copy_from_slice(&(total as u32).to_be_bytes());
        message[4..8].copy_from_slice(&(headers as u32).to_be_bytes());
        let crc = crc32fast::hash(&message[..8]);
        message[8..12].copy_from_slice(&crc.to_be_bytes());
        let crc = crc32fast::hash(&message[..total - 4]);
        message[total - 4..].copy_from_slice(&crc.to_be_bytes());
        bytes = rest;
    }
}
