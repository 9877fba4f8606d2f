use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate_provider::{Dialect, Flaw, Outcome};

use crate::client::{ANTHROPIC, Client, Fixture, OPENAI, bytes, chat, data, full, json, text};

const CHAT: &str = "/v1/chat/completions";

/// The causes of an error, joined.
fn causes(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        all = format!("{all}: {cause}");
        next = cause.source();
    }
    all
}

async fn ends_with_error(client: &mut Client, fault: &str, stream: bool) -> (String, String) {
    let mut body = client.faulty(CHAT, fault, chat("gpt-4o-mini", stream)).await.into_body();
    let mut seen = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => return (String::from_utf8_lossy(&seen).into_owned(), causes(&error)),
            None => return (String::from_utf8_lossy(&seen).into_owned(), String::new()),
        }
    }
}

#[tokio::test]
async fn statuses_come_in_the_dialects_shape_as_often_as_asked() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(ANTHROPIC).await;
    let body = r#"{"model":"claude-sonnet-4-5+529+retry-after=3+times=2","messages":[]}"#;
    for _ in 0..2 {
        let response = client.post("/v1/messages", body).await;
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (529, "3"));
        assert_eq!(json(response).await["error"]["type"], "overloaded_error");
    }
    assert_eq!(client.post("/v1/messages", body).await.status(), 200);

    fixture.provider.inject("503".parse().unwrap(), 1);
    assert_eq!(client.post("/v1/messages", body).await.status(), 503);
    assert_eq!(client.post("/v1/messages", body).await.status(), 200);
}

#[tokio::test]
async fn a_reset_breaks_the_connection_on_http1_and_the_stream_on_http2() {
    let fixture = Fixture::start();
    for stream in [true, false] {
        let (seen, error) = ends_with_error(&mut fixture.http1(OPENAI).await, "reset=3", stream).await;
        assert!(error.contains("reset by peer"), "{error}");
        assert!(!seen.is_empty());
        if stream {
            assert_eq!(data(&seen).len(), 3);
        }
        let mut client = fixture.http2(OPENAI).await;
        let (seen, error) = ends_with_error(&mut client, "reset=3", stream).await;
        assert!(error.contains("unexpected internal error"), "{error}");
        assert!(!seen.is_empty());
        assert_eq!(client.post(CHAT, chat("gpt-4o-mini", false)).await.status(), 200, "the connection lives on");
        let (_, error) = ends_with_error(&mut client, "reset-connection=3", stream).await;
        assert!(error.contains("connection reset"), "{error}");
    }
    fixture.provider.truth().settled().await;
    assert_eq!(fixture.provider.truth().sums().faulted, 6);
}

#[tokio::test]
async fn a_truncated_answer_is_short_of_its_length_or_its_last_chunk() {
    let fixture = Fixture::start();
    for stream in [true, false] {
        let (_, error) = ends_with_error(&mut fixture.http1(OPENAI).await, "truncate=3", stream).await;
        assert!(!error.is_empty());
    }
    let mut client = fixture.http2(OPENAI).await;
    let (seen, error) = ends_with_error(&mut client, "truncate=3", true).await;
    assert_eq!((data(&seen).len(), &error[..]), (3, ""), "END_STREAM, and it is for the client to miss [DONE]");
}

#[tokio::test]
async fn an_error_event_ends_a_stream_cleanly() {
    let fixture = Fixture::start();
    for (fault, events) in [("error=2", 3), ("error=2,gzip", 0)] {
        let (seen, error) = ends_with_error(&mut fixture.http1(OPENAI).await, fault, true).await;
        assert_eq!(error, "");
        if events > 0 {
            let last: Value = serde_json::from_str(data(&seen)[events - 1]).unwrap();
            assert_eq!((data(&seen).len(), last["error"]["type"].as_str()), (events, Some("server_error")));
        }
    }
}

#[tokio::test]
async fn splits_change_the_frames_and_not_the_bytes() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        for stream in [true, false] {
            let whole = bytes(client.post(CHAT, chat("gpt-4o-mini", stream)).await).await;
            let mut body = client.faulty(CHAT, "split", chat("gpt-4o-mini", stream)).await.into_body();
            let (mut seen, mut frames) = (Vec::new(), 0);
            while let Some(frame) = body.frame().await {
                seen.extend_from_slice(&frame.unwrap().into_data().unwrap());
                frames += 1;
            }
            assert_eq!(seen, whole);
            assert!(frames > whole.len() / 8, "{frames} frames for {} bytes", whole.len());
            let mut body = client.faulty(CHAT, "split-utf8", chat("gpt-4o-mini", stream)).await.into_body();
            let mut inside = 0;
            let mut seen = Vec::new();
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                inside += usize::from(std::str::from_utf8(&data).is_err());
                seen.extend_from_slice(&data);
            }
            assert_eq!(seen, whole);
            assert!(inside > 4, "only {inside} frames end inside a character");
        }
    }
}

#[tokio::test]
async fn answers_are_coded_as_accepted_or_as_forced() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(ANTHROPIC).await;
    let body = r#"{"model":"claude-sonnet-4-5","stream":true,"messages":[]}"#;
    let plain = bytes(client.post("/v1/messages", body).await).await;
    let request =
        Request::post("/v1/messages").header("accept-encoding", "gzip, deflate, br").body(full(body)).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "br");
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut brotli::Decompressor::new(&bytes(response).await[..], 4096), &mut decoded).unwrap();
    assert_eq!(decoded, plain);
    let response = client.faulty("/v1/messages", "zstd", body).await;
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert_eq!(zstd::decode_all(&bytes(response).await[..]).unwrap(), plain);
}

#[tokio::test]
async fn a_gate_lets_events_through_one_by_one() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        let name = if client.is_http2() { "two" } else { "one" };
        let gate = fixture.provider.gate(name);
        let mut body = client.faulty(CHAT, &format!("gate={name}"), chat("gpt-4o-mini", true)).await.into_body();
        for _ in 0..5 {
            let early = tokio::time::timeout(Duration::from_millis(30), body.frame()).await;
            assert!(early.is_err(), "an event came before it was let through");
            gate.allow(1);
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(data(std::str::from_utf8(&frame).unwrap()).len(), 1);
        }
        assert_eq!((gate.waiting(), gate.passed()), (1, 5));
        gate.open();
        assert!(String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap().ends_with("[DONE]\n\n"));
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_exchange_is_noticed() {
    let fixture = Fixture::start();
    let truth = fixture.provider.truth();
    for (fault, frames) in [("stall=2", 2), ("stall-head", 0)] {
        for mut client in fixture.clients(OPENAI).await {
            let send = client.send(crate::client::post(CHAT, fault, chat("gpt-4o-mini", true)));
            if frames == 0 {
                assert!(tokio::time::timeout(Duration::from_millis(50), send).await.is_err());
            } else {
                let mut body = send.await.unwrap().into_body();
                let mut seen = 0;
                while seen < frames {
                    seen +=
                        data(std::str::from_utf8(&body.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap())
                            .len();
                }
                let more = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
                assert!(more.is_err(), "it should stall");
            }
            drop(client);
        }
    }
    truth.settled().await;
    let exchanges = truth.exchanges();
    assert_eq!(exchanges.len(), 4);
    for exchange in exchanges {
        assert_eq!((exchange.outcome, exchange.usage), (Outcome::ClientGone, None), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_stall_of_the_head_may_pass() {
    let fixture = Fixture::start();
    let started = std::time::Instant::now();
    let response = fixture.http1(OPENAI).await.faulty(CHAT, "stall-head=80", chat("gpt-4o-mini", false)).await;
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn goaway_and_connection_close_retire_a_connection_after_the_exchange() {
    let fixture = Fixture::start_with(|builder| builder.requests_per_connection(3));
    for mut client in fixture.clients(OPENAI).await {
        assert_eq!(client.post(CHAT, chat("gpt-4o-mini", false)).await.status(), 200);
        let last = client.faulty(CHAT, "goaway", chat("gpt-4o-mini", true)).await;
        assert!(text(last).await.ends_with("[DONE]\n\n"));
        client.closed().await;
        let mut client = if client.is_http2() { fixture.http2(OPENAI).await } else { fixture.http1(OPENAI).await };
        for _ in 0..3 {
            assert!(!bytes(client.post(CHAT, chat("gpt-4o-mini", false)).await).await.is_empty());
        }
        client.closed().await;
    }
}

#[tokio::test]
async fn a_hang_up_gives_no_answer() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(OPENAI).await {
        assert!(client.send(crate::client::post(CHAT, "hang-up", chat("gpt-4o-mini", false))).await.is_err());
    }
    fixture.provider.truth().settled().await;
    assert_eq!(fixture.provider.truth().sums().faulted, 2);
}

#[tokio::test]
async fn bad_certificates_are_refused_by_a_verifying_client() {
    let flaws = [
        ("expired.example", Flaw::Expired, "expired"),
        ("early.example", Flaw::NotYetValid, "not valid yet"),
        ("wrong.example", Flaw::WrongName, "not valid for name"),
        ("stranger.example", Flaw::UnknownIssuer, "UnknownIssuer"),
        ("self.example", Flaw::SelfSigned, "UnknownIssuer"),
    ];
    let fixture = Fixture::start_with(|mut builder| {
        for (host, flaw, _) in flaws {
            builder = builder.flawed_host(host, Dialect::OpenAi, flaw);
        }
        builder.host("*.openai.azure.com", Dialect::OpenAi)
    });
    for (host, _, reason) in flaws {
        let error = fixture.tls(host, "h2").await.err().unwrap().to_string();
        assert!(error.contains(reason), "{host}: {error}");
    }
    assert!(fixture.tls("mine.openai.azure.com", "h2").await.is_ok());
    fixture.provider.present(&fixture.pki, OPENAI, Flaw::Expired).unwrap();
    assert!(fixture.tls(OPENAI, "h2").await.is_err());
    fixture.provider.present(&fixture.pki, OPENAI, Flaw::None).unwrap();
    assert!(fixture.tls(OPENAI, "h2").await.is_ok());
    let failed = fixture.provider.truth().handshakes().into_iter().filter(|it| it.error.is_some()).count();
    assert!(failed >= 5, "{failed}");
}
