use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Log {
    events: Vec<Vec<u8>>,
    open: Option<Vec<u8>>,
    whole: usize,
}

impl Events for Log {
    fn event(&mut self, data: &[u8]) {
        assert!(self.open.is_none(), "a whole event cannot stand inside another");
        self.events.push(data.to_vec());
        self.whole += 1;
    }
    fn part(&mut self, data: &[u8]) {
        self.open.get_or_insert_default().extend_from_slice(data);
    }
    fn end(&mut self) {
        self.events.push(self.open.take().unwrap_or_default());
    }
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Log {
    let mut parser = Parser::default();
    let mut log = Log::default();
    for piece in pieces {
        parser.push(piece, &mut log);
    }
    parser.finish(&mut log);
    assert!(log.open.is_none());
    log
}

fn events(stream: &str) -> Vec<String> {
    let whole = parse([stream.as_bytes()]).events;
    assert_eq!(parse(stream.as_bytes().chunks(1)).events, whole, "byte by byte: {stream:?}");
    for cut in 0..stream.len() {
        let (a, b) = stream.as_bytes().split_at(cut);
        assert_eq!(parse([a, b]).events, whole, "cut at {cut}: {stream:?}");
    }
    whole.into_iter().map(|event| String::from_utf8(event).unwrap()).collect()
}

#[test]
fn the_standards_own_examples() {
    assert_eq!(events("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    assert_eq!(
        events(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
        ["first event", "second event", " third event"]
    );
    assert_eq!(events("data:test\n\ndata: test\n\n"), ["test", "test"]);
}

#[test]
fn all_line_ends_count() {
    assert_eq!(events("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n"), ["a", "b", "c", "d"]);
    assert_eq!(events("data: a\r\ndata: b\r\n\r\n"), ["a\nb"]);
}

#[test]
fn comments_marks_and_other_fields_are_left_out() {
    assert_eq!(events("\u{feff}data: a\n\n: ping\n\nevent: x\nretry: 1\ndatas: no\n data: no\nDATA: no\n\n"), ["a"]);
    assert_eq!(events("\u{feff}\u{feff}data: a\n\n"), [""; 0], "a second mark belongs to the name of the field");
}

#[test]
fn an_event_without_its_blank_line_counts() {
    assert_eq!(events("data: a\n\ndata: b"), ["a", "b"]);
    assert_eq!(events("data: a\n\ndata: b\n"), ["a", "b"]);
    assert_eq!(events("data: a\n\nevent: b\n"), ["a"]);
}

#[test]
fn empty_data_is_kept() {
    assert_eq!(events("data\n\ndata:\n\ndata\ndata\n\ndata"), ["", "", "\n", ""]);
}

#[test]
fn events_that_arrive_whole_are_reported_without_parts() {
    let log = parse([b"event: x\ndata: {}\n\ndata: {}\r\n\r\n: c\n\ndata: {}\n\n".as_slice()]);
    assert_eq!((log.whole, log.events.len()), (3, 3));
}

/// The rules of the standard, followed to the letter over the whole text. It differs in one point on purpose: the last
/// event needs no blank line.
fn reference(stream: &[u8]) -> Vec<Vec<u8>> {
    let stream = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            _ => lines.last_mut().unwrap().push(byte),
        }
    }
    let mut events = Vec::new();
    let mut data: Option<Vec<u8>> = None;
    for line in lines {
        if line.is_empty() {
            events.extend(data.take());
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            }
        }
    }
    events.extend(data);
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_the_standard_at_every_cut(
        tokens in prop::collection::vec(prop::sample::select(&[
            "data", "data", "data", "\n", "\n", "\n", "\r\n", "\r", ":", ": ", "{\"a\":1}", "event", " ", "d", "\u{feff}", "é",
        ][..]), 0..24),
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let stream = tokens.concat().into_bytes();
        let expected = reference(&stream);
        prop_assert_eq!(&parse([&stream[..]]).events, &expected);
        prop_assert_eq!(&parse(stream.chunks(1)).events, &expected);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&parse(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]])).events, &expected);
    }
}
