use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_provider::{random_bytes, sha256};

use crate::client::{Fixture, OPENAI, bytes, chat, full, json};

#[tokio::test]
async fn echo_tells_what_arrived_with_trailers() {
    let fixture = Fixture::start();
    let body = random_bytes(1, 1_000_000);
    for mut client in fixture.clients(OPENAI).await {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from(body.clone()))), Ok(Frame::trailers(trailers))];
        let request = Request::put("/echo?a=%20b")
            .header("trailer", "x-end")
            .body(StreamBody::new(futures_util::stream::iter(frames)).boxed());
        let told = json(client.send(request.unwrap()).await.unwrap()).await;
        assert_eq!(told["sha256"], sha256(&body));
        assert_eq!(
            (told["length"].as_u64(), told["method"].as_str(), told["path"].as_str()),
            (Some(1_000_000), Some("PUT"), Some("/echo?a=%20b"))
        );
        assert_eq!(told["trailers"], serde_json::json!([["x-end", "yes"]]));
    }
}

#[tokio::test]
async fn random_bytes_come_as_promised() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        for (path, length) in
            [("/bytes/3000001?seed=9", 3_000_001), ("/bytes/1001?seed=9&chunk=16", 1001), ("/bytes/0", 0)]
        {
            let request = Request::get(path).body(full("")).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.headers()["content-length"].to_str().unwrap(), length.to_string());
            assert_eq!(bytes(response).await, random_bytes(9, length));
        }
        let mut request = crate::client::post("/bytes/5000", "trailers", "");
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let response = client.send(request).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-provider-trailer"], "the end");
    }
}

#[tokio::test]
async fn mirror_sends_frames_back_before_the_request_ends() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            let data = receiver.recv().await?;
            Some((Ok(Frame::data(data)), receiver))
        });
        let request = Request::post("/mirror").body(BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(stream)))));
        sender.send(Bytes::from("first")).await.unwrap();
        let mut back = client.send(request.unwrap()).await.unwrap().into_body();
        assert_eq!(back.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        for index in 0..5 {
            let data = Bytes::from(format!("frame {index}"));
            sender.send(data.clone()).await.unwrap();
            assert_eq!(back.frame().await.unwrap().unwrap().into_data().unwrap(), data);
        }
        drop(sender);
        let rest = back.collect().await.unwrap();
        assert!(rest.to_bytes().is_empty());
    }
}

/// A stream is only polled by one task; hyper's boxed body wants it shareable all the same.
struct SyncStream<S>(std::pin::Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

#[tokio::test]
async fn header_order_case_and_repeats_are_recorded_and_answered_as_written() {
    let fixture = Fixture::start();
    let mut tls = fixture.tls(OPENAI, "http/1.1").await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: api.openai.com\r\nZ-Odd:  1\r\na-LOW: 2\r\nz-odd: 3\r\nX-Provider-Fault: odd-headers\r\nContent-Length: 2\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    tls.write_all(b"hi").await.unwrap();
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 Odd But Fine\r\nX-oDD-cASE: One\r\nx-second: 2\r\n"), "{answer}");
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(told["headers"][1], serde_json::json!(["Z-Odd", "1"]));
    let exchange = fixture.provider.truth().exchanges().pop().unwrap();
    assert_eq!(exchange.raw_head.as_deref(), Some(head.as_bytes()));
    let names: Vec<_> = exchange.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "Z-Odd", "a-LOW", "z-odd", "X-Provider-Fault", "Content-Length"]);
}

#[tokio::test]
async fn expect_100_continue_is_honoured_and_an_early_answer_spares_the_body() {
    let fixture = Fixture::start();
    for (fault, first_line) in [("", "HTTP/1.1 100 Continue\r\n"), ("early,413", "HTTP/1.1 413 ")] {
        let mut tls = fixture.tls(OPENAI, "http/1.1").await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: x\r\nexpect: 100-continue\r\nx-provider-fault: {fault}\r\ncontent-length: 1000\r\n\r\n"
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut first = vec![0; first_line.len()];
        tls.read_exact(&mut first).await.unwrap();
        assert_eq!(String::from_utf8(first).unwrap(), first_line);
    }
}

#[tokio::test]
async fn huge_response_headers_arrive() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        let response = client.faulty("/v1/chat/completions", "huge-headers=60000", chat("gpt-4o-mini", false)).await;
        let size: usize = response
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-huge-"))
            .map(|(_, value)| value.len())
            .sum();
        assert!(size >= 60_000);
    }
}

#[tokio::test]
async fn websockets_echo_on_http1_and_upgrades_pass_raw_bytes() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let fixture = Fixture::start();
    let tls = fixture.tls(OPENAI, "http/1.1").await.unwrap();
    let url = "wss://api.openai.com/websocket?model=gpt-realtime";
    let (mut socket, response) = tokio_tungstenite::client_async(url, tls).await.unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("naïve 漢字"), Message::binary(random_bytes(3, 70_000))] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    drop(socket);

    let tls = fixture.tls(OPENAI, "http/1.1").await.unwrap();
    let refused = tokio_tungstenite::client_async("wss://api.openai.com/http-only/responses", tls).await.err().unwrap();
    assert!(refused.to_string().contains("426"), "{refused}");

    let mut tls = fixture.tls(OPENAI, "http/1.1").await.unwrap();
    tls.write_all(b"GET /upgrade HTTP/1.1\r\nhost: api.openai.com\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nearly")
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"early") {
        assert_ne!(tls.read_buf(&mut seen).await.unwrap(), 0);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
    let data = random_bytes(4, 100_000);
    let mut back = vec![0; data.len()];
    let (mut read, mut write) = tokio::io::split(tls);
    let (sent, received) = tokio::join!(write.write_all(&data), read.read_exact(&mut back));
    sent.unwrap();
    received.unwrap();
    assert_eq!(back, data);
}

#[tokio::test]
async fn extended_connect_echoes_on_http2() {
    let fixture = Fixture::start();
    let (mut client, connection) = h2::client::handshake(fixture.tls(OPENAI, "h2").await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    while !client.is_extended_connect_protocol_enabled() {
        client = client.ready().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut request = Request::connect("https://api.openai.com/upgrade").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("raw"));
    let (response, mut send) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    send.send_data(Bytes::from("there and back"), true).unwrap();
    assert_eq!(response.into_body().data().await.unwrap().unwrap(), "there and back");
}

#[tokio::test]
async fn the_control_interface_steers_from_outside() {
    let mut fixture = Fixture::start();
    let control = fixture.provider.control(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let ask = async |request: &str| {
        let mut tcp = tokio::net::TcpStream::connect(control).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let get = async |path: &str| ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    let post = async |path: &str, body: &str| {
        ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    };
    assert_eq!(post("/faults?requests=1", "503").await, "injected\n");
    assert!(post("/faults", "nonsense").await.contains("unknown fault"));
    let mut client = fixture.http1(OPENAI).await;
    assert_eq!(client.post("/v1/chat/completions", chat("gpt-4o-mini", false)).await.status(), 503);
    post("/gate/g?allow=1000", "").await;
    let response = client.faulty("/v1/chat/completions", "gate=g", chat("gpt-4o-mini", true)).await;
    assert!(bytes(response).await.ends_with(b"[DONE]\n\n"));
    let truth: Vec<tollgate_provider::Exchange> = serde_json::from_str(&get("/truth?settled").await).unwrap();
    assert_eq!(truth.iter().map(|it| it.status).collect::<Vec<_>>(), [503, 200]);
    assert_eq!(truth[1].header("X-PROVIDER-FAULT"), Some("gate=g"));
    let sums: tollgate_provider::Sums = serde_json::from_str(&get("/sums").await).unwrap();
    assert_eq!((sums.completed, Some(sums.usage)), (2, truth[1].usage));
    assert_eq!(get("/root.pem").await, fixture.pki.root_pem());
}
