//! Switches of protocol over HTTP/1.1.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::{Error, Message, http::StatusCode};
use tollgate_ledger::Outcome;

use crate::support::{Rig, Site, expect, patiently, read_head, say};

#[tokio::test]
async fn a_websocket_passes_and_is_recorded_when_it_closes() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2", "http/1.1"], |_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.expect("open");
            }
        }
    });
    let (stream, _) = rig.client(false).await;
    let request = "ws://api.openai.com/v1/responses";
    let (mut socket, response) =
        patiently(tokio_tungstenite::client_async(request, stream)).await.expect("a WebSocket");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    for index in 0..100 {
        let message = Message::text(format!("{index} {}", "x".repeat(index * 100)));
        socket.send(message.clone()).await.expect("open");
        assert_eq!(patiently(socket.next()).await.expect("open").expect("whole"), message);
    }
    assert_eq!(rig.recorder.settled(), 0, "it goes on");
    socket.close(None).await.expect("open");
    while let Some(message) = patiently(socket.next()).await {
        message.expect("an orderly close");
    }
    drop(socket);
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.status), (Outcome::Completed, Some(StatusCode::SWITCHING_PROTOCOLS)));
    assert!(record.request_bytes > 495_000 && record.response_bytes > 495_000, "{record:?}");
}

#[tokio::test]
async fn a_refused_switch_keeps_its_words_and_the_connection_goes_on() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let answer =
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo/2\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno";
    let request = "GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        for _ in 0..2 {
            expect(&mut stream, request).await;
            say(&mut stream, answer).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..2 {
        say(&mut client, request).await;
        expect(&mut client, answer).await;
    }
    assert!(rig.recorder.records(2).await.iter().all(|record| record.outcome == Outcome::Completed));
}

#[tokio::test]
async fn what_is_sent_right_behind_the_switch_is_not_lost() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        assert!(read_head(&mut stream).await.contains("upgrade: echo"));
        say(&mut stream, "HTTP/1.1 101 Go On\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nfirst").await;
        expect(&mut stream, "eager").await;
        say(&mut stream, "last").await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "GET / HTTP/1.1\r\nhost: api.openai.com\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\neager")
        .await;
    expect(&mut client, "HTTP/1.1 101 Go On\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nfirstlast").await;
}

#[tokio::test]
async fn a_client_that_vanishes_closes_the_providers_side() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let ended = Arc::new(tokio::sync::Notify::new());
    let end = Arc::clone(&ended);
    site.serve(&["http/1.1"], move |_, stream| {
        let end = Arc::clone(&end);
        async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
            let error = patiently(socket.next()).await.expect("an end").expect_err("not in order");
            assert!(matches!(error, Error::Protocol(_) | Error::Io(_)), "{error}");
            end.notify_one();
        }
    });
    let (stream, _) = rig.client(false).await;
    let (socket, _) =
        patiently(tokio_tungstenite::client_async("ws://api.openai.com/", stream)).await.expect("a WebSocket");
    drop(socket);
    patiently(ended.notified()).await;
    rig.recorder.record().await;
}
