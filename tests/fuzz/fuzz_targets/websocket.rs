//! A WebSocket says the same however it is cut, compressed or not, and each turn that begins ends once.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tollgate_llm::{Catalogue, Sender, SocketEvent, SocketMeter, Unmetered, identify};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::builtin);

const EXTENSIONS: [Option<&str>; 3] = [
    None,
    Some("permessage-deflate"),
    Some("permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
];

/// Input: a byte that chooses API and extension, then pieces of the session: a byte for who speaks and a length, and the bytes.
fn pieces(mut bytes: &[u8]) -> Vec<(Sender, &[u8])> {
    let mut pieces = Vec::new();
    while let [head, rest @ ..] = bytes {
        let sender = if head & 0x80 == 0 { Sender::Client } else { Sender::Server };
        // The longest length is the rest of it all.
        let length = if head & 0x7f == 0x7f { rest.len() } else { usize::from(head & 0x7f).min(rest.len()) };
        let (piece, rest) = rest.split_at(length);
        pieces.push((sender, piece));
        bytes = rest;
    }
    pieces
}

fn run(choice: u8, pieces: &[(Sender, &[u8])], size: usize) -> (String, String, Option<Unmetered>) {
    let provider = CATALOGUE.find("api.openai.com").expect("built in");
    let path = if choice & 1 == 0 { "/v1/realtime?model=gpt-realtime" } else { "/v1/responses" };
    let call = identify(provider, &http::Method::GET, path);
    let extensions = EXTENSIONS[usize::from(choice >> 1) % EXTENSIONS.len()];
    let mut meter = SocketMeter::new(&call, extensions).expect("it can be followed");
    let (mut open, mut events) = (HashSet::new(), Vec::new());
    for &(sender, piece) in pieces {
        for part in piece.chunks(size.max(1)) {
            meter.push(sender, part);
            for event in meter.events() {
                // The samples of text for estimates have a target of their own.
                let told = match &event {
                    SocketEvent::Ended { turn, end } => format!("{turn}: {:?}", end.facts),
                    event => format!("{event:?}"),
                };
                match event {
                    SocketEvent::Began { turn, .. } => assert!(open.insert(turn)),
                    SocketEvent::Answered { turn, .. } => assert!(open.contains(&turn)),
                    SocketEvent::Ended { turn, .. } => assert!(open.remove(&turn)),
                }
                assert!(open.len() <= 64);
                events.push(told);
            }
        }
    }
    let remains = meter.finish();
    assert_eq!(remains.open.iter().map(|(turn, _)| *turn).collect::<HashSet<_>>(), open);
    let facts: Vec<_> = remains.open.iter().map(|(turn, end)| (turn, &end.facts)).collect();
    (format!("{events:?}"), format!("{facts:?}"), remains.unmetered)
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, rest @ ..] = bytes else { return };
    let pieces = pieces(rest);
    let (events, remains, unmetered) = run(*choice, &pieces, usize::MAX);
    for size in [1, 2, 7] {
        let cut = run(*choice, &pieces, size);
        // How dense a message is shows to the piece, not to the byte.
        if [unmetered, cut.2].contains(&Some(Unmetered::TooDense)) {
            continue;
        }
        assert_eq!((&cut.0, cut.2), (&events, unmetered), "in pieces of {size}");
        // What a damaged message began with may or may not be seen.
        assert!(unmetered == Some(Unmetered::CorruptCoding) || cut.1 == remains, "in pieces of {size}");
    }
});
