//! HTTP/1.1 relayed without hyper, between clients and servers that get it wrong or end in the middle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tollgate_ledger::Outcome;
use tollgate_proxy::http::Http;
use tollgate_proxy::observe::{Observer, UpstreamEvent};
use tollgate_proxy::upstream::{Dial, Dialing, Limits, Resolving, Upstream};

use crate::support::{PATIENCE, Rig, Site, expect, patiently, read_head, read_to_end, say};

const GET: &str = "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

const REFUSED: &str = "{\"error\":{\"message\":\"Unrecognized request argument supplied: stream_options\"}}";

/// A request whose body is edited before it leaves.
fn chat(length: usize) -> String {
    let filler = "x".repeat(length);
    let body =
        format!("{{\"model\":\"m\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{filler}\"}}]}}");
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Connects by sockets that hold little of what the server does not read.
struct Narrow;

impl Dial for Narrow {
    fn dial(&self, address: SocketAddr) -> Dialing {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(16 * 1024).expect("a size");
        Box::pin(socket.connect(address))
    }

    fn resolve(&self, _host: &str, _port: u16) -> Resolving {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Reads a body of the length that its head says.
async fn read_body(stream: &mut (impl tokio::io::AsyncRead + Unpin), head: &str) -> Vec<u8> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    patiently(stream.read_exact(&mut body)).await.expect("all of it");
    body
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_request_was_read_leaves_its_connection_to_nobody() {
    let site = Site::new().await;
    let mut rig = Rig::new(&site);
    let upstream = Upstream::with(&site.roots(), Limits::default(), Arc::new(Narrow));
    rig.http = Http::new(upstream, Arc::clone(&rig.recorder) as Arc<dyn Observer>);
    let request = chat(4_000_000);
    site.serve(&["http/1.1"], |index, mut stream| async move {
        let head = read_head(&mut stream).await;
        if index == 0 {
            let answer = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{REFUSED}", REFUSED.len());
            say(&mut stream, answer).await;
            // It reads no more, and what came on would be taken for the rest of the body.
            std::future::pending::<()>().await;
        }
        read_body(&mut stream, &head).await;
        say(&mut stream, OK).await;
    });
    let (mut client, _) = rig.client(false).await;
    let (mut reader, mut writer) = client.split();
    tokio::join!(say(&mut writer, &request), expect(&mut reader, OK));
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.request_model.as_deref()), (Outcome::Completed, Some("m")));
    assert_eq!(record.request_bytes, request.len() as u64 - request.find("\r\n\r\n").expect("a head") as u64 - 4);
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 2);
}

#[tokio::test]
async fn a_refusal_whose_connection_closes_with_it_is_one() {
    for head in [format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", REFUSED.len()), {
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned()
    }] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&["http/1.1"], move |index, mut stream| {
            let answer = head.clone();
            async move {
                let head = read_head(&mut stream).await;
                read_body(&mut stream, &head).await;
                if index > 0 {
                    return say(&mut stream, OK).await;
                }
                say(&mut stream, answer).await;
                // The head alone, and then all the rest at once.
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.get_mut().1.set_buffer_limit(None);
                std::io::Write::write_all(&mut stream.get_mut().1.writer(), REFUSED.as_bytes()).expect("it has room");
                stream.get_mut().1.send_close_notify();
                stream.flush().await.expect("open");
                stream.shutdown().await.expect("open");
            }
        });
        let (mut client, _) = rig.client(false).await;
        say(&mut client, chat(10)).await;
        expect(&mut client, OK).await;
        assert_eq!(rig.recorder.events(UpstreamEvent::UsageRefused), 1);
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_though_its_request_was_edited() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let nothing = "HTTP/1.1 204 No Content\r\nContent-Type: text/event-stream\r\n\r\n";
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            read_body(&mut stream, &head).await;
            say(&mut stream, nothing).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..2 {
        say(&mut client, chat(10)).await;
        expect(&mut client, nothing).await;
    }
}

#[tokio::test]
async fn a_malformed_body_is_never_found_to_have_ended() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&came);
    site.serve(&["http/1.1"], move |_, mut stream| {
        let came = Arc::clone(&seen);
        async move {
            read_head(&mut stream).await;
            expect(&mut stream, "2\r\na").await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n").await;
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                say(&mut stream, "1\r\n2\r\n").await;
            }
            say(&mut stream, "0\r\n\r\n").await;
            let mut rest = [0; 1000];
            while let Ok(count @ 1..) = stream.read(&mut rest).await {
                came.lock().extend_from_slice(&rest[..count]);
            }
        }
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "POST / HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na").await;
    expect(&mut client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n").await;
    // Read from where it broke off, this would be the end of a trailer.
    say(&mut client, "\n\r\n0\r\nab\rX").await;
    let answer = read_to_end(&mut client).await;
    assert!(answer.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
    rig.recorder.record().await;
    assert_eq!(String::from_utf8_lossy(&came.lock()), "", "nothing more was sent");
    let (mut client, _) = rig.client(false).await;
    say(&mut client, GET).await;
    rig.recorder.event(UpstreamEvent::Connected { http2: false }, 2).await;
}

#[tokio::test]
async fn a_connection_that_the_client_wanted_closed_carries_nothing_else() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        loop {
            read_head(&mut stream).await;
            say(&mut stream, OK).await;
        }
    });
    for _ in 0..2 {
        let (mut client, _) = rig.client(false).await;
        say(&mut client, GET.replace("Host", "Connection: close\r\nHost")).await;
        assert_eq!(read_to_end(&mut client).await, OK.as_bytes());
    }
    assert_eq!(rig.recorder.events(UpstreamEvent::Reused), 0);
}

#[tokio::test]
async fn a_request_of_which_the_provider_has_told_something_is_not_sent_twice() {
    let site = Site::new().await;
    let limits = Limits { resend_within: PATIENCE, ..Limits::default() };
    let rig = Rig::with(&site, site.address(), limits, Vec::new());
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, OK).await;
        read_head(&mut stream).await;
        say(&mut stream, hint).await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, GET).await;
    expect(&mut client, OK).await;
    say(&mut client, GET).await;
    expect(&mut client, hint).await;
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 502 "));
    let record = rig.recorder.records(2).await.remove(1);
    assert_eq!(record.status, Some(StatusCode::BAD_GATEWAY));
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 0);
}

#[tokio::test]
async fn a_server_that_answers_before_it_has_read_all_gets_all() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let length = 8_000_000_usize;
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n").await;
        let mut body = vec![0; length];
        let mut at = 0;
        while at < length {
            // Slower than the request comes, to its very end.
            let end = length.min(at + 100_000);
            tokio::time::sleep(Duration::from_millis(1)).await;
            patiently(stream.read_exact(&mut body[at..end])).await.expect("all of it");
            at = end;
        }
        say(&mut stream, "0\r\n\r\n").await;
    });
    let (mut client, _) = rig.client(false).await;
    let (mut reader, mut writer) = client.split();
    let sending = async {
        say(&mut writer, format!("POST / HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: {length}\r\n\r\n")).await;
        say(&mut writer, vec![b'x'; length]).await;
    };
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
    tokio::join!(sending, expect(&mut reader, answer));
    assert_eq!(rig.recorder.record().await.request_bytes, length as u64);
}
