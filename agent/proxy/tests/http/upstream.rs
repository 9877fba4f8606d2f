//! Connections to providers: which are made, kept, repeated, and refused.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Barrier, mpsc};
use tollgate_ledger::{Outcome, UpstreamFailure};
use tollgate_proxy::observe::UpstreamEvent;
use tollgate_proxy::upstream::Limits;
use tollgate_tls::Roots;

use crate::support::{HOST, PATIENCE, Rig, Site, expect, https, patiently, read_head, read_to_end, say, text};

const POST: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n\r\n{}";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends [`POST`], closes, and gives what came back: the status line, the head, and the body.
async fn post(rig: &Rig) -> (String, String, serde_json::Value) {
    let (mut client, _) = rig.client(false).await;
    say(&mut client, POST.replace("Host", "Connection: close\r\nHost")).await;
    let answer = String::from_utf8(read_to_end(&mut client).await).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let (status, head) = head.split_once("\r\n").expect("a status line");
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.to_owned(), head.to_owned(), body)
}

#[tokio::test]
async fn a_connection_that_the_provider_closed_while_unused_is_not_noticed_by_the_client() {
    let site = Site::new().await;
    // However slow the machine is.
    let limits = Limits { resend_within: PATIENCE, ..Limits::default() };
    let rig = Rig::with(&site, site.address(), limits, Vec::new());
    site.serve(&["http/1.1"], |_, mut stream| async move {
        expect(&mut stream, POST).await;
        say(&mut stream, OK).await;
        // The next request crosses with the close: it is read, and nothing is said.
        let mut byte = [0];
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await);
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..4 {
        say(&mut client, POST).await;
        expect(&mut client, OK).await;
    }
    assert!(rig.recorder.records(4).await.iter().all(|record| record.outcome == Outcome::Completed));
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 4);
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 3);
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_not_sent_twice() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    site.serve(&["http/1.1"], move |index, mut stream| {
        let arrived = arrived.clone();
        async move {
            read_head(&mut stream).await;
            arrived.send(()).expect("the test waits");
            if index == 1 {
                // It began to answer.
                say(&mut stream, "HTTP/1.1 2").await;
            }
        }
    });
    for index in 0..2 {
        let (status, _, body) = post(&rig).await;
        assert_eq!(status, "HTTP/1.1 502 Bad Gateway");
        let message = body["error"]["message"].as_str().expect("OpenAI's shape");
        assert!(message.contains(HOST) && message.contains("without an answer"), "{message}");
        let record = rig.recorder.records(index + 1).await.remove(index);
        assert_eq!(record.outcome, Outcome::UpstreamFailed(UpstreamFailure::Reset));
        assert_eq!(record.status, Some(StatusCode::BAD_GATEWAY));
    }
    assert_eq!(arrivals.len(), 2, "each came once");
    arrivals.close();
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 0);
}

/// Bounds by which [`silence`] is too long for a request and a close to cross.
fn hasty() -> Limits {
    Limits { resend_within: Duration::from_millis(50), ..Limits::default() }
}

async fn silence() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_request_that_the_provider_was_thinking_about_is_not_sent_twice() {
    let site = Site::new().await;
    let rig = Rig::with(&site, site.address(), hasty(), Vec::new());
    let (arrived, arrivals) = mpsc::unbounded_channel();
    site.serve(&["http/1.1"], move |index, mut stream| {
        let arrived = arrived.clone();
        async move {
            stream.get_ref().0.set_zero_linger().expect("open");
            if index == 0 {
                expect(&mut stream, POST).await;
                say(&mut stream, OK).await;
            }
            read_head(&mut stream).await;
            expect(&mut stream, "{}").await;
            arrived.send(()).expect("the test waits");
            silence().await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, POST).await;
    expect(&mut client, OK).await;
    say(&mut client, POST.replace("Host", "Connection: close\r\nHost")).await;
    let answer = String::from_utf8(read_to_end(&mut client).await).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert!(body["error"]["message"].as_str().expect("OpenAI's shape").contains("without an answer"), "{body}");
    assert_eq!((arrivals.len(), rig.recorder.events(UpstreamEvent::Resent)), (1, 0));
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 1, "it went out on the used connection");
}

#[tokio::test]
async fn the_same_holds_for_a_stream_of_a_used_http2_connection() {
    let site = Site::new().await;
    let rig = Rig::with(&site, site.address(), hasty(), Vec::new());
    let (arrived, arrivals) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |index, stream| {
        let arrived = arrived.clone();
        async move {
            stream.get_ref().0.set_zero_linger().expect("open");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let (_, mut respond) = connection.accept().await.expect("a request").expect("whole");
            if index == 0 {
                respond.send_response(http::Response::new(()), true).expect("open");
                let (_, second) = connection.accept().await.expect("a request").expect("whole");
                respond = second;
            }
            arrived.send(()).expect("the test waits");
            // Nothing is written from here on: the connection is not polled.
            silence().await;
            drop((connection, respond));
        }
    });
    let mut client = rig.http2().await;
    for status in [StatusCode::OK, StatusCode::BAD_GATEWAY] {
        let request = http::Request::post(https("/v1/chat/completions")).body(crate::support::full("")).expect("ok");
        let response = patiently(client.send_request(request)).await.expect("answered");
        assert_eq!(response.status(), status);
        drop(text(response.into_body()).await);
    }
    assert_eq!((arrivals.len(), rig.recorder.events(UpstreamEvent::Resent)), (1, 0));
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_however_late_its_used_connection_breaks() {
    let site = Site::new().await;
    let rig = Rig::with(&site, site.address(), hasty(), Vec::new());
    site.serve(&["http/1.1"], move |index, mut stream| async move {
        stream.get_ref().0.set_zero_linger().expect("open");
        read_head(&mut stream).await;
        say(&mut stream, OK).await;
        if index == 0 {
            read_head(&mut stream).await;
            silence().await;
        } else {
            drop(patiently(tokio::io::AsyncReadExt::read_u8(&mut stream)).await);
        }
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..2 {
        say(&mut client, "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n").await;
        expect(&mut client, OK).await;
    }
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 1);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_in_the_callers_dialect() {
    let site = Site::of("other.example").await;
    let rig = Rig::new(&site);
    site.serve(&["h2", "http/1.1"], |_, _| async { panic!("the handshake must fail") });
    let (status, head, body) = post(&rig).await;
    assert_eq!(status, "HTTP/1.1 502 Bad Gateway");
    assert!(head.contains("application/json") && !head.to_lowercase().contains("retry-after"), "{head}");
    let message = body["error"]["message"].as_str().expect("OpenAI's shape");
    assert!(message.contains("certificate is for another host") && message.contains(HOST), "{message}");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(UpstreamFailure::Certificate));

    let mut client = rig.http2().await;
    let request = http::Request::post(https("/v1/messages")).body(crate::support::full("{}")).expect("a request");
    let response = patiently(client.send_request(request)).await.expect("answered");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let body: serde_json::Value = serde_json::from_str(&text(response.into_body()).await).expect("JSON");
    assert_eq!(body["type"], "error", "Anthropic's shape for Anthropic's path: {body}");
}

#[tokio::test]
async fn an_authority_that_nobody_trusts_is_refused() {
    let (site, stranger) = (Site::new().await, Site::new().await);
    let rig = Rig::with(&stranger, site.address(), Limits::default(), Vec::new());
    site.serve(&["h2", "http/1.1"], |_, _| async { panic!("the handshake must fail") });
    let (status, _, body) = post(&rig).await;
    assert_eq!(status, "HTTP/1.1 502 Bad Gateway");
    let message = body["error"]["message"].as_str().expect("OpenAI's shape");
    assert!(message.contains("authority"), "{message}");
}

#[tokio::test]
async fn a_dead_destination_is_replaced_by_what_the_name_resolves_to() {
    let site = Site::new().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds").local_addr().expect("bound");
    let rig = Rig::with(&site, dead, Limits::default(), vec![dead, site.address()]);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        expect(&mut stream, POST).await;
        say(&mut stream, OK).await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, POST).await;
    expect(&mut client, OK).await;
}

#[tokio::test]
async fn an_unreachable_provider_is_named_and_a_retry_suggested() {
    let site = Site::new().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds").local_addr().expect("bound");
    let rig = Rig::with(&site, dead, Limits::default(), Vec::new());
    let (status, head, body) = post(&rig).await;
    assert_eq!(status, "HTTP/1.1 502 Bad Gateway");
    assert!(head.contains("retry-after: 1"), "{head}");
    let message = body["error"]["message"].as_str().expect("OpenAI's shape");
    assert!(message.contains(HOST) && message.contains(&dead.to_string()) && message.contains("refused"), "{message}");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(UpstreamFailure::Connect));
    assert_eq!(rig.recorder.events(UpstreamEvent::ConnectFailed), 1);
}

#[tokio::test]
async fn a_provider_that_says_nothing_in_the_handshake_is_a_timeout() {
    let site = Site::new().await;
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let rig = Rig::with(&site, site.address(), limits, Vec::new());
    // The kernel accepts; nobody reads.
    let (status, _, body) = post(&rig).await;
    assert_eq!(status, "HTTP/1.1 504 Gateway Timeout");
    assert!(body["error"]["message"].as_str().expect("a message").contains("timed out"), "{body}");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(UpstreamFailure::Timeout));
    drop(site);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_said_to_be_so() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "220 mail.example ESMTP\r\n\r\n").await;
    });
    let (status, _, body) = post(&rig).await;
    assert_eq!(status, "HTTP/1.1 502 Bad Gateway");
    assert!(body["error"]["message"].as_str().expect("a message").contains("not HTTP"), "{body}");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(UpstreamFailure::Protocol));
}

#[tokio::test]
async fn clients_of_either_protocol_wait_for_one_connection_and_share_its_failure() {
    let site = Site::new().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds").local_addr().expect("bound");
    let rig = Rig::with(&site, dead, Limits::default(), Vec::new());
    let mut client = rig.http2().await;
    let requests: Vec<_> = (0..20)
        .map(|_| client.send_request(http::Request::get(https("/")).body(crate::support::full("")).expect("ok")))
        .collect();
    for request in requests {
        assert_eq!(patiently(request).await.expect("answered").status(), StatusCode::BAD_GATEWAY);
    }
    rig.recorder.records(20).await;
    assert!(rig.recorder.events(UpstreamEvent::ConnectFailed) < 20, "they did not queue up behind each other");
}

#[tokio::test]
async fn unused_connections_are_closed_when_their_time_is_up_or_the_provider_says_it_soon_is() {
    for (limits, keep_alive) in [
        (Limits { idle_timeout: Duration::from_millis(100), ..Limits::default() }, ""),
        (Limits::default(), "Keep-Alive: timeout=1\r\n"),
    ] {
        let site = Site::new().await;
        let rig = Rig::with(&site, site.address(), limits, Vec::new());
        let (closed, mut closes) = mpsc::unbounded_channel();
        site.serve(&["http/1.1"], move |_, mut stream| {
            let closed = closed.clone();
            async move {
                for _ in 0..2 {
                    let mut head = Vec::new();
                    while !head.ends_with(b"{}") {
                        match tokio::io::AsyncReadExt::read_u8(&mut stream).await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return closed.send(()).expect("the test waits"),
                        }
                    }
                    say(&mut stream, OK.replace("Content", &format!("{keep_alive}Content"))).await;
                }
            }
        });
        let (mut client, _) = rig.client(false).await;
        for _ in 0..2 {
            say(&mut client, POST).await;
            expect(&mut client, OK).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 2);
        if keep_alive.is_empty() {
            patiently(closes.recv()).await.expect("closed");
        }
        drop(client);
    }
}

#[tokio::test]
async fn a_large_upload_does_not_risk_a_connection_that_has_been_unused() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let length: usize =
                head.split_once("Content-Length: ").expect("a length").1.trim().parse().expect("digits");
            let mut body = vec![0; length];
            drop(patiently(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body)).await);
            say(&mut stream, OK).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    let large =
        format!("POST / HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    for (wait, connections) in [(0, 1), (0, 1), (2_100, 2)] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        say(&mut client, &large).await;
        expect(&mut client, OK).await;
        assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), connections);
    }
}

/// Trusts both sites; its clients want to go to the first.
fn rig_of(sites: &[Site; 2]) -> Rig {
    let roots = sites.each_ref().map(|site| site.authority.certificate_der().clone());
    Rig::trusting(&Roots::only(roots).expect("two roots"), sites[0].address(), Limits::default(), Vec::new())
}

/// Answers every request with `name`, by whichever protocol.
fn says(site: Site, alpn: &'static str, name: &'static str) {
    site.serve(&[alpn], move |_, mut stream| async move {
        if alpn == "h2" {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut sending = respond.send_response(http::Response::new(()), false).expect("open");
                sending.send_data(bytes::Bytes::from_static(name.as_bytes()), true).expect("open");
            }
            return;
        }
        loop {
            read_head(&mut stream).await;
            say(&mut stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
        }
    });
}

/// What a new client that speaks HTTP/2 is answered.
async fn answer(rig: &Rig) -> String {
    let request = http::Request::get(https("/v1/models")).body(crate::support::full("")).expect("a request");
    text(patiently(rig.http2().await.send_request(request)).await.expect("answered").into_body()).await
}

#[tokio::test]
async fn each_call_goes_to_the_address_that_the_application_chose() {
    for alpn in ["http/1.1", "h2"] {
        let sites = Site::pair().await;
        let mut rig = rig_of(&sites);
        let addresses = sites.each_ref().map(Site::address);
        let [first, second] = sites;
        says(first, alpn, "first");
        says(second, alpn, "second");
        for _ in 0..2 {
            for (address, name) in addresses.into_iter().zip(["first", "second"]) {
                rig.destination = address;
                assert_eq!(answer(&rig).await, name);
            }
        }
        assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: alpn == "h2" }), 2, "each is used again");
    }
}

#[tokio::test]
async fn a_connection_to_an_address_that_stalls_holds_up_nobody_who_goes_elsewhere() {
    let sites = Site::pair().await;
    let mut rig = rig_of(&sites);
    let [stalling, other] = sites;
    let address = other.address();
    says(other, "h2", "other");
    let mut client = rig.http2().await;
    let request = http::Request::get(https("/v1/models")).body(crate::support::full("")).expect("a request");
    let stalled = tokio::spawn(client.send_request(request));
    // Its connection is being made: the kernel has accepted it, and nobody answers.
    let (held, _) = patiently(stalling.listener.accept()).await.expect("a connection");
    rig.destination = address;
    assert_eq!(answer(&rig).await, "other");
    assert!(!stalled.is_finished());
    drop(held);
    assert_eq!(patiently(stalled).await.expect("no panic").expect("answered").status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn users_share_no_connections() {
    for alpn in ["http/1.1", "h2"] {
        let site = Site::new().await;
        let mut rig = Rig::new(&site);
        says(site, alpn, "both");
        for (uid, connections) in [(1000, 1), (1001, 2), (1000, 2), (1001, 2)] {
            rig.uid = uid;
            assert_eq!(answer(&rig).await, "both");
            assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: alpn == "h2" }), connections);
        }
    }
}

#[tokio::test]
async fn unused_http2_connections_are_bounded_whatever_addresses_clients_choose() {
    let site = Site::new().await;
    let limits = Limits { idle_total: 4, ..Limits::default() };
    // Nobody listens at these addresses, so all calls go to what the name resolves to.
    let mut rig = Rig::with(&site, site.address(), limits, vec![site.address()]);
    let (closed, mut closes) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let closed = closed.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(http::Response::new(()), true).expect("open");
            }
            closed.send(()).expect("the test waits");
        }
    });
    for index in 1..=20 {
        rig.destination = ([127, 0, 1, index], 1).into();
        assert_eq!(answer(&rig).await, "");
    }
    for _ in 0..16 {
        patiently(closes.recv()).await.expect("closed");
    }
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: true }), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_call_at_once_again_and_again_cost_one_handshake_each() {
    const CALLERS: usize = 256;
    const ROUNDS: usize = 3;
    let mut site = Site::new().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback binds");
    // Whoever finds the queue full tries again a second later.
    site.listener = socket.listen(4 * CALLERS as u32).expect("it listens");
    let rig = Arc::new(Rig::new(&site));
    // Nobody is answered before all have called, and nobody calls again before all are answered.
    let (all, again) = (Arc::new(Barrier::new(CALLERS)), Arc::new(Barrier::new(CALLERS)));
    site.serve(&["http/1.1"], move |_, mut stream| {
        let all = Arc::clone(&all);
        async move {
            loop {
                let mut request = [0; POST.len()];
                if tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request).await.is_err() {
                    return;
                }
                all.wait().await;
                say(&mut stream, OK).await;
            }
        }
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (rig, again) = (Arc::clone(&rig), Arc::clone(&again));
            tokio::spawn(async move {
                // No socket: with two for each caller, there would be more than some systems let a process have.
                let (mut client, far) = tokio::io::duplex(4096);
                let (http, connection, watch) = (rig.http.clone(), rig.connection(false), rig.watch.clone());
                tokio::spawn(async move { http.serve(far, connection, watch).await });
                for _ in 0..ROUNDS {
                    say(&mut client, POST).await;
                    expect(&mut client, OK).await;
                    again.wait().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("each is answered");
    }
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), CALLERS);
    assert_eq!(rig.recorder.events(UpstreamEvent::Reused), CALLERS * (ROUNDS - 1));
}
