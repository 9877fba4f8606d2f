use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use http::Method;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{self, WebSocket, protocol::Role};

use super::*;
use crate::{Catalogue, Usage, UsageSource, estimate_roughly, failure::ErrorKind, identify};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pack {
    Plain,
    /// permessage-deflate, each message alone or not.
    Deflate {
        takeover: bool,
    },
}

const PACKS: [Pack; 3] = [Pack::Plain, Pack::Deflate { takeover: true }, Pack::Deflate { takeover: false }];

impl Pack {
    fn extensions(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Deflate { takeover: true } => Some("permessage-deflate"),
            Self::Deflate { takeover: false } => {
                Some("permessage-deflate; client_no_context_takeover; server_no_context_takeover")
            }
        }
    }
}

/// Writes frames as an endpoint would.
struct Encoder {
    from: Sender,
    pack: Pack,
    compress: Compress,
}

impl Encoder {
    fn new(from: Sender, pack: Pack) -> Self {
        Self { from, pack, compress: Compress::new(Compression::default(), false) }
    }

    fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        frame(first, (self.from == Sender::Client).then_some(MASK), payload)
    }

    fn deflate(&mut self, text: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1000);
        self.compress.compress_vec(text, &mut out, flush).unwrap();
        out
    }

    /// A message in fragments of `size`, with a ping between them.
    fn message(&mut self, text: &str, size: usize) -> Vec<u8> {
        let (payload, compressed) = match self.pack {
            Pack::Plain => (text.as_bytes().to_vec(), 0),
            Pack::Deflate { takeover } => {
                let mut payload = self.deflate(text.as_bytes(), FlushCompress::Sync);
                assert!(payload.ends_with(&[0, 0, 0xff, 0xff]));
                payload.truncate(payload.len() - 4);
                if !takeover {
                    self.compress.reset();
                }
                (payload, 0x40)
            }
        };
        let mut bytes = Vec::new();
        let pieces: Vec<_> = payload.chunks(size).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { compressed | 0x1 } else { 0 };
            let last = if index + 1 == pieces.len() { 0x80 } else { 0 };
            bytes.extend(self.frame(last | opcode, piece));
            bytes.extend(self.frame(0x89, b"ping"));
        }
        bytes
    }
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = u8::from(mask.is_some()) << 7;
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..=125 => bytes.push(masked | length as u8),
        length @ ..=0xffff => {
            bytes.push(masked | 0x7e);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 0x7f);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask.map_or(0, |mask| mask[at % 4])));
    bytes
}

#[derive(Default, Debug, PartialEq)]
struct Log {
    messages: Vec<Vec<u8>>,
    open: Vec<u8>,
    largest: usize,
}

impl Messages for Log {
    fn part(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.largest = self.largest.max(bytes.len());
    }

    fn end(&mut self) {
        self.messages.push(std::mem::take(&mut self.open));
    }
}

fn read<'a>(from: Sender, pack: Pack, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Log, Option<Stop>) {
    let deflate = Deflate::agreed(pack.extensions().unwrap_or_default()).unwrap();
    let mut frames = Frames::new(from, deflate.map(|deflate| deflate.inflate(from)));
    let mut log = Log::default();
    let stop = pieces.into_iter().find_map(|piece| frames.push(piece, &mut log).err());
    log.largest = 0;
    (log, stop)
}

fn call(target: &str) -> Call {
    let provider = Arc::clone(Catalogue::builtin().find("api.openai.com").unwrap());
    identify(&provider, &Method::GET, target)
}

const REALTIME: &str = "/v1/realtime?model=gpt-realtime";
const RESPONSES: &str = "/v1/responses";

/// A session: what each side says, in turns.
struct Session {
    meter: SocketMeter,
    client: Encoder,
    server: Encoder,
    size: usize,
    events: Vec<SocketEvent>,
}

impl Session {
    fn new(target: &str, pack: Pack, size: usize) -> Self {
        let meter = SocketMeter::new(&call(target), pack.extensions()).unwrap();
        let (client, server) = (Encoder::new(Sender::Client, pack), Encoder::new(Sender::Server, pack));
        Self { meter, client, server, size, events: Vec::new() }
    }

    fn client(&mut self, text: &str) -> &mut Self {
        let bytes = self.client.message(text, 50);
        self.push(Sender::Client, &bytes)
    }

    fn server(&mut self, text: &str) -> &mut Self {
        let bytes = self.server.message(text, 50);
        self.push(Sender::Server, &bytes)
    }

    fn push(&mut self, sender: Sender, bytes: &[u8]) -> &mut Self {
        for piece in bytes.chunks(self.size) {
            self.meter.push(sender, piece);
            self.events.extend(self.meter.events());
        }
        self
    }

    /// The ends of turns so far.
    fn ended(&self) -> Vec<(u64, &ResponseFacts)> {
        let ended = |event| match event {
            &SocketEvent::Ended { turn, ref end } => Some((turn, &end.facts)),
            _ => None,
        };
        self.events.iter().filter_map(ended).collect()
    }

    fn began(&self) -> Vec<(u64, Operation, Option<&str>)> {
        let began = |event| match event {
            &SocketEvent::Began { turn, operation, ref model } => Some((turn, operation, model.as_deref())),
            _ => None,
        };
        self.events.iter().filter_map(began).collect()
    }
}

const SESSION: &str = r#"{"type":"session.created","event_id":"e1","session":{"type":"realtime","object":"realtime.session","id":"sess_1","model":"gpt-realtime-2025-08-28","audio":{"input":{"transcription":{"model":"gpt-4o-transcribe"}}}}}"#;

fn created(id: &str) -> String {
    format!(
        r#"{{"type":"response.created","event_id":"e2","response":{{"object":"realtime.response","id":"{id}","status":"in_progress","status_details":null,"output":[],"usage":null}}}}"#
    )
}

fn delta(id: &str) -> String {
    format!(
        r#"{{"type":"response.output_audio.delta","event_id":"e3","response_id":"{id}","item_id":"item_1","output_index":0,"content_index":0,"delta":"{}"}}"#,
        "UklGRiQAAABX".repeat(20)
    )
}

fn done(id: &str, output: u64) -> String {
    format!(
        r#"{{"type":"response.done","event_id":"e4","response":{{"object":"realtime.response","id":"{id}","status":"completed","status_details":null,"output":[{{"id":"item_1","type":"message","content":[{{"type":"output_audio","transcript":"say \"usage\":{{\"input_tokens\":9}}"}}]}}],"usage":{{"total_tokens":{},"input_tokens":132,"output_tokens":{output},"input_token_details":{{"text_tokens":119,"audio_tokens":10,"image_tokens":3,"cached_tokens":64,"cached_tokens_details":{{"text_tokens":58,"audio_tokens":4,"image_tokens":2}}}},"output_token_details":{{"text_tokens":30,"audio_tokens":91}}}}}}}}"#,
        132 + output
    )
}

fn realtime_usage(output: u64) -> Usage {
    Usage {
        input: 132,
        output,
        cache_read: 64,
        cache_read_audio: 4,
        cache_read_image: 2,
        input_audio: 10,
        input_image: 3,
        output_audio: 91,
        ..Usage::default()
    }
}

fn stream(id: &str, input: u64) -> [String; 4] {
    let response = |status: &str, usage: &str| {
        format!(r#"{{"id":"{id}","object":"response","status":"{status}","model":"gpt-5-2025-08-07","usage":{usage}}}"#)
    };
    let usage = format!(
        r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":7}},"output_tokens":30,"output_tokens_details":{{"reasoning_tokens":20}},"total_tokens":{}}}"#,
        input + 30
    );
    [
        format!(r#"{{"type":"response.created","response":{},"sequence_number":0}}"#, response("in_progress", "null")),
        format!(
            r#"{{"type":"response.in_progress","response":{},"sequence_number":1}}"#,
            response("in_progress", "null")
        ),
        r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hi","sequence_number":2}"#.to_owned(),
        format!(
            "{{\"type\":\"response.completed\",\r\n\"response\":{},\"sequence_number\":3}}",
            response("completed", &usage)
        ),
    ]
}

#[test]
fn realtime_responses_are_counted_each_by_itself() {
    for pack in PACKS {
        let mut session = Session::new(REALTIME, pack, usize::MAX);
        session.server(SESSION);
        for (id, output) in [("resp_1", 121), ("resp_2", 7)] {
            session.client(r#"{"type":"input_audio_buffer.append","audio":"UklGRg=="}"#);
            session.client(r#"{"response":{"instructions":"\"type\":\"x\""},"type":"response.create"}"#);
            session.server(&created(id)).server(&delta(id)).server(&delta(id)).server(&done(id, output));
        }
        let (asked, model) = (Some("gpt-realtime"), Some("gpt-realtime-2025-08-28"));
        assert_eq!(session.began(), [(0, Operation::Realtime, asked), (1, Operation::Realtime, asked)]);
        let ended = session.ended();
        assert_eq!(ended.len(), 2);
        for ((turn, facts), output) in ended.into_iter().zip([121, 7]) {
            assert_eq!(facts.usage, Some(realtime_usage(output)), "{turn}");
            assert_eq!((facts.source, facts.error, facts.model.as_deref()), (UsageSource::Provider, None, model));
        }
        let answers: Vec<_> =
            session.events.iter().filter(|event| matches!(event, SocketEvent::Answered { turn: 0, .. })).collect();
        assert_eq!(answers.len(), 2, "the first word, and the first sound: {answers:?}");
        let remains = session.meter.finish();
        assert!(remains.open.is_empty() && remains.unmetered.is_none(), "{remains:?}");
    }
}

#[test]
fn responses_that_nobody_asked_for_are_counted_too() {
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    session.server(&created("resp_1")).server(&delta("resp_1")).server(&done("resp_1", 5));
    session.server(&done("resp_late", 6));
    assert_eq!(
        session.began(),
        [(0, Operation::Realtime, Some("gpt-realtime")), (1, Operation::Realtime, Some("gpt-realtime"))]
    );
    assert_eq!(session.ended()[1].1.usage, Some(realtime_usage(6)));
}

#[test]
fn overlapping_realtime_responses_keep_their_numbers_apart() {
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    for _ in 0..2 {
        session.client(r#"{"type":"response.create","response":{"conversation":"none"}}"#);
    }
    session.server(&created("a")).server(&created("b"));
    session.server(&done("b", 2)).server(&done("a", 1));
    let outputs: Vec<_> = session.ended().iter().map(|(turn, facts)| (*turn, facts.usage.unwrap().output)).collect();
    assert_eq!(outputs, [(1, 2), (0, 1)]);
}

#[test]
fn transcriptions_are_counted_by_tokens_or_by_length() {
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    let item = |kind: &str, rest: &str| {
        format!(
            r#"{{"type":"conversation.item.input_audio_transcription.{kind}","event_id":"e","item_id":"item_9","content_index":0{rest}}}"#
        )
    };
    session.server(SESSION);
    session.server(&item("delta", r#","delta":"Hel""#)).server(&item("delta", r#","delta":"lo""#));
    session.server(&item("completed", r#","transcript":"Hello","usage":{"type":"tokens","total_tokens":48,"input_tokens":38,"input_token_details":{"text_tokens":10,"audio_tokens":28},"output_tokens":10}"#));
    session.server(&item("completed", r#","transcript":"Hi","usage":{"type":"duration","seconds":3.25}"#));
    session.server(&item("failed", r#","error":{"type":"transcription_error","code":"audio_unintelligible"}"#));
    let model = Some("gpt-4o-transcribe");
    let transcription = |turn| (turn, Operation::Transcription, model);
    assert_eq!(session.began(), [transcription(0), transcription(1), transcription(2)]);
    let ended = session.ended();
    assert_eq!(ended[0].1.usage, Some(Usage { input: 38, output: 10, input_audio: 28, ..Usage::default() }));
    assert_eq!(ended[1].1.usage, Some(Usage { audio_ms: 3250, ..Usage::default() }));
    assert_eq!((ended[2].1.usage, ended[2].1.error), (None, Some(ErrorKind::Other)));
}

#[test]
fn responses_over_a_websocket_are_counted_in_both_shapes_of_the_request() {
    for (pack, request) in [
        (Pack::Plain, r#"{"type":"response.create","model":"gpt-5","input":[{"role":"user","content":"hi"}]}"#),
        (Pack::Deflate { takeover: true }, r#"{"type":"response.create","response":{"model":"gpt-5","input":[]}}"#),
        (Pack::Deflate { takeover: false }, r#"{"input":"response.create","model":"gpt-5","type":"response.create"}"#),
    ] {
        let mut session = Session::new(RESPONSES, pack, usize::MAX);
        for (id, input) in [("resp_1", 36), ("resp_2", 360)] {
            session.client(request);
            for event in stream(id, input) {
                session.server(&event);
            }
        }
        assert_eq!(session.began(), [(0, Operation::Chat, Some("gpt-5")), (1, Operation::Chat, Some("gpt-5"))]);
        for ((turn, facts), input) in session.ended().into_iter().zip([36, 360]) {
            let usage = Usage { input, output: 30, cache_read: 7, reasoning: 20, ..Usage::default() };
            assert_eq!((facts.usage, facts.source), (Some(usage), UsageSource::Provider), "{turn}");
            assert_eq!((facts.model.as_deref(), facts.error), (Some("gpt-5-2025-08-07"), None));
        }
        assert_eq!(session.ended().len(), 2);
    }
}

#[test]
fn a_response_ends_by_each_of_its_ends_and_by_an_error() {
    let usage = r#""usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}"#;
    let mut session = Session::new(RESPONSES, Pack::Plain, usize::MAX);
    let mut turn = |messages: &[&str]| {
        session.client(r#"{"type":"response.create","model":"gpt-5"}"#);
        for message in messages {
            session.server(message);
        }
    };
    turn(&[&format!(r#"{{"type":"response.incomplete","response":{{"id":"a",{usage}}}}}"#)]);
    let error = r#""error":{"code":"server_error","message":"m"}"#;
    turn(&[&format!(r#"{{"type":"response.failed","response":{{"id":"b",{error},{usage}}}}}"#)]);
    let refused = r#"{"type":"error","status":400,"error":{"type":"invalid_request_error","code":"previous_response_not_found","message":"m"}}"#;
    turn(&[refused]);
    let limit =
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"rate_limit_exceeded","message":"m"}}"#;
    let begun = r#"{"type":"response.created","response":{"id":"c"}}"#;
    turn(&[begun, limit]);
    // An error in the middle is the end, though nothing else says so.
    turn(&[begun, limit, &format!(r#"{{"type":"response.failed","response":{{"id":"c",{usage}}}}}"#)]);
    let ended: Vec<_> =
        session.ended().iter().map(|(turn, facts)| (*turn, facts.usage.is_some(), facts.error)).collect();
    assert_eq!(
        ended,
        [
            (0, true, None),
            (1, true, Some(ErrorKind::ServerError)),
            (2, false, Some(ErrorKind::InvalidRequest)),
            (3, false, Some(ErrorKind::RateLimited)),
            (4, true, Some(ErrorKind::RateLimited)),
        ]
    );
}

#[test]
fn realtime_errors_end_the_turn_they_are_about_and_no_other() {
    let error = |event: &str, code: &str| {
        format!(
            r#"{{"type":"error","event_id":"e","error":{{"type":"invalid_request_error","code":"{code}","message":"m","event_id":{event}}}}}"#
        )
    };
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    session.client(r#"{"type":"response.create","event_id":"mine"}"#);
    session.server(&error(r#""other""#, "unknown_parameter"));
    assert!(session.ended().is_empty(), "it was about another request");
    session.server(&error("null", "unknown_parameter"));
    session.server(&created("a")).server(&done("a", 1));
    assert_eq!(session.ended()[0].1.error, None, "it went on");
    session.client(r#"{"type":"response.create","event_id":"mine"}"#);
    session.server(&error(r#""mine""#, "conversation_already_has_active_response"));
    assert_eq!(session.ended()[1].1.error, Some(ErrorKind::InvalidRequest));
    session.client(r#"{"type":"response.create"}"#).server(&error("null", "rate_limit_exceeded"));
    assert_eq!(session.ended().len(), 2, "it may still go on");
    session.client(r#"{"type":"response.create"}"#);
    assert_eq!(session.ended()[2].1.error, Some(ErrorKind::RateLimited));
    let failed = r#"{"type":"response.done","response":{"id":"d","status":"failed","status_details":{"type":"failed","error":{"type":"insufficient_quota","code":null}},"usage":null}}"#;
    session.server(failed);
    assert_eq!(session.ended()[3].1.error, Some(ErrorKind::QuotaExceeded));
}

#[test]
fn what_is_open_when_the_connection_goes_is_told() {
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    session.client(r#"{"type":"response.create"}"#).server(&created("a")).client(r#"{"type":"response.create"}"#);
    let close = frame(0x88, None, &1001_u16.to_be_bytes());
    session.push(Sender::Server, &close);
    assert!(!session.meter.is_closed());
    session.push(Sender::Client, &frame(0x88, Some(MASK), b""));
    assert!(session.meter.is_closed());
    assert_eq!(session.meter.closed_by(), Some(Sender::Server));
    let remains = session.meter.finish();
    assert_eq!(remains.open.iter().map(|(turn, _)| *turn).collect::<Vec<_>>(), [0, 1]);
    assert!(remains.open.iter().all(|(_, end)| end.facts.usage.is_none()) && remains.unmetered.is_none());
}

#[test]
fn what_a_response_that_was_cut_off_left_unsaid_can_be_estimated() {
    let mut session = Session::new(RESPONSES, Pack::Deflate { takeover: true }, 7);
    let question = "What is the toll at the gate, and who keeps it? ".repeat(8);
    session.client(&format!(r#"{{"type":"response.create","model":"gpt-5","input":"{question}"}}"#));
    for event in &stream("a", 12)[..3] {
        session.server(event);
    }
    let remains = session.meter.finish();
    let (0, end) = &remains.open[0] else { panic!("{remains:?}") };
    assert!(end.untold.input && end.untold.output, "{end:?}");
    assert!(estimate_roughly(&end.asked) > 60 && estimate_roughly(&end.untold.text) > 0, "{end:?}");
}

#[test]
fn open_turns_are_bounded() {
    let mut session = Session::new(REALTIME, Pack::Plain, usize::MAX);
    for _ in 0..1000 {
        session.client(r#"{"type":"response.create"}"#);
    }
    assert_eq!(session.began().len(), 1000);
    assert_eq!(session.ended().len() + session.meter.finish().open.len(), 1000, "each is told once");
}

#[test]
fn a_session_says_the_same_however_it_is_cut() {
    for (target, pack) in [REALTIME, RESPONSES].into_iter().flat_map(|target| PACKS.map(|pack| (target, pack))) {
        let run = |size| {
            let mut session = Session::new(target, pack, size);
            session.server(SESSION).client(r#"{"type":"response.create","model":"gpt-5"}"#);
            session.server(&created("a")).server(&delta("a")).server(&done("a", 3));
            session.client(r#"{"type":"response.create","model":"gpt-5"}"#);
            for event in &stream("b", 12)[..3] {
                session.server(event);
            }
            format!("{:#?}\n{:#?}", session.events, session.meter.finish())
        };
        let whole = run(usize::MAX);
        assert!(whole.contains("Ended"), "{whole}");
        for size in [1, 2, 3, 5, 16, 127] {
            assert_eq!(run(size), whole, "{target} by {size}");
        }
    }
}

#[test]
fn other_calls_and_unknown_extensions_are_not_followed() {
    let refusal = |target: &str, extensions| SocketMeter::new(&call(target), extensions).unwrap_err();
    assert_eq!(refusal("/v1/other", None), Unmetered::Operation);
    assert_eq!(refusal(REALTIME, Some("x-webkit-deflate-frame")), Unmetered::UnknownCoding);
    assert_eq!(refusal(REALTIME, Some("permessage-deflate; level=9")), Unmetered::UnknownCoding);
    assert_eq!(refusal(REALTIME, Some("permessage-deflate, permessage-deflate")), Unmetered::UnknownCoding);
    for known in [
        "",
        " , ",
        "permessage-deflate",
        "Permessage-Deflate ; server_max_window_bits=\"10\"; client_max_window_bits = 12",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits",
    ] {
        assert!(SocketMeter::new(&call(REALTIME), Some(known)).is_ok(), "{known}");
    }
}

#[test]
fn what_is_no_frame_stops_that_direction_alone() {
    let mask = Some(MASK);
    let long = [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    for bytes in [
        &frame(0x81, None, b"{}")[..],
        &frame(0x91, mask, b"{}"),
        &frame(0xa1, mask, b"{}"),
        &frame(0xc1, mask, b"{}"),
        &frame(0x83, mask, b"{}"),
        &frame(0x8b, mask, b"{}"),
        &frame(0x80, mask, b"{}"),
        &frame(0x09, mask, b"{}"),
        &frame(0x89, mask, &[0; 126]),
        &[frame(0x01, mask, b"{}"), frame(0x81, mask, b"{}")].concat(),
        &long,
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut session = Session::new(REALTIME, Pack::Plain, 1);
        session.push(Sender::Client, bytes).client(r#"{"type":"response.create"}"#);
        assert_eq!(session.began().len(), 0, "{bytes:?}");
        session.server(&done("a", 1));
        assert_eq!(session.ended()[0].1.usage, Some(realtime_usage(1)), "{bytes:?}");
        assert_eq!(session.meter.finish().unmetered, Some(Unmetered::Framing), "{bytes:?}");
    }
    let mut session = Session::new(REALTIME, Pack::Plain, 1);
    session.client(r#"{"type":"response.create"}"#).push(Sender::Server, &frame(0x81, mask, b"{}"));
    session.server(&done("a", 1)).client(r#"{"type":"response.create"}"#);
    let remains = session.meter.finish();
    assert_eq!((remains.open.len(), remains.unmetered), (1, Some(Unmetered::Framing)));
}

#[test]
fn nothing_counts_after_a_close() {
    let mut session = Session::new(REALTIME, Pack::Plain, 3);
    session.push(Sender::Client, &frame(0x88, Some(MASK), b"\x03\xe8bye")).client(r#"{"type":"response.create"}"#);
    session.push(Sender::Client, &[0xff; 100]);
    assert!(session.events.is_empty());
    assert_eq!(session.meter.closed_by(), Some(Sender::Client));
    assert_eq!(session.meter.finish().unmetered, None);
}

#[test]
fn a_stream_that_ends_with_each_message_is_inflated() {
    // RFC 7692, § 7.2.3.4: "Hello" in a final block, and the empty block that stands for what was left out.
    let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let bytes = [frame(0xc1, None, &hello), frame(0xc1, None, &hello[..7]), frame(0xc1, None, &hello)].concat();
    for size in [1, 3, bytes.len()] {
        let (log, stop) = read(Sender::Server, Pack::Deflate { takeover: true }, bytes.chunks(size));
        assert_eq!((log.messages, stop), (vec![b"Hello".to_vec(); 3], None));
    }
    // § 7.2.3.1 and .2: one message, and the same again out of the window.
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let bytes = [frame(0xc1, None, &first), frame(0xc1, None, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat();
    let (log, stop) = read(Sender::Server, Pack::Deflate { takeover: true }, [&bytes[..]]);
    assert_eq!((log.messages, stop), (vec![b"Hello".to_vec(); 2], None));
    // § 7.2.3.3: without compression. § 7.2.3.5: two blocks in one message.
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let bytes = [frame(0xc1, None, &stored), frame(0xc1, None, &two)].concat();
    let (log, stop) = read(Sender::Server, Pack::Deflate { takeover: true }, bytes.chunks(2));
    assert_eq!((log.messages, stop), (vec![b"Hello".to_vec(); 2], None));
}

#[test]
fn bombs_are_given_up_and_silence_is_not() {
    let mut encoder = Encoder::new(Sender::Server, Pack::Deflate { takeover: true });
    let bomb = encoder.message(&"A".repeat(16 << 20), usize::MAX);
    let (log, stop) = read(Sender::Server, encoder.pack, bomb.chunks(1000));
    assert_eq!(stop, Some(Stop::TooDense));
    assert!(log.open.len() < 5 << 20, "{}", log.open.len());
    let mut encoder = Encoder::new(Sender::Client, Pack::Deflate { takeover: true });
    let second = "A".repeat(64_000);
    for _ in 0..200 {
        let (log, stop) = read(Sender::Client, encoder.pack, [&encoder.message(&second, usize::MAX)[..]]);
        assert_eq!((log.messages.len(), stop), (1, None));
        encoder.compress.reset();
    }
}

#[test]
fn messages_come_in_bounded_pieces() {
    let text = "x".repeat(1 << 20);
    for (from, pack) in [(Sender::Client, Pack::Plain), (Sender::Server, Pack::Deflate { takeover: true })] {
        let bytes = Encoder::new(from, pack).message(&text, usize::MAX);
        let deflate = Deflate::agreed(pack.extensions().unwrap_or_default()).unwrap();
        let mut frames = Frames::new(from, deflate.map(|deflate| deflate.inflate(from)));
        let mut log = Log::default();
        frames.push(&bytes, &mut log).unwrap();
        assert_eq!((log.messages.len(), log.messages[0].len()), (1, text.len()));
        assert!(log.largest <= 4096, "{}", log.largest);
    }
}

/// Takes what tungstenite writes.
#[derive(Default)]
struct Written(Vec<u8>, Cursor<Vec<u8>>);

impl Read for Written {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1.read(into)
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn said() -> impl Strategy<Value = Vec<(String, usize)>> {
    prop::collection::vec(("[ -~äß世]{0,400}", 1..300_usize), 0..12)
}

proptest! {
    #[test]
    fn every_message_is_read_however_it_is_packed_and_cut(
        texts in said(), pack in prop::sample::select(&PACKS[..]), size in 1..500_usize, is_client in any::<bool>(),
    ) {
        let from = if is_client { Sender::Client } else { Sender::Server };
        let mut encoder = Encoder::new(from, pack);
        let texts: Vec<_> = texts.into_iter().filter(|(text, _)| !text.is_empty()).collect();
        let bytes: Vec<_> = texts.iter().flat_map(|(text, fragment)| encoder.message(text, *fragment)).collect();
        let (log, stop) = read(from, pack, bytes.chunks(size));
        prop_assert_eq!(stop, None);
        let expected: Vec<_> = texts.into_iter().map(|(text, _)| text.into_bytes()).collect();
        prop_assert_eq!(log.messages, expected);
    }

    #[test]
    fn what_tungstenite_writes_is_read(texts in said(), is_client in any::<bool>(), size in 1..500_usize) {
        use tungstenite::Message;
        let (from, role) =
            if is_client { (Sender::Client, Role::Client) } else { (Sender::Server, Role::Server) };
        let mut socket = WebSocket::from_raw_socket(Written::default(), role, None);
        for (text, length) in &texts {
            socket.send(Message::text(text.clone())).unwrap();
            socket.send(Message::Ping(vec![7; length % 126].into())).unwrap();
            socket.send(Message::binary(text.repeat(length % 200))).unwrap();
        }
        socket.close(None).unwrap();
        let (log, stop) = read(from, Pack::Plain, socket.get_ref().0.chunks(size));
        prop_assert_eq!(stop, None);
        let expected: Vec<_> =
            texts.iter().flat_map(|(text, length)| [text.clone(), text.repeat(length % 200)]).collect();
        prop_assert_eq!(log.messages, expected.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic_and_all_cuts_agree(
        bytes in prop::collection::vec(any::<u8>(), 0..300), pack in prop::sample::select(&PACKS[..]),
        flip in any::<(usize, u8)>(), is_client in any::<bool>(),
    ) {
        let from = if is_client { Sender::Client } else { Sender::Server };
        let mut broken = Encoder::new(from, pack).message(&done("a", 1), 40);
        let at = flip.0 % broken.len();
        broken[at] ^= flip.1;
        for bytes in [bytes, broken] {
            let (whole, stop) = read(from, pack, [&bytes[..]]);
            let (cut, cut_stop) = read(from, pack, bytes.chunks(1));
            prop_assert_eq!(whole.messages, cut.messages);
            prop_assert_eq!(stop, cut_stop);
        }
    }
}
