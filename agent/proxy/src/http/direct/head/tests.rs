use proptest::prelude::*;

use super::*;

const HOST: &str = "api.openai.com";

fn plain(text: &str) -> RequestHead {
    match request(text.as_bytes(), HOST) {
        Found::Head(head) => *head,
        Found::Part => panic!("only a part: {text:?}"),
        Found::Odd => panic!("odd: {text:?}"),
    }
}

fn is_odd(text: &str) -> bool {
    matches!(request(text.as_bytes(), HOST), Found::Odd)
}

#[test]
fn a_plain_request_is_taken_when_all_of_its_head_is_there() {
    let head = "POST /v1/chat/completions?a=b HTTP/1.1\r\nHOST: API.openai.com:443\r\nAuthorization: Bearer x\r\n\
        Content-Length: 12\r\nX-Stainless-OS: Linux\r\nTE: trailers\r\nConnection: keep-alive, TE\r\n\r\n";
    for cut in 0..head.len() {
        assert!(matches!(request(&head.as_bytes()[..cut], HOST), Found::Part), "{cut}");
    }
    let found = plain(&format!("{head}{{}}"));
    assert_eq!((found.length, found.content_length, found.closes), (head.len(), Some(12), false));
    assert_eq!((found.parts.method, found.parts.uri.query()), (Method::POST, Some("a=b")));
    assert_eq!(found.parts.headers.len(), 2, "only what is read is kept: {:?}", found.parts.headers);
    assert!(plain("GET / HTTP/1.1\r\nhost: api.openai.com\r\nconnection: close\r\n\r\n").closes);
}

#[test]
fn whatever_is_odd_is_left_to_others() {
    let lines = |lines: &str| format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{lines}\r\n");
    for odd in [
        "GET / HTTP/1.0\r\nhost: api.openai.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: api.openai.com\r\nhost: api.openai.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n".to_owned(),
        "GET https://api.openai.com/ HTTP/1.1\r\nhost: api.openai.com\r\n\r\n".to_owned(),
        "CONNECT api.openai.com:443 HTTP/1.1\r\nhost: api.openai.com\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nhost: api.openai.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nhost: api.openai.com\n\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nhost: api.openai.com\n\n".to_owned(),
        "\u{16}\u{3}\u{1} no request begins so".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        lines("a: b\nc: d\r\n"),
        lines("a: b\r c\r\n"),
        lines("a: b\r\n folded\r\n"),
        lines("a : b\r\n"),
        lines("content-length: 5\r\ncontent-length: 5\r\n"),
        lines("content-length: 5, 5\r\n"),
        lines("content-length: +5\r\n"),
        lines("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        lines("transfer-encoding: gzip, chunked\r\n"),
        lines("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        lines("transfer-encoding: identity\r\n"),
        lines("upgrade: websocket\r\nconnection: upgrade\r\n"),
        lines("connection: x-hop\r\n"),
        lines("keep-alive: 3\r\n"),
        lines("expect: 100-continue\r\n"),
        lines("te: gzip\r\n"),
    ] {
        assert!(is_odd(&odd), "{odd:?}");
    }
    assert!(is_odd(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx: {}", "y".repeat(MAX_BUFFER))), "it never ends");
}

fn answered(text: &str) -> ResponseHead {
    response(text.as_bytes(), &Method::POST).expect("HTTP").expect("a whole head")
}

#[test]
fn a_response_is_framed_by_its_coding_then_its_length_then_its_connection() {
    let body = |lines: &str| answered(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).body;
    assert_eq!(body("content-length: 5\r\n"), Framing::length(5));
    assert_eq!(body("content-length: 5, 5\r\ncontent-length: 5\r\n"), Framing::length(5));
    assert_eq!(body("content-length: 5\r\nTransfer-Encoding: chunked\r\n"), Framing::CHUNKED);
    assert_eq!(body("transfer-encoding: gzip, chunked\r\n"), Framing::CHUNKED);
    assert_eq!(body("transfer-encoding: gzip\r\n"), Framing::UNTIL_CLOSE);
    assert_eq!(body(""), Framing::UNTIL_CLOSE);
    for bare in ["204 No Content", "304 Not Modified", "100 Continue"] {
        assert_eq!(answered(&format!("HTTP/1.1 {bare}\r\ncontent-length: 5\r\n\r\n")).body, Framing::EMPTY);
    }
    let head = response(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", &Method::HEAD).expect("HTTP").expect("whole");
    assert_eq!(head.body, Framing::EMPTY);
    for wrong in ["content-length: 5, 6\r\n", "content-length: 5\r\ncontent-length: 6\r\n", "content-length: x\r\n"] {
        assert_eq!(response(format!("HTTP/1.1 200 OK\r\n{wrong}\r\n").as_bytes(), &Method::GET).err(), Some(NotHttp));
    }
}

#[test]
fn a_head_is_edited_for_another_body_and_left_alone_where_that_would_be_hard() {
    let text = format!(
        "POST / HTTP/1.1\r\nAccept-Encoding:  gzip, br\r\nhost: {HOST}\r\nContent-LENGTH:  12 \r\nx: y\r\n\r\n{{}}"
    );
    let edited = plain(&text).edited(text.as_bytes(), 1234, true).expect("it can be");
    assert_eq!(
        String::from_utf8(edited).expect("text"),
        format!(
            "POST / HTTP/1.1\r\nAccept-Encoding:  identity\r\nhost: {HOST}\r\nContent-LENGTH:  1234 \r\nx: y\r\n\r\n"
        )
    );
    for hard in ["transfer-encoding: chunked\r\n", "content-length: 1\r\naccept-encoding: a\r\naccept-encoding: b\r\n"]
    {
        let text = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{hard}\r\n");
        assert_eq!(plain(&text).edited(text.as_bytes(), 1, true), None, "{hard:?}");
    }
}

#[test]
fn only_what_concerns_our_connection_is_taken_out_of_a_response() {
    let edited = |lines: &str| {
        let head = answered(&format!("HTTP/1.1 200 Fine By Me\r\n{lines}\r\nbody"));
        head.edited.map(|bytes| String::from_utf8(bytes).expect("text"))
    };
    assert_eq!(edited("A:1\r\nconnection: close\r\nSet-Cookie: a\r\nset-cookie:  b \r\ncontent-length: 4\r\n"), None);
    assert_eq!(
        edited("A: 1\r\nKeep-Alive: timeout=5\r\nconnection: X-Gone, close\r\nx-gone: 1\r\nB:  2\r\n"),
        Some("HTTP/1.1 200 Fine By Me\r\nA: 1\r\nconnection: close\r\nB:  2\r\n\r\n".to_owned())
    );
    assert_eq!(
        edited("content-length: 9\r\nB: 2\r\n folded\r\nTransfer-Encoding: chunked\r\n"),
        Some("HTTP/1.1 200 Fine By Me\r\nB: 2\r\n folded\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned())
    );
    assert_eq!(
        edited("connection: content-length\r\ncontent-length: 9\r\nproxy-connection: x\r\n"),
        Some("HTTP/1.1 200 Fine By Me\r\ncontent-length: 9\r\n\r\n".to_owned()),
        "what is needed to read a message cannot be nominated"
    );
    let head = answered("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=7, max=100\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(head.keeps_for, Some(Duration::from_secs(7)));
}

#[test]
fn a_connection_is_used_again_unless_one_side_says_otherwise() {
    let closes = |head: &str| answered(&format!("{head}\r\n\r\n")).closes;
    assert!(!closes("HTTP/1.1 200 OK\r\ncontent-length: 0"));
    assert!(closes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: Close"));
    assert!(closes("HTTP/1.1 200 OK"), "only the close tells its end");
    assert!(closes("HTTP/1.0 200 OK\r\ncontent-length: 0"));
    assert!(!closes("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive"));
}

#[test]
fn a_close_is_said_at_the_end_of_a_head() {
    assert_eq!(with_close(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"), b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\n");
}

#[test]
fn heads_of_many_lines_are_read() {
    let lines = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<Vec<_>>().concat();
    let many = lines(500);
    assert_eq!(answered(&format!("HTTP/1.1 200 OK\r\n{many}content-length: 7\r\n\r\n")).body, Framing::length(7));
    let more = lines(MAX_HEADERS + 1);
    assert!(response(format!("HTTP/1.1 200 OK\r\n{more}\r\n").as_bytes(), &Method::GET).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~\r\n]{0,200}") {
        for bytes in [&bytes, text.as_bytes()] {
            drop(request(bytes, HOST));
            drop(response(bytes, &Method::GET));
            let [question, answer] = ["GET / HTTP/1.1\r\nhost: api.openai.com\r\n", "HTTP/1.1 200 OK\r\nkeep-alive: x\r\n"];
            drop(request(&[question.as_bytes(), bytes, b"\r\n\r\n"].concat(), HOST));
            drop(response(&[answer.as_bytes(), bytes, b"\r\n\r\n"].concat(), &Method::GET));
        }
    }

    /// Whatever is forwarded, both sides find the same end and the same fields in it.
    #[test]
    fn what_is_edited_is_still_the_same_response(
        lines in prop::collection::vec(("x-[a-z]{1,8}", "[ -~]{0,12}"), 0..8),
        before in any::<bool>(),
    ) {
        let lines = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let ours = "keep-alive: timeout=3\r\n";
        let (first, last) = if before { (ours, "") } else { ("", ours) };
        let text = format!("HTTP/1.1 200 OK\r\n{first}{lines}{last}content-length: 3\r\n\r\nabc");
        if let Ok(Some(head)) = response(text.as_bytes(), &Method::GET) {
            let edited = head.edited.expect("there was something to take out");
            let again = response(&edited, &Method::GET).expect("HTTP").expect("whole");
            prop_assert_eq!(again.length, edited.len());
            prop_assert_eq!((again.body, again.closes), (head.body, head.closes));
            let without = text.replace(ours, "");
            prop_assert_eq!(edited, without.trim_end_matches("abc").as_bytes());
        }
    }
}

#[test]
fn a_nominated_framing_stays_and_an_old_servers_chunks_are_its_connections_last() {
    let text = "HTTP/1.1 200 OK\r\nConnection: x, transfer-encoding\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = response(text.as_bytes(), &Method::GET).expect("HTTP").expect("all of it");
    assert_eq!(head.edited.as_deref(), Some(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..]));
    let old = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(response(old.as_bytes(), &Method::GET).expect("HTTP").expect("all of it").closes);
}
