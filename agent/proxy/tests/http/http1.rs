//! HTTP/1.1 on both sides, compared byte for byte.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tollgate_ledger::Outcome;
use tollgate_proxy::observe::UpstreamEvent;

use crate::support::{Rig, Site, expect, patiently, read_head, read_to_end, say};

const REQUEST: &str = "POST /v1/chat/completions?a=%20b&c HTTP/1.1\r\nHost: api.openai.com\r\nX-Stainless-OS: Linux\r\n\
    accept: */*\r\nAUTHORIZATION: Bearer sk-test\r\nConnection: keep-alive\r\nX-empty: \r\nuser-AGENT: OpenAI/Python 3\r\n\
    Cookie: b=2\r\ncontent-LENGTH: 16\r\nZ-Last: \u{e9}t\u{e9}\r\nTE: trailers\r\n\r\n{\"model\": \"x\"}\r\n";

const RESPONSE: &str = "HTTP/1.1 200 Fine By Me\r\nServer: cloudflare\r\ncontent-Type: application/json\r\nX-Request-ID: 1\r\n\
    set-COOKIE: a=1\r\nSet-Cookie: b=2\r\nCF-Ray: 8-FRA\r\nContent-Length: 2\r\nalt-svc: h3=\":443\"\r\n\r\n{}";

/// One provider connection after the other sees `request` and answers `response`.
fn scripted(site: Site, request: &'static str, response: &'static str) {
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        loop {
            expect(&mut stream, request).await;
            say(&mut stream, response).await;
        }
    });
}

#[tokio::test]
async fn heads_and_bodies_pass_byte_for_byte_and_nothing_is_added() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    scripted(site, REQUEST, RESPONSE);
    let (mut client, _) = rig.client(false).await;
    for _ in 0..3 {
        say(&mut client, REQUEST).await;
        expect(&mut client, RESPONSE).await;
    }
    let records = rig.recorder.records(3).await;
    assert!(records.iter().all(|record| record.outcome == Outcome::Completed));
    assert_eq!((records[0].request_bytes, records[0].response_bytes), (16, 2));
    assert_eq!(records[0].status, Some(StatusCode::OK));
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 1);
    assert_eq!(rig.recorder.events(UpstreamEvent::Reused), 2);
}

#[tokio::test]
async fn hop_by_hop_fields_go_and_the_rest_stays_in_place() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    scripted(
        site,
        "GET / HTTP/1.1\r\nHost: api.openai.com\r\nA: 1\r\nConnection: close\r\nB: 2\r\nTE: trailers\r\nC: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nD: 4\r\nKeep-Alive: timeout=5\r\nE: 5\r\nConnection: X-Gone, close\r\nX-Gone: 1\r\nF: 6\r\n\
         Proxy-Connection: x\r\nContent-Length: 0\r\n\r\n",
    );
    let (mut client, served) = rig.client(false).await;
    say(
        &mut client,
        "GET / HTTP/1.1\r\nHost: api.openai.com\r\nA: 1\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nB: 2\r\n\
         Keep-Alive: 3\r\nTE: gzip, trailers;q=0.5, trailers\r\nC: 3\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8(read_to_end(&mut client).await).expect("text");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nD: 4\r\nE: 5\r\nConnection: close\r\nF: 6\r\nContent-Length: 0\r\n\r\n");
    drop(client);
    patiently(served).await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn chunked_bodies_and_announced_trailers_pass_both_ways() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let request = "PUT /f HTTP/1.1\r\nHost: api.openai.com\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\
        \r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n";
    let response = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\ntrailer: x-took\r\n\r\n\
        3\r\nabc\r\n1\r\nd\r\n0\r\nx-took: 5\r\n\r\n";
    scripted(site, request, response);
    let (mut client, _) = rig.client(false).await;
    for _ in 0..2 {
        say(&mut client, request).await;
        expect(&mut client, response).await;
    }
    assert_eq!(rig.recorder.records(2).await[1].response_bytes, 4);
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_before_the_next_is_sent() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (received, acknowledged) = mpsc::unbounded_channel::<()>();
    let acknowledged = Arc::new(tokio::sync::Mutex::new(acknowledged));
    site.serve(&["http/1.1"], move |_, mut stream| {
        let acknowledged = Arc::clone(&acknowledged);
        async move {
            read_head(&mut stream).await;
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
            for index in 0..200 {
                let event = format!("data: {{\"n\":{index:03}}}\n\n");
                say(&mut stream, format!("{:x}\r\n{event}\r\n", event.len())).await;
                // Nothing more comes until the client has this one.
                patiently(acknowledged.lock().await.recv()).await.expect("the client lives");
            }
            say(&mut stream, "0\r\n\r\n").await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "GET /v1/x HTTP/1.1\r\nhost: api.openai.com\r\n\r\n").await;
    read_head(&mut client).await;
    for index in 0..200 {
        expect(&mut client, &format!("11\r\ndata: {{\"n\":{index:03}}}\n\n\r\n")).await;
        received.send(()).expect("the provider lives");
    }
    expect(&mut client, "0\r\n\r\n").await;
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.stream, record.response_bytes), (Outcome::Completed, Some(true), 200 * 17));
    assert!(record.time_to_first_byte.expect("it had a body") <= record.duration);
}

#[tokio::test]
async fn responses_without_a_body_keep_their_heads() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').next().expect("a method") {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX: y\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
                "PURGE" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
                other => panic!("{other}"),
            };
            say(&mut stream, answer).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX: y\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        ("PURGE", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX: y\r\n\r\n"),
    ] {
        say(&mut client, format!("{method} /x HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")).await;
        expect(&mut client, answer).await;
    }
    let records = rig.recorder.records(4).await;
    assert!(records.iter().all(|record| record.outcome == Outcome::Completed), "{records:#?}");
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 1, "the connection went on");
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_complete() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end").await;
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.expect("open");
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "GET / HTTP/1.0\r\nHost: api.openai.com\r\n\r\n").await;
    assert_eq!(read_to_end(&mut client).await, b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_truncated_response_is_not_passed_off_as_complete() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&["http/1.1"], move |_, mut stream| async move {
            read_head(&mut stream).await;
            say(&mut stream, answer).await;
        });
        let (mut client, served) = rig.client(false).await;
        say(&mut client, "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n").await;
        // The connection ends, and the framing says that it is too early.
        assert_eq!(String::from_utf8_lossy(&read_to_end(&mut client).await), answer);
        patiently(served).await.expect("no panic").expect_err("not an orderly end");
        let record = rig.recorder.record().await;
        assert!(matches!(record.outcome, Outcome::UpstreamFailed(_)), "{record:?}");
        assert_eq!(record.response_bytes, 4);
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_providers_work_at_once() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (cancelled, mut saw) = mpsc::unbounded_channel();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let cancelled = cancelled.clone();
        async move {
            let head = read_head(&mut stream).await;
            if head.starts_with("GET /streaming") {
                say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
            }
            // The provider says no more; only the close can wake it.
            let mut rest = Vec::new();
            drop(patiently(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await);
            cancelled.send(rest.len()).expect("the test waits");
        }
    });
    for (index, path) in ["streaming", "thinking"].into_iter().enumerate() {
        let (mut client, _) = rig.client(false).await;
        say(&mut client, format!("GET /{path} HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")).await;
        if path == "streaming" {
            expect(&mut client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(client);
        assert_eq!(patiently(saw.recv()).await, Some(0));
        let record = rig.recorder.records(index + 1).await.remove(index);
        assert_eq!(record.outcome, Outcome::ClientGone);
    }
}

#[tokio::test]
async fn continue_comes_from_the_provider_and_the_body_waits_for_it() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (asked, mut saw) = mpsc::unbounded_channel();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let asked = asked.clone();
        async move {
            let head = read_head(&mut stream).await;
            assert!(head.contains("Expect: 100-continue\r\n"));
            asked.send(()).expect("the test waits");
            if head.contains("/refused") {
                return say(
                    &mut stream,
                    "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                )
                .await;
            }
            if head.contains("/wanted") {
                tokio::time::sleep(Duration::from_millis(100)).await;
                say(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            expect(&mut stream, "hello").await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    for path in ["wanted", "refused", "silent"] {
        let (mut client, _) = rig.client(false).await;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: api.openai.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        say(&mut client, head).await;
        patiently(saw.recv()).await.expect("the head arrives before the body is asked for");
        if path == "refused" {
            let answer = read_to_end(&mut client).await;
            assert!(answer.starts_with(b"HTTP/1.1 417 Expectation Failed\r\n"), "no 100 of our own came before it");
            continue;
        }
        expect(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
        say(&mut client, "hello").await;
        expect(&mut client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }
    let records = rig.recorder.records(3).await;
    assert!(records.iter().all(|record| record.outcome == Outcome::Completed), "{records:#?}");
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_sending() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!").await;
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.expect("open");
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "POST /big HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 100000000\r\n\r\n").await;
    let (mut reader, mut writer) = client.split();
    let writing = async {
        let chunk = vec![7; 64 * 1024];
        // It ends in an error once the proxy has closed; the answer must have arrived all the same.
        while tokio::io::AsyncWriteExt::write_all(&mut writer, &chunk).await.is_ok() {}
    };
    let reading = expect(&mut reader, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
    patiently(async {
        tokio::select! { () = reading => {}, () = async { writing.await; std::future::pending().await } => {} }
    })
    .await;
    assert_eq!(rig.recorder.record().await.status, Some(StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_passed_off_as_complete() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (ended, mut saw) = mpsc::unbounded_channel();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let ended = ended.clone();
        async move {
            read_head(&mut stream).await;
            let mut body = Vec::new();
            drop(patiently(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut body)).await);
            ended.send(body).expect("the test waits");
        }
    });
    for (index, (framing, sent, arrives)) in
        [("Content-Length: 100", "half", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n", "4\r\nhalf\r\n")]
            .into_iter()
            .enumerate()
    {
        let (mut client, _) = rig.client(false).await;
        say(&mut client, format!("POST / HTTP/1.1\r\nHost: api.openai.com\r\n{framing}\r\n\r\n{sent}")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(client);
        let body = patiently(saw.recv()).await.expect("it ended");
        assert_eq!(String::from_utf8_lossy(&body), arrives, "no end was made up");
        let record = rig.recorder.records(index + 1).await.remove(index);
        assert_eq!((record.outcome, record.request_bytes), (Outcome::ClientGone, 4));
    }
}

#[tokio::test]
async fn requests_sent_without_waiting_are_answered_in_order() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let path = head.split(' ').nth(1).expect("a path");
            say(&mut stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    let requests: String =
        ["/1", "/2", "/3"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: API.OpenAI.com.:443\r\n\r\n")).concat();
    say(&mut client, requests).await;
    for path in ["/1", "/2", "/3"] {
        expect(&mut client, &format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}")).await;
    }
    rig.recorder.records(3).await;
}

#[tokio::test]
async fn a_body_cut_short_where_only_the_close_could_tell_is_cut_short_for_the_client() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.0 200 OK\r\n\r\nhalf").await;
        // No `close_notify`: TLS says that more was to come.
        drop(stream);
    });
    let (mut client, _) = rig.tls_client(false).await;
    say(&mut client, "GET / HTTP/1.0\r\nHost: api.openai.com\r\n\r\n").await;
    expect(&mut client, "HTTP/1.0 200 OK\r\n\r\nhalf").await;
    let error = patiently(tokio::io::AsyncReadExt::read_u8(&mut client)).await.expect_err("an end");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("close_notify"), "{error}");
    let record = rig.recorder.record().await;
    assert!(matches!(record.outcome, Outcome::UpstreamFailed(_)), "{record:?}");
}
