use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::{
    DateTime,
    event_stream::{Header, HeaderValue, Message as Theirs},
};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// What came out of a stream.
#[derive(Debug, Default, PartialEq)]
struct Log {
    messages: Vec<(Kind, String, Vec<u8>)>,
    is_corrupt: bool,
    is_within_message: bool,
}

impl Messages for Log {
    fn message(&mut self, Message { kind, name, payload }: Message<'_>) {
        self.messages.push((kind, name.to_owned(), payload.to_vec()));
    }
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Log {
    let (mut decoder, mut log) = (Decoder::default(), Log::default());
    for piece in pieces {
        let failed = decoder.push(piece, &mut log).is_err();
        assert!(failed || !log.is_corrupt, "what is corrupt stays so");
        log.is_corrupt = failed;
    }
    log.is_within_message = !decoder.buffer.is_empty() || matches!(decoder.state, State::PassingOver(_));
    log
}

/// A stream's messages, the same however it is cut.
fn messages(stream: &[u8]) -> Log {
    let whole = decode([stream]);
    for cut in 0..=stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(decode([a, b]), whole, "cut at {cut}");
    }
    for size in [1, 2, 3, 7, 11, 12, 13] {
        assert_eq!(decode(stream.chunks(size)), whole, "in pieces of {size}");
    }
    whole
}

/// A message as Amazon's own library writes it.
fn written(headers: &[(&str, HeaderValue)], payload: &[u8]) -> Vec<u8> {
    let mut message = Theirs::new(Bytes::copy_from_slice(payload));
    for (name, value) in headers {
        message = message.add_header(Header::new((*name).to_owned(), value.clone()));
    }
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::String(value.to_owned().into())
}

fn event(name: &str, payload: &[u8]) -> Vec<u8> {
    written(&[(":event-type", text(name)), (":message-type", text("event"))], payload)
}

/// A message with these headers as bytes, whatever they are.
fn raw(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = (PRELUDE + headers.len() + payload.len() + CRC) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(headers);
    message.extend_from_slice(payload);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

/// From Amazon's description of the encoding: a message without headers or payload, and one with an empty payload.
#[test]
fn the_smallest_messages_are_read() {
    let empty = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    let log = messages(&[empty, empty].concat());
    assert_eq!(log.messages, vec![(Kind::Other, String::new(), Vec::new()); 2]);
    assert_eq!(messages(&event("ping", b"")).messages, [(Kind::Event, "ping".to_owned(), Vec::new())]);
}

#[test]
fn the_kind_and_name_are_found_among_headers_of_every_type() {
    let others = [
        ("yes", HeaderValue::Bool(true)),
        ("no", HeaderValue::Bool(false)),
        ("byte", HeaderValue::Byte(-1)),
        ("short", HeaderValue::Int16(2)),
        ("int", HeaderValue::Int32(3)),
        ("long", HeaderValue::Int64(4)),
        (":message-type", HeaderValue::ByteArray(Bytes::from_static(b"exception"))),
        ("time", HeaderValue::Timestamp(DateTime::from_secs(5))),
        ("uuid", HeaderValue::Uuid(6)),
    ];
    for (kind, name, expected) in [
        ("event", ":event-type", Kind::Event),
        ("exception", ":exception-type", Kind::Exception),
        ("error", ":error-code", Kind::Error),
        ("novelty", ":event-type", Kind::Other),
    ] {
        let mut headers = others.to_vec();
        headers.insert(4, (":message-type", text(kind)));
        headers.push((name, text("naïve")));
        let log = messages(&written(&headers, b"{}"));
        assert_eq!(log.messages, [(expected, "naïve".to_owned(), b"{}".to_vec())]);
    }
}

#[test]
fn what_is_damaged_anywhere_ends_the_reading_there() {
    let stream = [event("a", b"{\"a\":1}"), event("b", b"{}"), event("c", b"")].concat();
    let first = event("a", b"{\"a\":1}").len();
    for at in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[at] ^= 0x20;
        let log = decode([&damaged[..]]);
        assert_eq!(decode(damaged.chunks(5)), log, "damaged at {at}");
        assert!(log.is_corrupt, "damaged at {at}");
        assert_eq!(log.messages.is_empty(), at < first, "damaged at {at}");
    }
}

#[test]
fn a_stream_that_breaks_off_is_within_a_message() {
    let stream = [event("a", b"{}"), event("b", b"{\"b\":1}")].concat();
    for end in 0..=stream.len() {
        let log = decode([&stream[..end]]);
        let at_end = [0, event("a", b"{}").len(), stream.len()].contains(&end);
        assert_eq!((log.is_within_message, log.is_corrupt), (!at_end, false), "broken off at {end}");
    }
}

#[test]
fn lengths_that_cannot_be_are_corrupt_though_their_checksum_holds() {
    let prelude = |total: u32, headers: u32| {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    };
    for (total, headers) in
        [(0, 0), (15, 0), (16, 1), (u32::MAX, 0), (u32::MAX, u32::MAX), (1 << 20, (128 << 10) + 1), (33 << 20, 0)]
    {
        assert!(messages(&prelude(total, headers)).is_corrupt, "{total} and {headers}");
    }
    assert!(!messages(&prelude(32 << 20, 128 << 10)).is_corrupt);
}

#[test]
fn headers_that_do_not_add_up_are_corrupt() {
    let name = b"\x0d:message-type";
    for headers in [
        &b"\x00"[..],
        b"\x05:mes",
        name,
        &[name, &b"\x0a"[..]].concat(),
        &[name, &b"\x07"[..]].concat(),
        &[name, &b"\x07\x00"[..]].concat(),
        &[name, &b"\x07\x00\x05eve"[..]].concat(),
        &[name, &b"\x09short"[..]].concat(),
        &[&b"\x0b:event-type"[..], &b"\x07\x00\x02\xff\xfe"[..]].concat(),
    ] {
        assert!(messages(&raw(headers, b"{}")).is_corrupt, "{headers:?}");
    }
    let sound = [name, &b"\x07\x00\x05event"[..]].concat();
    assert_eq!(messages(&raw(&sound, b"{}")).messages[0].0, Kind::Event);
}

#[test]
fn what_is_too_large_is_passed_over_but_checked() {
    let large = event("large", &vec![b'x'; MAX_MESSAGE]);
    let (before, after) = (event("before", b"1"), event("after", b"2"));
    let stream = [&before[..], &large, &after].concat();
    let names = |log: &Log| log.messages.iter().map(|(_, name, _)| name.clone()).collect::<Vec<_>>();
    for size in [1, 4096, 65_537, stream.len()] {
        let log = decode(stream.chunks(size));
        assert_eq!((names(&log), log.is_corrupt), (vec!["before".to_owned(), "after".to_owned()], false));
    }
    for at in [before.len() + 20, before.len() + large.len() - 1] {
        let mut damaged = stream.clone();
        damaged[at] ^= 1;
        for size in [4096, stream.len()] {
            let log = decode(damaged.chunks(size));
            assert_eq!((names(&log), log.is_corrupt), (vec!["before".to_owned()], true));
        }
    }
    let largest = event("largest", &vec![b'x'; MAX_MESSAGE - event("largest", b"").len()]);
    assert_eq!(largest.len(), MAX_MESSAGE);
    assert_eq!(names(&decode(largest.chunks(1000))), ["largest"]);
}

/// What Amazon's own decoder makes of a stream.
fn theirs(stream: &[u8]) -> Log {
    let mut decoder = MessageFrameDecoder::new();
    let mut buffer = bytes::BytesMut::from(stream);
    let mut log = Log::default();
    loop {
        match decoder.decode_frame(&mut buffer) {
            Ok(DecodedFrame::Complete(message)) => {
                let (mut kind, mut name) = (Kind::Other, String::new());
                for header in message.headers() {
                    let HeaderValue::String(value) = header.value() else { continue };
                    match header.name().as_str() {
                        ":message-type" => kind = Kind::of(value.as_str().as_bytes()),
                        ":event-type" | ":exception-type" | ":error-code" => value.as_str().clone_into(&mut name),
                        _ => {}
                    }
                }
                log.messages.push((kind, name, message.payload().to_vec()));
            }
            Ok(DecodedFrame::Incomplete) => return log,
            Err(_) => {
                log.is_corrupt = true;
                return log;
            }
        }
    }
}

fn header() -> impl Strategy<Value = (String, HeaderValue)> {
    let name = prop_oneof![
        Just(":message-type".to_owned()),
        Just(":event-type".to_owned()),
        Just(":exception-type".to_owned()),
        "[a-z:-]{1,40}",
    ];
    let value = prop_oneof![
        Just(text("event")),
        Just(text("exception")),
        "\\PC{0,60}".prop_map(|value| text(&value)),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i8>().prop_map(HeaderValue::Byte),
        any::<i16>().prop_map(HeaderValue::Int16),
        any::<i32>().prop_map(HeaderValue::Int32),
        any::<i64>().prop_map(HeaderValue::Int64),
        any::<u128>().prop_map(HeaderValue::Uuid),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|value| HeaderValue::ByteArray(value.into())),
    ];
    (name, value)
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(header(), 0..6), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(headers, payload)| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&name[..], value.clone())).collect();
            written(&headers, &payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_cut_gives_what_amazons_own_decoder_gives(
        parts in prop::collection::vec(message(), 0..6),
        cuts in prop::collection::vec(1usize..200, 1..20),
        damage in proptest::option::of((any::<prop::sample::Index>(), 1u8..)),
    ) {
        let mut stream = parts.concat();
        if let (Some((at, bits)), false) = (damage, stream.is_empty()) {
            let at = at.index(stream.len());
            stream[at] ^= bits;
        }
        let expected = theirs(&stream);
        let mut cuts = cuts.iter().cycle();
        let mut rest = &stream[..];
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at((*cuts.next()?).min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let cut = decode(pieces.collect::<Vec<_>>());
        prop_assert_eq!(&cut, &decode([&stream[..]]));
        // A damaged length may promise more than there is; theirs then waits for what ours knows to be impossible.
        prop_assert_eq!(&cut.messages, &expected.messages);
        prop_assert!(cut.is_corrupt || !expected.is_corrupt);
    }

    #[test]
    fn any_bytes_behind_sound_lengths_do_no_harm(headers in prop::collection::vec(any::<u8>(), 0..80), payload in prop::collection::vec(any::<u8>(), 0..80)) {
        let stream = raw(&headers, &payload);
        let log = decode([&stream[..]]);
        prop_assert_eq!(decode(stream.chunks(3)), log);
    }

    #[test]
    fn any_bytes_at_all_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        prop_assert_eq!(decode(bytes.chunks(size)), decode([&bytes[..]]));
    }
}
