//! Metering allocates nothing for an event that says nothing, and little for a body of any size.
//!
//! One test, because the counters are the process's.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::{Method, StatusCode};
use tollgate_llm::{Api, Catalogue, RequestMeter, ResponseMeter, identify};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes, and how much it holds at most beyond what was held before.
fn cost(work: impl FnOnce()) -> (usize, usize) {
    let (count, held) = (ALLOCATIONS.load(Relaxed), HELD.load(Relaxed));
    PEAK.store(held, Relaxed);
    work();
    (ALLOCATIONS.load(Relaxed) - count, PEAK.load(Relaxed) - held)
}

#[test]
fn memory_is_small_and_does_not_grow() {
    const DELTA: &[u8] = b"data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a \\\"usage\\\"\"},\"finish_reason\":null}],\"usage\":null}\n\n";
    let stream = |api| ResponseMeter::new(api, StatusCode::OK, Some("text/event-stream"), None);

    let mut meter = stream(Api::ChatCompletions);
    meter.push(DELTA);
    let (whole, _) = cost(|| (0..10_000).for_each(|_| meter.push(DELTA)));
    assert!(whole <= 8, "the sample of the text grows to its size once, but there were {whole} allocations");
    let (whole, _) = cost(|| (0..10_000).for_each(|_| meter.push(DELTA)));
    assert_eq!(whole, 0, "whole events");
    let (cut, _) = cost(|| {
        for _ in 0..10_000 {
            DELTA.chunks(17).for_each(|piece| meter.push(piece));
        }
    });
    assert!(cut <= 8, "the text buffer grows to its size once, but there were {cut} allocations for cut events");

    // Endless events, lines, strings, keys, numbers, nesting and names, 32 MB of each.
    let hostile: [(&str, &[u8], &[u8]); 8] = [
        ("event", b"data: {\"usage\":{\"a\":\"", b"x"),
        ("line", b"event: ", b"x"),
        ("model", b"data: {\"model\":\"", b"m"),
        ("key", b"data: {\"", b"k"),
        ("number", b"data: {\"usage\":{\"prompt_tokens\":", b"1"),
        ("nesting", b"data: {\"usage\":", b"{\"usage\":["),
        ("events", b"", b"data: {\"error\":{\"type\":\"\\u0061\"},\"usage\":{\"prompt_tokens\":1}}\n\n"),
        ("data lines", b"", b"data: [\n"),
    ];
    for (name, head, repeated) in hostile {
        let piece = repeated.repeat(32_768 / repeated.len());
        for api in [Api::ChatCompletions, Api::Messages, Api::GenerateContent, Api::Responses] {
            let (_, held) = cost(|| {
                let mut meter = stream(api);
                meter.push(head);
                (0..250).for_each(|_| meter.push(&piece));
                meter.finish();
            });
            assert!(held < 16 << 10, "{name} for {api:?} holds {held} bytes");
        }
    }

    frames();

    let catalogue = Catalogue::builtin();
    let call = identify(catalogue.find("api.openai.com").expect("built in"), &Method::POST, "/v1/chat/completions");
    let piece = b"\"text\", [\"\\\"more\\\" text\"], {\"model\": 1.5e3}, ".repeat(500);
    let (_, held) = cost(|| {
        let mut meter = RequestMeter::new(&call, Some("application/json"), None);
        meter.push(b"{\"messages\":[");
        (0..500).for_each(|_| meter.push(&piece));
        meter.push(b"1],\"model\":\"m\"}");
        assert!(meter.finish().model.is_some());
    });
    assert!(held < 16 << 10, "a large request holds {held} bytes");

    // The decoders need their windows: at most 8 MiB for zstd and 16 MiB for brotli, and what is decoded is not kept.
    let text = DELTA.repeat(50_000);
    let zstd = zstd::encode_all(&text[..], 3).expect("memory is enough");
    let (_, held) = cost(|| {
        let mut meter =
            ResponseMeter::new(Api::ChatCompletions, StatusCode::OK, Some("text/event-stream"), Some("zstd"));
        zstd.chunks(1000).for_each(|piece| meter.push(piece));
        assert!(meter.finish().model.is_some());
    });
    assert!(held < 1 << 20, "decoding holds {held} bytes outside of zstd's own window");
}

/// AWS's event streams: messages that arrive whole are read where they lie, and others are gathered up to a bound.
fn frames() {
    let kind = Some("application/vnd.amazon.eventstream");
    let meter = |api| ResponseMeter::new(api, StatusCode::OK, kind, None);
    let headers = b"\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event";
    let frame = |payload: &[u8]| {
        let total = (16 + headers.len() + payload.len()) as u32;
        let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message.extend_from_slice(headers);
        message.extend_from_slice(payload);
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message
    };
    // {"outputs":[{"text":"a","stop_reason":null}]}
    let event = frame(br#"{"bytes":"eyJvdXRwdXRzIjpbeyJ0ZXh0IjoiYSIsInN0b3BfcmVhc29uIjpudWxsfV19","p":"abc"}"#);
    for piece in [event.len(), 17] {
        let mut meter = meter(Api::BedrockInvokeStream);
        (0..10_000).for_each(|_| event.chunks(piece).for_each(|piece| meter.push(piece)));
        let (count, held) = cost(|| (0..10_000).for_each(|_| event.chunks(piece).for_each(|piece| meter.push(piece))));
        assert_eq!((count, held), (0, 0), "events in pieces of {piece}");
    }
    // A message as large as the specification allows, one that is as large as is gathered, and many of that size.
    for (name, size, most) in [("passed over", 24 << 20, 8 << 10), ("gathered", (256 << 10) - 100, 800 << 10)] {
        let message = frame(&vec![b'x'; size]);
        let (_, held) = cost(|| {
            let mut meter = meter(Api::BedrockConverseStream);
            for _ in 0..2 {
                message.chunks(1 << 10).for_each(|piece| meter.push(piece));
            }
            meter.finish();
        });
        assert!(held < most, "a message that is {name} holds {held} bytes");
    }
    // What a length promises is not set aside for it.
    let begun = frame(&vec![b'x'; 200 << 10])[..20].to_vec();
    let (_, held) = cost(|| {
        let mut meter = meter(Api::BedrockConverseStream);
        meter.push(&begun);
        meter.finish();
    });
    assert!(held < 8 << 10, "twenty bytes of a large message hold {held} bytes");
}
