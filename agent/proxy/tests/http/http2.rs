//! HTTP/2 on one side or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tollgate_ledger::Outcome;
use tollgate_proxy::observe::UpstreamEvent;
use tollgate_proxy::upstream::Limits;

use crate::support::{HOST, Rig, Site, expect, full, https, patiently, read_head, say, text};

type TlsStream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

/// A provider's HTTP/2 connection, without hyper in between.
async fn accept(stream: TlsStream) -> h2::server::Connection<TlsStream, Bytes> {
    h2::server::Builder::new()
        .max_header_list_size(1 << 20)
        .initial_window_size(1 << 20)
        .handshake(stream)
        .await
        .expect("the proxy speaks HTTP/2")
}

/// Has each request of a provider's connection answered by a task of its own.
async fn answer<F>(
    mut connection: h2::server::Connection<TlsStream, Bytes>,
    each: impl Fn(Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(each(request, respond));
    }
}

/// A body's frames.
async fn frames(body: &mut h2::RecvStream) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(Ok(frame)) = body.data().await {
        body.flow_control().release_capacity(frame.len()).expect("open");
        frames.push(frame);
    }
    frames
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(https(path)).body(Empty::new()).expect("a request")
}

fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(https(path)).body(full(body.to_owned())).expect("a request")
}

/// Names and values in the order they arrived.
fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
}

#[tokio::test]
async fn heads_bodies_and_trailers_pass_and_nothing_is_added() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (seen, mut saw) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let seen = seen.clone();
        async move {
            let mut connection = accept(stream).await;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let (parts, mut body) = request.into_parts();
                    let data = frames(&mut body).await.concat();
                    let trailers = body.trailers().await.expect("whole").unwrap_or_default();
                    seen.send((parts, data, trailers)).expect("the test waits");
                    let response = Response::builder().status(299).header("b", "1").header("a", "2").header("b", "3");
                    let mut sending =
                        respond.send_response(response.body(()).expect("a response"), false).expect("open");
                    sending.send_data(Bytes::from_static(b"data"), false).expect("open");
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    sending.send_trailers(trailers).expect("open");
                });
            }
        }
    });
    let mut client = rig.http2().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("5"));
    let body = full("hello").with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
    let request = Request::builder()
        .method("BREW")
        .uri(https("/v1/x?q=%20"))
        .header("te", "trailers")
        .header("z", "1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-empty", "");
    let response = patiently(client.send_request(request.body(body).expect("a request"))).await.expect("answered");
    let (parts, data, received) = saw.recv().await.expect("it arrived");
    assert_eq!((parts.method.as_str(), parts.uri.to_string()), ("BREW", https("/v1/x?q=%20").to_string()));
    let expected = ["te: trailers", "z: 1", "cookie: a=1", "cookie: b=2", "x-empty: ", "content-length: 5"];
    assert_eq!(lines(&parts.headers), expected, "the length is the client's own");
    assert_eq!((data, received), (b"hello".to_vec(), trailers));
    assert_eq!(response.status(), 299);
    assert_eq!(lines(response.headers()), ["b: 1", "b: 3", "a: 2"]);
    let collected = patiently(response.into_body().collect()).await.expect("whole");
    assert_eq!(lines(collected.trailers().expect("trailers")), ["grpc-status: 0"]);
    assert_eq!(collected.to_bytes(), "data");
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.request_bytes, record.response_bytes), (Outcome::Completed, 5, 4));
}

#[tokio::test]
async fn an_http2_client_is_translated_for_an_http1_provider() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        expect(
            &mut stream,
            "GET /a?b HTTP/1.1\r\nhost: api.openai.com\r\nx: 1\r\ncookie: a=1; b=2\r\nte: trailers\r\nconnection: TE\r\n\r\n",
        )
        .await;
        say(&mut stream, "HTTP/1.1 200 Sure\r\nX-Y: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=9\r\nContent-Length: 2\r\n\r\nok").await;
        expect(&mut stream, "POST / HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: 0\r\n\r\n").await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
        expect(&mut stream, "POST / HTTP/1.1\r\nhost: api.openai.com\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    });
    let (stream, _) = rig.client(true).await;
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    let first = Request::get(https("/a?b")).header("x", "1").header("cookie", "a=1").header("te", "trailers");
    let first = first.header("cookie", "b=2").body(()).expect("a request");
    let second = Request::post(https("/")).body(()).expect("a request");
    let third = Request::post(https("/")).body(()).expect("a request");
    for (request, body) in [(first, None), (second, None), (third, Some("abc"))] {
        let (response, mut sending) = client.send_request(request, body.is_none()).expect("open");
        if let Some(body) = body {
            sending.send_data(Bytes::from_static(body.as_bytes()), true).expect("open");
        }
        let response = patiently(response).await.expect("answered");
        assert!(
            !response.headers().contains_key("connection") && !response.headers().contains_key("transfer-encoding")
        );
        let mut body = response.into_body();
        let mut data = Vec::new();
        while let Some(chunk) = patiently(body.data()).await {
            data.extend_from_slice(&chunk.expect("whole"));
        }
        assert_eq!(data, b"ok");
    }
    rig.recorder.records(3).await;
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: false }), 1);
}

#[tokio::test]
async fn an_http1_client_is_translated_for_a_provider_that_speaks_http2_only() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (seen, mut saw) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let seen = seen.clone();
        async move {
            let mut connection = accept(stream).await;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                seen.send(request.into_parts().0).expect("the test waits");
                let response = Response::builder().header("x-y", "1").body(()).expect("a response");
                let mut sending = respond.send_response(response, false).expect("open");
                sending.send_data(Bytes::from_static(b"ok"), true).expect("open");
            }
        }
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..2 {
        say(&mut client, "POST /a HTTP/1.1\r\nHOST: api.openai.com\r\nX-B: 1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nContent-Length: 2\r\n\r\n{}").await;
        let parts = patiently(saw.recv()).await.expect("it arrived");
        assert_eq!((parts.version, parts.uri.to_string()), (Version::HTTP_2, https("/a").to_string()));
        assert_eq!(lines(&parts.headers), ["x-b: 1", "te: trailers", "content-length: 2"]);
        expect(&mut client, "HTTP/1.1 200 OK\r\nx-y: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
    }
    rig.recorder.records(2).await;
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: true }), 1, "one connection is shared");
}

#[tokio::test]
async fn a_request_ends_with_its_last_frame_and_not_with_an_empty_one_after_it() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (seen, mut saw) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let seen = seen.clone();
        async move {
            let each = |request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>| {
                let seen = seen.clone();
                async move {
                    let frames = frames(&mut request.into_body()).await;
                    seen.send(frames.iter().map(Bytes::len).collect::<Vec<_>>()).expect("the test waits");
                    respond.send_response(Response::new(()), true).expect("open");
                }
            };
            answer(accept(stream).await, each).await;
        }
    });
    let mut client = rig.http2().await;
    // The one is collected before it is sent, the other goes on as it comes.
    for path in ["/v1/chat/completions", "/v1/files"] {
        let body = r#"{"model":"gpt-5-mini","messages":[]}"#;
        let request = Request::post(https(path)).header("content-type", "application/json").body(full(body));
        patiently(client.send_request(request.expect("a request"))).await.expect("answered");
        assert_eq!(patiently(saw.recv()).await, Some(vec![body.len()]), "{path}");
    }
}

#[tokio::test]
async fn many_requests_at_once_share_one_connection() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    site.serve(&["h2"], move |_, stream| {
        counter.fetch_add(1, Ordering::Relaxed);
        echo(stream, 200)
    });
    let mut waiting = Vec::new();
    for index in 0..80 {
        let mut client = rig.http2().await;
        waiting.push(tokio::spawn(async move {
            let request = Request::post(https("/")).body(full(index.to_string())).expect("a request");
            let response = patiently(client.send_request(request)).await.expect("answered");
            assert_eq!(text(response.into_body()).await, index.to_string());
        }));
    }
    for each in waiting {
        each.await.expect("no panic");
    }
    rig.recorder.records(80).await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn more_streams_than_a_provider_allows_get_another_connection_instead_of_a_queue() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let arrived = arrived.clone();
        async move {
            let mut connection = h2::server::Builder::new()
                .max_concurrent_streams(2)
                .handshake::<_, Bytes>(stream)
                .await
                .expect("HTTP/2");
            let mut held = Vec::new();
            while let Some(Ok((_, respond))) = connection.accept().await {
                held.push(respond);
                arrived.send(()).expect("the test waits");
            }
        }
    });
    let mut clients = Vec::new();
    for _ in 0..7 {
        let mut client = rig.http2().await;
        clients.push(tokio::spawn(async move { client.send_request(get("/")).await }));
        // None is answered, so all seven can only arrive side by side.
        patiently(arrivals.recv()).await.expect("it arrives");
        // Until the provider's SETTINGS are read, it is taken to allow a hundred.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for client in clients {
        client.abort();
    }
    assert!(rig.recorder.records(7).await.iter().all(|record| record.outcome == Outcome::ClientGone));
    assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2: true }), 4);
}

/// Sends every request's body back.
async fn echo(stream: TlsStream, streams: u32) {
    let handshake = h2::server::Builder::new().max_concurrent_streams(streams).handshake(stream);
    answer(handshake.await.expect("HTTP/2"), send_back).await;
}

async fn send_back(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let data = frames(&mut request.into_body()).await.concat();
    let mut sending = respond.send_response(Response::new(()), false).expect("open");
    sending.send_data(data.into(), true).expect("open");
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_with_its_body() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2"], |index, stream| async move {
        if index > 0 {
            return echo(stream, 100).await;
        }
        let mut connection = accept(stream).await;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    });
    let mut client = rig.http2().await;
    let request = Request::post(https("/")).body(full("again")).expect("a request");
    let response = patiently(client.send_request(request)).await.expect("answered");
    assert_eq!((response.status(), text(response.into_body()).await), (StatusCode::OK, "again".to_owned()));
    assert_eq!(rig.recorder.record().await.outcome, Outcome::Completed);
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 1);
}

#[tokio::test]
async fn a_body_that_is_sent_again_is_whole_however_slowly_it_is_read() {
    let site = Site::new().await;
    let limits = Limits { resend_within: Duration::from_millis(100), ..Limits::default() };
    let rig = Rig::with(&site, site.address(), limits, Vec::new());
    site.serve(&["h2"], |index, stream| async move {
        if index > 0 {
            // With the least room there is, and late.
            let connection = h2::server::handshake(stream).await.expect("the proxy speaks HTTP/2");
            return answer(connection, |request, respond| async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                send_back(request, respond).await;
            })
            .await;
        }
        answer(accept(stream).await, |request, mut respond| async move {
            frames(&mut request.into_body()).await;
            respond.send_reset(Reason::REFUSED_STREAM);
        })
        .await;
    });
    let mut client = rig.http2().await;
    let request = Request::post(https("/")).body(full(vec![b'x'; 200_000])).expect("a request");
    let response = patiently(client.send_request(request)).await.expect("answered");
    assert_eq!((response.status(), text(response.into_body()).await.len()), (StatusCode::OK, 200_000));
}

#[tokio::test]
async fn after_goaway_streams_finish_and_new_requests_go_elsewhere() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (go, gone) = tokio::sync::watch::channel(false);
    site.serve(&["h2"], move |index, stream| {
        let mut gone = gone.clone();
        async move {
            if index > 0 {
                return echo(stream, 100).await;
            }
            let mut connection = accept(stream).await;
            let (_, mut respond) = connection.accept().await.expect("a request").expect("whole");
            let mut sending = respond.send_response(Response::new(()), false).expect("open");
            sending.send_data(Bytes::from_static(b"first "), false).expect("open");
            connection.graceful_shutdown();
            let mut finished = false;
            loop {
                tokio::select! {
                    // Requests that cross with GOAWAY are served.
                    next = connection.accept() => match next {
                        Some(Ok((request, respond))) => drop(tokio::spawn(send_back(request, respond))),
                        _ => return,
                    },
                    _ = gone.wait_for(|gone| *gone), if !finished => {
                        sending.send_data(Bytes::from_static(b"last"), true).expect("open");
                        finished = true;
                    }
                }
            }
        }
    });
    let mut client = rig.http2().await;
    let first =
        patiently(client.send_request(Request::get(https("/1")).body(full("")).expect("ok"))).await.expect("answered");
    let mut body = first.into_body();
    assert_eq!(patiently(body.frame()).await.expect("a frame").expect("whole").into_data().expect("data"), "first ");
    // GOAWAY may be on its way still; whenever it arrives, no request is lost.
    for index in 0..20 {
        let request = Request::post(https("/2")).body(full(index.to_string())).expect("a request");
        let response = patiently(client.send_request(request)).await.expect("answered");
        assert_eq!(text(response.into_body()).await, index.to_string());
    }
    go.send_replace(true);
    assert_eq!(text(body).await, "last");
    assert!(rig.recorder.records(21).await.iter().all(|record| record.outcome == Outcome::Completed));
}

#[tokio::test]
async fn a_request_that_meets_one_closing_connection_after_the_other_is_answered() {
    const CONNECTIONS: usize = 5;
    let site = Site::new().await;
    let limits = Limits { streams_per_connection: 2, ..Limits::default() };
    let rig = Rig::with(&site, site.address(), limits, Vec::new());
    let (go, gone) = tokio::sync::watch::channel(false);
    site.serve(&["h2"], move |index, stream| {
        let mut gone = gone.clone();
        async move {
            if index >= CONNECTIONS {
                return echo(stream, 100).await;
            }
            let mut connection = accept(stream).await;
            let mut held = Vec::new();
            let mut is_closing = false;
            loop {
                tokio::select! {
                    // One of two is held, so that the connection is in use and has room for another.
                    next = connection.accept() => match next {
                        Some(Ok((request, respond))) if request.uri().path() == "/hold" => held.push(respond),
                        Some(Ok((request, respond))) => drop(tokio::spawn(send_back(request, respond))),
                        _ => return,
                    },
                    _ = gone.wait_for(|gone| *gone), if !is_closing => {
                        connection.graceful_shutdown();
                        is_closing = true;
                    }
                }
            }
        }
    });
    let mut client = rig.http2().await;
    let mut held = Vec::new();
    for count in 1..=CONNECTIONS {
        for _ in 0..2 {
            let mut client = client.clone();
            held.push(tokio::spawn(async move { client.send_request(post("/hold", "")).await }));
        }
        rig.recorder.event(UpstreamEvent::Connected { http2: true }, count).await;
        while rig.recorder.opened() < 2 * count {
            tokio::task::yield_now().await;
        }
    }
    // The second of each pair leaves.
    for second in held.iter().skip(1).step_by(2) {
        second.abort();
    }
    rig.recorder.records(CONNECTIONS).await;
    go.send_replace(true);
    // Whenever they arrive at the proxy, no request is lost to them.
    for index in 0..20 {
        let request = post("/", &index.to_string());
        let response = patiently(client.send_request(request)).await.expect("answered");
        assert_eq!((response.status(), text(response.into_body()).await), (StatusCode::OK, index.to_string()));
    }
}

/// Opens the other end's window, which was closed, once it is told to.
async fn open_late<T>(
    connection: &mut h2::client::Connection<T, Bytes>,
    open: oneshot::Receiver<()>,
) -> Result<(), h2::Error>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    tokio::select! {
        ended = &mut *connection => return ended,
        opened = open => opened.expect("the test says when"),
    }
    connection.set_initial_window_size(65_535)?;
    connection.await
}

#[tokio::test]
async fn an_answer_in_one_piece_waits_for_a_client_that_has_no_room_yet() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let body: String = "0123456789".repeat(500);
    let answer_with = Bytes::from(body.clone());
    site.serve(&["h2"], move |_, stream| {
        let body = answer_with.clone();
        async move {
            let each = move |_, mut respond: h2::server::SendResponse<Bytes>| {
                let body = body.clone();
                async move {
                    let mut sending = respond.send_response(Response::new(()), false).expect("open");
                    sending.send_data(body, true).expect("open");
                }
            };
            answer(accept(stream).await, each).await;
        }
    });
    let (stream, _) = rig.client(true).await;
    let handshake = h2::client::Builder::new().initial_window_size(0).handshake(stream);
    let (mut requests, mut connection) = handshake.await.expect("the proxy speaks HTTP/2");
    let (open, opened) = oneshot::channel();
    tokio::spawn(async move { drop(open_late(&mut connection, opened).await) });
    let request = Request::get(https("/")).body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("open");
    let mut answer = patiently(response).await.expect("its head").into_body();
    // The proxy is done with it, and holds nothing of it but what HTTP/2 does.
    assert_eq!(rig.recorder.record().await.outcome, Outcome::Completed);
    open.send(()).expect("the connection lasts");
    assert_eq!(patiently(frames(&mut answer)).await.concat(), body.as_bytes());
}

#[tokio::test]
async fn a_request_in_one_piece_waits_for_a_provider_that_has_no_room_yet() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2"], |_, stream| async move {
        let handshake = h2::server::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream);
        let mut connection = handshake.await.expect("the proxy speaks HTTP/2");
        // By the second request, it knows the settings and has said so.
        let (_, mut first) = connection.accept().await.expect("a request").expect("its head");
        first.send_response(Response::new(()), true).expect("open");
        let (request, respond) = connection.accept().await.expect("a request").expect("its head");
        connection.set_initial_window_size(65_535).expect("open");
        tokio::spawn(send_back(request, respond));
        // Driven to its end.
        while connection.accept().await.is_some() {}
    });
    let mut client = rig.http2().await;
    patiently(client.send_request(post("/", ""))).await.expect("answered");
    let body = "0123456789".repeat(500);
    let response = patiently(client.send_request(post("/", &body))).await.expect("answered");
    assert_eq!(text(response.into_body()).await, body);
    assert!(rig.recorder.records(2).await.iter().all(|record| record.outcome == Outcome::Completed));
}

#[tokio::test]
async fn resets_pass_with_their_reason_in_both_directions() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (seen, mut saw) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let seen = seen.clone();
        async move {
            let mut connection = accept(stream).await;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut sending = respond.send_response(Response::new(()), false).expect("open");
                sending.send_data(Bytes::from_static(b"half"), false).expect("open");
                let seen = seen.clone();
                tokio::spawn(async move {
                    if request.uri().path() == "/enough" {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        return sending.send_reset(Reason::ENHANCE_YOUR_CALM);
                    }
                    let reason = std::future::poll_fn(|cx| sending.poll_reset(cx)).await.expect("a reset");
                    seen.send(reason).expect("the test waits");
                });
            }
        }
    });
    let mut client = rig.http2().await;
    let mut enough = patiently(client.send_request(get("/enough"))).await.expect("answered").into_body();
    assert_eq!(patiently(enough.frame()).await.expect("a frame").expect("whole").into_data().expect("data"), "half");
    let error = patiently(enough.frame()).await.expect("an end").expect_err("not in order");
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    assert_eq!(source.and_then(h2::Error::reason), Some(Reason::ENHANCE_YOUR_CALM));

    let mut left = patiently(client.send_request(get("/left"))).await.expect("answered").into_body();
    assert_eq!(patiently(left.frame()).await.expect("a frame").expect("whole").into_data().expect("data"), "half");
    drop(left);
    assert_eq!(patiently(saw.recv()).await, Some(Reason::CANCEL));
    let records = rig.recorder.records(2).await;
    assert!(matches!(records[0].outcome, Outcome::UpstreamFailed(_)), "{records:#?}");
    assert_eq!(records[1].outcome, Outcome::ClientGone);
}

#[tokio::test]
async fn a_cancelled_upload_is_cancelled_at_the_provider_too() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (seen, mut saw) = mpsc::unbounded_channel();
    site.serve(&["h2"], move |_, stream| {
        let seen = seen.clone();
        async move {
            let mut connection = accept(stream).await;
            while let Some(Ok((request, respond))) = connection.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    assert_eq!(body.data().await.expect("data").expect("whole"), "begun");
                    seen.send(None).expect("the test waits");
                    let error = body.data().await.expect("an end").expect_err("not in order");
                    seen.send(error.reason()).expect("the test waits");
                    drop(respond);
                });
            }
        }
    });
    let (stream, _) = rig.client(true).await;
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    let (_response, mut sending) =
        client.send_request(Request::post(https("/")).body(()).expect("ok"), false).expect("open");
    sending.send_data(Bytes::from_static(b"begun"), false).expect("open");
    assert_eq!(patiently(saw.recv()).await, Some(None));
    sending.send_reset(Reason::CANCEL);
    assert_eq!(patiently(saw.recv()).await, Some(Some(Reason::CANCEL)));
    assert_eq!(rig.recorder.record().await.outcome, Outcome::ClientGone);
}

fn websocket() -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = https("/v1/realtime");
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    request
}

/// Answers plain requests, and echoes what comes on streams that switch protocols.
async fn websockets(stream: TlsStream, has_extended_connect: bool) {
    let mut builder = h2::server::Builder::new();
    if has_extended_connect {
        builder.enable_connect_protocol();
    }
    let mut connection = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.method() != Method::CONNECT {
            tokio::spawn(send_back(request, respond));
            continue;
        }
        let protocol = request.extensions().get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        assert_eq!((protocol, request.uri().path()), (Some("websocket"), "/v1/realtime"));
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut sending = respond.send_response(Response::new(()), false).expect("open");
            while let Some(Ok(chunk)) = body.data().await {
                body.flow_control().release_capacity(chunk.len()).expect("open");
                sending.send_data(chunk, false).expect("open");
            }
            sending.send_data(Bytes::new(), true).expect("open");
        });
    }
}

#[tokio::test]
async fn extended_connect_passes_and_is_offered_where_the_provider_has_it() {
    for has in [true, false] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&["h2"], move |_, stream| websockets(stream, has));
        // What the provider has is learned from the first exchange with it.
        let response = patiently(rig.http2().await.send_request(get("/"))).await.expect("answered");
        drop(response.into_body().collect().await.expect("whole"));
        rig.recorder.record().await;
        let (stream, _) = rig.client(true).await;
        let (mut client, mut connection) =
            hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let settings = tokio::time::timeout(Duration::from_millis(100), &mut connection).await;
        assert!(settings.is_err(), "the connection goes on");
        assert_eq!(connection.is_extended_connect_protocol_enabled(), has);
        tokio::spawn(async move { drop(connection.await) });
        if !has {
            patiently(client.send_request(websocket())).await.expect_err("it was not offered");
            continue;
        }
        let mut response = patiently(client.send_request(websocket())).await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        let mut upgraded = TokioIo::new(patiently(hyper::upgrade::on(&mut response)).await.expect("switched"));
        upgraded.write_all(b"ping").await.expect("open");
        let mut pong = [0; 4];
        patiently(upgraded.read_exact(&mut pong)).await.expect("echoed");
        assert_eq!(&pong, b"ping");
        upgraded.shutdown().await.expect("open");
        assert_eq!(patiently(upgraded.read(&mut pong)).await.expect("an end"), 0);
        let record = rig.recorder.records(2).await.remove(1);
        assert_eq!((record.outcome, record.request_bytes, record.response_bytes), (Outcome::Completed, 4, 4));
    }
}

#[tokio::test]
async fn extended_connect_is_refused_cleanly_when_the_provider_no_longer_has_it() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    // The first connection has it, and goes away; the second has not.
    site.serve(&["h2"], |index, stream| async move {
        drop(tokio::time::timeout(Duration::from_millis(300), websockets(stream, index == 0)).await);
        if index > 0 {
            std::future::pending::<()>().await;
        }
    });
    let response = patiently(rig.http2().await.send_request(get("/"))).await.expect("answered");
    drop(response.into_body().collect().await.expect("whole"));
    let mut client = rig.http2().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let response = patiently(client.send_request(websocket())).await.expect("answered");
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert!(text(response.into_body()).await.contains("RFC 8441"));
    rig.recorder.records(2).await;
}

#[tokio::test]
async fn a_drain_finishes_streams_and_then_closes() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (go, gone) = tokio::sync::watch::channel(false);
    site.serve(&["h2"], move |_, stream| {
        let gone = gone.clone();
        async move {
            let mut connection = accept(stream).await;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut gone = gone.clone();
                tokio::spawn(async move {
                    let mut sending = respond.send_response(Response::new(()), false).expect("open");
                    sending.send_data(Bytes::from_static(b"first "), false).expect("open");
                    drop(gone.wait_for(|gone| *gone).await);
                    sending.send_data(Bytes::from_static(b"last"), true).expect("open");
                });
            }
        }
    });
    let mut client = rig.http2().await;
    let response = patiently(client.send_request(get("/"))).await.expect("answered");
    let mut body = response.into_body();
    assert_eq!(patiently(body.frame()).await.expect("a frame").expect("whole").into_data().expect("data"), "first ");
    let Rig { trigger, watch, recorder, .. } = rig;
    drop(watch);
    let draining = tokio::spawn(trigger.drain(crate::support::PATIENCE));
    // GOAWAY arrives, and new requests are not taken.
    tokio::time::sleep(Duration::from_millis(100)).await;
    patiently(client.send_request(get("/late"))).await.expect_err("not taken");
    assert!(!draining.is_finished());
    go.send_replace(true);
    assert_eq!(text(body).await, "last");
    patiently(draining).await.expect("no panic").expect("drained");
    assert_eq!(recorder.record().await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn large_heads_pass() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2", "http/1.1"], |_, stream| async move {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let mut connection = accept(stream).await;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut response = Response::new(());
                *response.headers_mut() = request.headers().clone();
                respond.send_response(response, true).expect("open");
            }
        } else {
            let mut stream = stream;
            let head = read_head(&mut tokio::io::BufReader::new(&mut stream)).await;
            let fields = head.split_once("\r\n").expect("a request line").1.trim_end();
            say(&mut stream, format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 0\r\n\r\n")).await;
        }
    });
    let value = "v".repeat(1000);
    let mut client = rig.http2().await;
    let mut request = get("/");
    for index in 0..100 {
        let name = http::HeaderName::try_from(format!("x-{index}")).expect("a name");
        request.headers_mut().insert(name, HeaderValue::try_from(&value).expect("a value"));
    }
    let expected = request.headers().clone();
    let response = patiently(client.send_request(request)).await.expect("answered");
    assert_eq!(*response.headers(), expected);

    let (mut client, _) = rig.client(false).await;
    let fields = (0..256).map(|index| format!("X-{index}: {value}\r\n")).collect::<Vec<_>>().concat();
    say(&mut client, format!("GET / HTTP/1.1\r\nHost: api.openai.com\r\n{fields}\r\n")).await;
    expect(&mut client, &format!("HTTP/1.1 200 OK\r\nHost: api.openai.com\r\n{fields}Content-Length: 0\r\n\r\n")).await;
    rig.recorder.records(2).await;
}

#[tokio::test]
async fn heads_beyond_the_bound_are_refused_and_the_connections_go_on() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2"], |index, stream| async move {
        assert_eq!(index, 0, "one connection is enough");
        let mut connection = accept(stream).await;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut response = Response::new(());
            if request.uri().path() == "/large" {
                response.headers_mut().extend(large(200));
            }
            respond.send_response(response, true).expect("open");
        }
    });
    let mut client = rig.http2().await;
    for _ in 0..2 {
        let mut request = get("/");
        request.headers_mut().extend(large(200));
        let response = patiently(client.send_request(request)).await.expect("answered");
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let response = patiently(client.send_request(get("/large"))).await.expect("answered");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let response = patiently(client.send_request(get("/"))).await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
    }
    rig.recorder.records(4).await;
}

/// Fields of 1000 bytes each.
fn large(fields: usize) -> HeaderMap {
    let name = |index| http::HeaderName::try_from(format!("x-{index}")).expect("a name");
    (0..fields).map(|index| (name(index), HeaderValue::try_from("v".repeat(1000)).expect("a value"))).collect()
}

#[tokio::test]
async fn another_host_than_the_handshakes_is_misdirected() {
    let site = Site::new().await;
    let rig = Rig::with(&site, site.address(), Limits::default(), Vec::new());
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "POST /v1/responses HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Length: 0\r\n\r\n").await;
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{head}");
    let mut client = rig.http2().await;
    let request = Request::get("https://storage.googleapis.com/").body(Empty::<Bytes>::new()).expect("a request");
    let response = patiently(client.send_request(request)).await.expect("answered");
    assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    let body: serde_json::Value = serde_json::from_str(&text(response.into_body()).await).expect("JSON");
    assert!(body["error"]["message"].as_str().expect("a message").contains(HOST));
    for record in rig.recorder.records(2).await {
        assert_eq!(record.outcome, Outcome::Refused(tollgate_ledger::Refusal::Misdirected));
    }
}
