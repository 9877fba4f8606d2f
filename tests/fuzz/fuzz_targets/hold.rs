//! What a client says on a WebSocket is held the same however it is cut, comes out byte for byte, and is read as the meter reads it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{
    Call, Catalogue, Held, Sender, SocketEvent, SocketGaps, SocketHold, SocketMeter, Unmetered, identify,
};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::builtin);

/// Small, so that it is reached.
const LIMIT: usize = 200;

#[derive(Debug, Default, PartialEq)]
struct Came {
    control: Vec<u8>,
    messages: Vec<Vec<u8>>,
    asks: Vec<String>,
    too_large: usize,
    stopped: Option<Unmetered>,
}

fn run(call: &Call, bytes: &[u8], size: usize) -> Came {
    let mut meter = SocketMeter::new(call, None).expect("it can be followed");
    let (mut hold, mut came) = (SocketHold::new(call, LIMIT), Came::default());
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            let (used, held) = match hold.push(piece) {
                Ok(pushed) => pushed,
                Err(reason) => {
                    came.stopped = Some(reason);
                    return came;
                }
            };
            assert!(used > 0);
            piece = &piece[used..];
            match held {
                None => {}
                Some(Held::TooLarge) => came.too_large += 1,
                Some(Held::Control(frame)) => {
                    meter.push(Sender::Client, &frame);
                    assert_eq!(meter.events().count(), 0);
                    came.control.extend(frame);
                }
                Some(Held::Message(mut message)) => {
                    assert!(message.frames.len() <= LIMIT);
                    meter.push(Sender::Client, &message.frames);
                    let begun = meter.events().filter(|event| matches!(event, SocketEvent::Began { .. })).count();
                    // What is not clear is not passed on.
                    let ask = &message.ask;
                    assert!(ask.is_ambiguous || begun == usize::from(ask.is_create), "{begun}");
                    assert_eq!(meter.stopped(), None);
                    came.asks.push(format!("{} {} {:?}", ask.is_create, ask.is_ambiguous, ask.facts));
                    came.messages.push(message.frames.clone());
                    if message.clamp(call, 50).is_ok() {
                        let mut again = SocketHold::new(call, 2 * LIMIT);
                        assert!(matches!(again.push(&message.frames), Ok((_, Some(Held::Message(_))))));
                    }
                }
            }
        }
    }
    came
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, rest @ ..] = bytes else { return };
    let provider = CATALOGUE.find("api.openai.com").expect("built in");
    let path = if choice & 1 == 0 { "/v1/realtime?model=gpt-realtime" } else { "/v1/responses" };
    let call = identify(provider, &http::Method::GET, path);
    let whole = run(&call, rest, usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(run(&call, rest, size), whole, "in pieces of {size}");
    }
    let (mut gaps, mut at) = (SocketGaps::default(), 0);
    while at < rest.len() {
        match gaps.push(&rest[at..]) {
            Ok(used) => at += used,
            Err(_) => break,
        }
    }
});
