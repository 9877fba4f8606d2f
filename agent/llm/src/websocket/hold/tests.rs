use std::sync::Arc;

use http::Method;
use proptest::prelude::*;

use super::super::frames::{PING, PONG};
use super::*;
use crate::{Catalogue, SocketGaps, identify};

const LIMIT: usize = 1 << 16;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn call(target: &str) -> Call {
    let provider = Arc::clone(Catalogue::builtin().find("api.openai.com").unwrap());
    identify(&provider, &Method::GET, target)
}

fn realtime() -> Call {
    call("/v1/realtime?model=gpt-realtime")
}

fn responses() -> Call {
    call("/v1/responses")
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = words::frame(first & 0x0f, Some(MASK), payload);
    frame[0] = first;
    frame
}

fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// What came of bytes in pieces: control frames, messages, and where it stopped.
#[derive(Debug, Default, PartialEq)]
struct Came {
    control: Vec<u8>,
    messages: Vec<Vec<u8>>,
    asks: Vec<String>,
    too_large: usize,
    stopped: Option<Unmetered>,
}

fn hold<'a>(call: &Call, limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Came {
    let (mut hold, mut came) = (SocketHold::new(call, limit), Came::default());
    for mut piece in pieces {
        while !piece.is_empty() {
            match hold.push(piece) {
                Err(reason) => {
                    came.stopped = Some(reason);
                    return came;
                }
                Ok((used, held)) => {
                    piece = &piece[used..];
                    match held {
                        None => {}
                        Some(Held::Control(frame)) => came.control.extend(frame),
                        Some(Held::TooLarge) => came.too_large += 1,
                        Some(Held::Message(message)) => {
                            let HeldMessage { frames, ask } = *message;
                            came.messages.push(frames);
                            came.asks.push(format!(
                                "{} {:?} {:?} {:?}",
                                ask.is_create, ask.facts, ask.event_id, ask.is_ambiguous
                            ));
                        }
                    }
                }
            }
        }
    }
    came
}

fn asked(call: &Call, message: &str) -> SocketAsk {
    let mut hold = SocketHold::new(call, LIMIT);
    match hold.push(&text(message)).expect("a frame") {
        (_, Some(Held::Message(message))) => message.ask,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_shapes_say_the_same() {
    for message in [
        r#"{"type":"response.create","event_id":"e1","model":"gpt-5","input":"hi there","max_output_tokens":90,"safety_identifier":"u1"}"#,
        r#"{"response":{"safety_identifier":"u1","max_output_tokens":90,"model":"gpt-5","input":"hi there"},"event_id":"e1","type":"response.create"}"#,
        r#"{"\u0074ype":"response.c\u0072eate","event_id":"e1","response":{"model":"gpt\u002d5","input":"hi there","max_output_tokens":9e1,"user":"u1"}}"#,
    ] {
        let ask = asked(&responses(), message);
        assert!(ask.is_create && !ask.is_ambiguous && !ask.continues, "{message}");
        assert_eq!(ask.facts.model.as_deref(), Some("gpt-5"), "{message}");
        assert_eq!(ask.facts.max_output_tokens, Some(90), "{message}");
        assert_eq!(ask.facts.end_user.as_deref(), Some("u1"), "{message}");
        assert_eq!(ask.event_id.as_deref(), Some("e1"), "{message}");
        assert!(ask.text.bytes() >= 8, "{message}");
    }
    let ask = asked(&responses(), r#"{"type":"response.create","previous_response_id":"resp_1"}"#);
    assert!(ask.continues && ask.facts.model.is_none());
}

#[test]
fn what_could_be_read_in_two_ways_is_ambiguous() {
    for message in [
        r#"{"type":"response.create","model":"gpt-5-mini","model":"gpt-5-pro"}"#,
        r#"{"type":"response.create","model":"gpt-5-mini","model":null}"#,
        r#"{"type":"response.create","model":"gpt-5-mini","response":{"model":"gpt-5-pro"}}"#,
        r#"{"type":"response.create","model":"gpt-5-mini","response":{}}"#,
        r#"{"type":"response.create","response":{"model":"gpt-5-mini"},"response":{"model":"gpt-5-pro"}}"#,
        r#"{"type":"response.create","response":{"max_output_tokens":5},"max_output_tokens":500}"#,
        r#"{"type":"response.create","type":"session.update"}"#,
        r#"{"type":"ping","type":"response.create"}"#,
        r#"{"type":"response.create"} {"model":"gpt-5-pro"}"#,
        r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#,
        r#"{"type":"session.update","session":{"model":"a","Model":"b"}}"#,
        r#"{"type":"session.update","session":{"model":" a"}}"#,
        r#"{"type":"response.create","model":" gpt-5-pro"}"#,
        "\u{feff}{\"type\":\"response.create\"}",
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{"type":"ping""#,
    ] {
        assert!(asked(&responses(), message).is_ambiguous, "{message}");
    }
    let wide: Vec<u8> = r#"{"type":"response.create"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let came = hold(&realtime(), 1 << 20, [&frame(0x82, &wide)[..]]);
    assert!(came.asks[0].ends_with("true"), "JSON readers know UTF-16 by its first bytes");
    assert!(asked(&realtime(), r#"{"Type":"response.create"}"#).is_create);
    for message in [
        r#"{"type":"response.create"}"#,
        r#"{"type":"response.create","response":{"instructions":"\"type\":\"session.update\""}}"#,
        r#"{"type":"conversation.item.create","item":{"type":"message","model":"a"}}"#,
        r#"{"type":"session.update","session":{"type":"realtime","model":"gpt-realtime"}}"#,
    ] {
        assert!(!asked(&realtime(), message).is_ambiguous, "{message}");
    }
}

#[test]
fn a_bound_that_is_none_bounds_nothing() {
    for bound in [r#""inf""#, "null", "0", "-1", "1e99", "[5]"] {
        let ask =
            asked(&realtime(), &format!(r#"{{"type":"response.create","response":{{"max_output_tokens":{bound}}}}}"#));
        assert_eq!(ask.facts.max_output_tokens, None, "{bound}");
    }
    let ask = asked(&realtime(), r#"{"type":"session.update","session":{"max_output_tokens":"inf","model":"m"}}"#);
    assert!(ask.changes_bound && ask.is_update && !ask.is_create);
    assert_eq!(ask.session_model.as_deref(), Some("m"));
}

#[test]
fn a_clamp_changes_one_span_and_nothing_else() {
    let clamped = |call: &Call, written: Vec<u8>, limit| {
        let mut hold = SocketHold::new(call, LIMIT);
        let (_, Some(Held::Message(mut message))) = hold.push(&written).expect("frames") else { panic!("a message") };
        let before = message.frames.clone();
        message
            .clamp(call, limit)
            .map(|()| (before == message.frames, String::from_utf8(payload(&message.frames).1).unwrap()))
    };
    let flat = r#"{ "type":"response.create", "model":"gpt-5","max_output_tokens" : 900 ,"input":"é" }"#;
    assert_eq!(clamped(&responses(), text(flat), 1000), Ok((true, flat.to_owned())));
    assert_eq!(clamped(&responses(), text(flat), 50), Ok((false, flat.replace("900", "50"))));
    let wrapped = r#"{"type":"response.create","response":{"instructions":"x"}}"#;
    let edited = r#"{"type":"response.create","response":{"instructions":"x","max_output_tokens":50}}"#;
    assert_eq!(clamped(&realtime(), text(wrapped), 50), Ok((false, edited.to_owned())));
    assert_eq!(clamped(&responses(), text(wrapped), 50), Ok((false, edited.to_owned())));
    // In fragments, and binary.
    let (one, two) = flat.as_bytes().split_at(60);
    let fragments = [frame(0x02, one), frame(0x80, two)].concat();
    assert_eq!(clamped(&responses(), fragments, 50), Ok((false, flat.replace("900", "50"))));
    clamped(&responses(), text(r#"{"type":"response.create","max_output_tokens":9,"max_output_tokens":900}"#), 50)
        .expect_err("it says two things");
}

#[test]
fn control_frames_overtake_a_message_in_fragments() {
    let call = realtime();
    let message = [frame(0x01, b"{\"type\":"), frame(0x00, b""), frame(0x80, b"\"x\"}")];
    let written =
        [&message[0][..], &frame(0x89, b"p"), &message[1], &frame(0x8a, b""), &message[2], &frame(0x88, &[3, 232])];
    let came = hold(&call, LIMIT, written);
    assert_eq!(came.messages, [message.concat()]);
    assert_eq!(came.control, [frame(0x89, b"p"), frame(0x8a, b""), frame(0x88, &[3, 232])].concat());
    assert_eq!(came.stopped, None);
}

#[test]
fn nothing_is_passed_on_after_a_close() {
    let written = [frame(0x88, &[3, 232]), text(r#"{"type":"response.create"}"#), vec![0xff; 100]].concat();
    let came = hold(&realtime(), LIMIT, [&written[..]]);
    assert_eq!((came.control, came.messages.len(), came.stopped), (frame(0x88, &[3, 232]), 0, None));
}

#[test]
fn what_breaks_the_protocol_is_not_passed_on() {
    let create = br#"{"type":"response.create"}"#;
    let unmasked = words::frame(TEXT, None, create);
    for (what, written) in [
        ("not masked", unmasked),
        ("compressed", frame(0xc1, create)),
        ("a reserved bit", frame(0xa1, create)),
        ("a reserved opcode", frame(0x83, create)),
        ("a fragment of nothing", frame(0x80, create)),
        ("a message in a message", [frame(0x01, b"{"), text("{}")].concat()),
        ("a long ping", frame(0x89, &[b'x'; 126])),
        ("a ping in fragments", frame(0x09, b"x")),
        ("a length of 64 bits", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ] {
        let came = hold(&realtime(), LIMIT, [&written[..]]);
        assert_eq!((came.messages.len(), came.stopped), (0, Some(Unmetered::Framing)), "{what}");
    }
}

#[test]
fn a_message_that_is_too_large_is_swallowed_and_the_next_one_is_not() {
    let next = text(r#"{"type":"response.create"}"#);
    let large = vec![b'x'; 300];
    for first in [
        frame(0x82, &large),
        [frame(0x01, &large[..150]), frame(0x89, b""), frame(0x80, &large[..150])].concat(),
        // Nothing of it has to come for that to be known.
        [&[0x81, 0xfe, 0xff, 0xff, 1, 2, 3, 4][..], &vec![0; 0xffff]].concat(),
    ] {
        let came = hold(&responses(), 256, [&first[..], &next]);
        assert_eq!((came.too_large, came.stopped), (1, None));
        assert_eq!(came.messages, std::slice::from_ref(&next));
    }
}

/// A client's frames: messages in fragments with control frames between them, and what is none.
fn written() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let message = prop_oneof![
        Just(r#"{"type":"response.create","model":"gpt-5","input":"hi"}"#.to_owned()),
        Just(
            r#"{"type":"response.create","response":{"max_output_tokens":"inf","model":"m"},"event_id":"e"}"#
                .to_owned()
        ),
        Just(r#"{"type":"session.update","session":{"model":"m"}}"#.to_owned()),
        "[ -~]{0,40}",
        "\\PC{0,300}",
    ];
    let sized = (message, prop::collection::vec(any::<u8>(), 0..4), any::<[u8; 4]>());
    let frames = sized.prop_map(|(message, pings, mask)| {
        let pieces: Vec<&[u8]> = if message.is_empty() {
            vec![&[]]
        } else {
            message.as_bytes().chunks(message.len().div_ceil(pings.len() + 1)).collect()
        };
        let mut frames = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { TEXT } else { CONTINUATION };
            let mut frame = words::frame(opcode, Some(mask), piece);
            if index + 1 < pieces.len() {
                frame[0] &= 0x7f;
            }
            frames.push(frame);
            if index < pings.len() {
                let opcode = if pings[index] & 1 == 0 { PING } else { PONG };
                frames.push(words::frame(opcode, Some(mask), &[pings[index]]));
            }
        }
        frames
    });
    prop::collection::vec(frames, 0..6).prop_map(|messages| messages.concat())
}

fn is_control(frame: &[u8]) -> bool {
    frame[0] & 0x08 != 0
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_is_held_and_every_byte_comes_out(frames in written(), sizes in prop::collection::vec(1_usize..40, 1..20)) {
        let bytes = frames.concat();
        let whole = hold(&responses(), LIMIT, [&bytes[..]]);
        let (mut rest, mut pieces, mut sizes) = (&bytes[..], Vec::new(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(&hold(&responses(), LIMIT, pieces), &whole);
        let (control, data): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| is_control(frame));
        prop_assert_eq!(whole.control, control.concat());
        prop_assert_eq!(whole.messages.concat(), data.concat());
        prop_assert_eq!(whole.stopped, None);
    }

    #[test]
    fn any_bytes_do_no_harm_and_memory_is_bounded(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let whole = hold(&realtime(), 64, [&bytes[..]]);
        prop_assert!(whole.messages.iter().all(|message| message.len() <= 64));
        prop_assert_eq!(hold(&realtime(), 64, bytes.chunks(size)), whole);
    }

    #[test]
    fn gaps_are_between_a_servers_messages_however_they_are_cut(frames in written(), size in 1_usize..50) {
        // A server does not mask.
        let frames: Vec<_> = frames.iter().map(|frame| {
            let mut head = Head::default();
            head.push(frame);
            let read = head.end(Sender::Client).unwrap().unwrap();
            let mut server = words::frame(read.opcode, None, &vec![0; read.length as usize]);
            server[0] = frame[0];
            server
        }).collect();
        let bytes = frames.concat();
        let (mut expected, mut at, mut in_message) = (Vec::new(), 0, false);
        for frame in &frames {
            at += frame.len();
            if !is_control(frame) { in_message = frame[0] & 0x80 == 0; }
            if !in_message { expected.push(at); }
        }
        let (mut gaps, mut found, mut at) = (SocketGaps::default(), Vec::new(), 0);
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() {
                let used = gaps.push(piece).unwrap();
                at += used;
                piece = &piece[used..];
                if gaps.is_gap() { found.push(at); }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
