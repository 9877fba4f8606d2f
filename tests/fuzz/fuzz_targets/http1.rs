//! HTTP/1.1 as it is read to be passed on: no bytes panic, a body ends in the same place however it comes, and what is forwarded reads as what
//! came. The files are compiled in by path: the crate that they are part of brings the kernel programs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../agent/proxy/src/http/direct/framing.rs"]
#[allow(dead_code, reason = "what is not read here is used in the agent")]
mod framing;
#[path = "../../../agent/proxy/src/http/direct/head.rs"]
#[allow(dead_code, reason = "what is not read here is used in the agent")]
mod head;

/// The agent's bounds, where the files look for them.
#[path = "../../../agent/proxy/src/http/direct/limits.rs"]
mod limits;

use framing::Framing;
use head::Found;

fuzz_target!(|bytes: &[u8]| {
    for framing in [Framing::CHUNKED, Framing::length(bytes.len() as u64 / 2), Framing::UNTIL_CLOSE] {
        body(framing, bytes);
    }
    if let Found::Head(head) = head::request(bytes, "api.openai.com") {
        assert!(head.length <= bytes.len());
        body(head.body, &bytes[head.length..]);
        for asks_usage in [false, true] {
            let Some(edited) = head.edited(bytes, 7, asks_usage) else { continue };
            let Found::Head(again) = head::request(&edited, "api.openai.com") else { panic!("it was a head before") };
            assert_eq!((again.length, again.content_length), (edited.len(), Some(7)));
        }
    }
    for method in [http::Method::POST, http::Method::HEAD] {
        let Ok(Some(head)) = head::response(bytes, &method) else { continue };
        assert!(head.length <= bytes.len());
        if let Some(edited) = &head.edited {
            let again = head::response(edited, &method).expect("it was HTTP before").expect("and whole");
            assert_eq!((again.length, again.body, again.edited.is_none()), (edited.len(), head.body, true));
        }
    }
});

/// A body's content and length are the same in one piece and byte by byte.
fn body(framing: Framing, bytes: &[u8]) {
    let read = |size: usize| {
        let (mut framing, mut content, mut length) = (framing, Vec::new(), 0);
        for piece in bytes.chunks(size) {
            length += framing.pass(piece, |bytes| content.extend_from_slice(bytes))?;
        }
        Ok::<_, framing::Malformed>((content, length, framing.is_done()))
    };
    let whole = read(bytes.len().max(1));
    for size in [1, 3, 1 + bytes.len() / 2] {
        assert_eq!(read(size).is_err(), whole.is_err());
        if let (Ok(whole), Ok(cut)) = (&whole, read(size)) {
            assert_eq!(whole, &cut);
        }
    }
}
