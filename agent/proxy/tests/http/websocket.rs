//! Calls on WebSockets: each is a record of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tollgate_ledger::{Outcome, Record, UpstreamFailure};
use tollgate_llm::{ErrorKind, Operation, Usage, UsageSource};

use crate::support::{Recorder, Rig, Site, expect, patiently, read_head, say};

const REALTIME: &str = "ws://api.openai.com/v1/realtime?model=gpt-realtime";
const CREATE: &str = r#"{"type":"response.create","model":"gpt-5","input":"hi"}"#;

/// Answers each `response.create` of a number with a response that has used as many tokens. The first of them that says `stop` is
/// begun and no more.
async fn answer(socket: &mut WebSocketStream<TlsStream<TcpStream>>, message: &str, turn: u64) -> bool {
    if !message.contains("response.create") {
        return true;
    }
    let id = format!("resp_{turn}");
    let created = format!(r#"{{"type":"response.created","response":{{"id":"{id}","usage":null}}}}"#);
    socket.send(Message::text(created)).await.expect("open");
    let delta = format!(r#"{{"type":"response.output_text.delta","response_id":"{id}","delta":"Hello"}}"#);
    socket.send(Message::text(delta)).await.expect("open");
    if message.contains("stop") {
        return false;
    }
    let done = format!(
        r#"{{"type":"response.done","response":{{"id":"{id}","status":"completed","usage":{{"total_tokens":{},"input_tokens":{turn},"output_tokens":3}}}}}}"#,
        turn + 3
    );
    socket.send(Message::text(done)).await.expect("open");
    true
}

/// A provider that answers until it is told to stop, and then does with the socket what `then` does.
fn serve<F>(
    site: Site,
    recorder: &Arc<Recorder>,
    then: impl Fn(WebSocketStream<TlsStream<TcpStream>>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let recorder = Arc::clone(recorder);
    site.serve(&["http/1.1"], move |_, stream| {
        let (recorder, then) = (Arc::clone(&recorder), then.clone());
        async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
            let mut turn = 0;
            while let Some(Ok(message)) = socket.next().await {
                let Ok(text) = message.to_text() else { continue };
                turn += u64::from(text.contains("response.create"));
                // The session was opened, and each of its turns, before a word of it came here.
                assert_eq!(recorder.opened(), 1 + turn as usize, "{text}");
                if !answer(&mut socket, text, turn).await {
                    return then(socket).await;
                }
            }
        }
    });
}

/// What one end of a WebSocket says in words, until the other has answered them all.
async fn ask(socket: &mut WebSocketStream<TcpStream>, messages: &[&str]) {
    for message in messages {
        socket.send(Message::text(*message)).await.expect("open");
        loop {
            let message = patiently(socket.next()).await.expect("open").expect("whole");
            if message.to_text().is_ok_and(|text| text.contains("response.done")) {
                break;
            }
        }
    }
}

async fn open(rig: &Rig, url: &str) -> WebSocketStream<TcpStream> {
    let (stream, _) = rig.client(false).await;
    patiently(tokio_tungstenite::client_async(url, stream)).await.expect("a WebSocket").0
}

/// Session and turns apart.
fn apart(records: Vec<Record>) -> (Record, Vec<Record>) {
    let (mut sessions, turns): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.operation == Operation::Session);
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    (sessions.remove(0), turns)
}

#[tokio::test]
async fn each_response_is_a_record_opened_before_it_is_asked_for() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    serve(site, &rig.recorder, |_| async {});
    let mut socket = open(&rig, REALTIME).await;
    ask(&mut socket, &[CREATE, CREATE]).await;
    socket.close(None).await.expect("open");
    while let Some(Ok(_)) = patiently(socket.next()).await {}
    let (session, turns) = apart(rig.recorder.records(3).await);
    assert!(!session.is_billable() && session.usage.is_none() && session.cost.is_none(), "{session:#?}");
    assert_eq!(session.outcome, Outcome::Completed);
    assert!(session.request_bytes > 100 && session.response_bytes > 500, "{session:#?}");
    for (turn, input) in turns.iter().zip(1..) {
        assert_eq!(turn.usage, Some(Usage { input, output: 3, ..Usage::default() }));
        assert_eq!((turn.usage_source, turn.outcome), (UsageSource::Provider, Outcome::Completed));
        assert_eq!((turn.operation, turn.request_model.as_deref()), (Operation::Realtime, Some("gpt-5")));
        assert_eq!((turn.stream, turn.status.map(|status| status.as_u16())), (Some(true), Some(101)));
        assert!(turn.is_billable() && turn.cost.is_some(), "{turn:#?}");
        assert!(turn.time_to_first_byte <= turn.time_to_first_token && turn.time_to_first_token <= Some(turn.duration));
        assert!(turn.duration <= session.duration && turn.started >= session.started);
        assert_eq!((turn.request_bytes, turn.response_bytes), (0, 0), "they are the session's");
        assert!(turn.id != session.id);
    }
    assert_eq!(turns.len(), 2);
}

#[tokio::test]
async fn a_response_that_is_cut_off_tells_by_whom() {
    let stop = r#"{"type":"response.create","model":"stop"}"#;
    for (by_client, orderly) in [(true, true), (true, false), (false, true), (false, false)] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        serve(site, &rig.recorder, move |mut socket| async move {
            if by_client {
                while let Some(Ok(_)) = socket.next().await {}
            } else if orderly {
                socket.close(None).await.expect("open");
                while let Some(Ok(_)) = socket.next().await {}
            }
        });
        let mut socket = open(&rig, REALTIME).await;
        ask(&mut socket, &[CREATE]).await;
        socket.send(Message::text(stop)).await.expect("open");
        loop {
            let message = patiently(socket.next()).await.expect("open").expect("whole");
            if message.to_text().expect("text").contains("delta") {
                break;
            }
        }
        if by_client && orderly {
            socket.close(None).await.expect("open");
        }
        if !by_client || orderly {
            while let Some(Ok(_)) = patiently(socket.next()).await {}
        }
        drop(socket);
        let (_, turns) = apart(rig.recorder.records(3).await);
        let outcome = if by_client { Outcome::ClientGone } else { Outcome::UpstreamFailed(UpstreamFailure::Reset) };
        assert_eq!((turns[0].outcome, turns[0].usage_source), (Outcome::Completed, UsageSource::Provider));
        assert_eq!((turns[1].outcome, turns[1].usage_source), (outcome, UsageSource::Partial), "orderly: {orderly}");
        assert!(turns[1].time_to_first_token.is_some(), "{:#?}", turns[1]);
    }
}

#[test]
fn what_is_open_when_the_agent_ends_is_recorded_as_stopped_bytes_and_all() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (recorder, socket) = runtime.block_on(async {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        serve(site, &rig.recorder, |socket| async move {
            std::future::pending::<()>().await;
            drop(socket);
        });
        let mut socket = open(&rig, REALTIME).await;
        ask(&mut socket, &[CREATE]).await;
        socket
            .send(Message::text(r#"{"type":"response.create","response":{"instructions":"stop"}}"#))
            .await
            .expect("open");
        let message = patiently(socket.next()).await.expect("open").expect("whole");
        assert!(message.to_text().expect("text").contains("created"));
        let Rig { trigger, watch, recorder, .. } = rig;
        drop(watch);
        trigger.drain(Duration::ZERO).await.expect_err("the WebSocket is open");
        (recorder, socket)
    });
    runtime.shutdown_timeout(crate::support::PATIENCE);
    drop(socket);
    let records = tokio::runtime::Runtime::new().expect("a runtime").block_on(recorder.records(3));
    let (session, turns) = apart(records);
    assert_eq!((session.outcome, turns[0].outcome), (Outcome::Stopped, Outcome::Completed));
    assert!(session.request_bytes > 100 && session.response_bytes > 300, "{session:#?}");
    assert_eq!((turns[1].outcome, turns[1].usage_source), (Outcome::Stopped, UsageSource::Partial));
}

#[tokio::test]
async fn a_refused_response_is_recorded_with_its_error_and_costs_nothing() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                let error = r#"{"type":"error","status":429,"error":{"type":"requests","code":"rate_limit_exceeded","message":"m"}}"#;
                socket.send(Message::text(error)).await.expect("open");
            }
        }
    });
    let mut socket = open(&rig, "ws://api.openai.com/v1/responses").await;
    socket.send(Message::text(CREATE)).await.expect("open");
    patiently(socket.next()).await.expect("open").expect("whole");
    // The turn is over, though the session goes on.
    let turn = rig.recorder.record().await;
    assert_eq!((turn.operation, turn.error), (Operation::Chat, Some(ErrorKind::RateLimited)));
    assert!(!turn.is_billable() && turn.is_error());
    socket.close(None).await.expect("open");
    while let Some(Ok(_)) = patiently(socket.next()).await {}
    rig.recorder.records(2).await;
}

#[tokio::test]
async fn what_cannot_be_followed_passes_and_counts_as_a_call_of_unknown_cost() {
    for (extensions, text) in
        [("", "no frame at all, as much is sure"), ("Sec-WebSocket-Extensions: x-own\r\n", "\x01\x01")]
    {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&["http/1.1"], move |_, mut stream| async move {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
            say(&mut stream, format!("{head}{extensions}\r\n{text}")).await;
            expect(&mut stream, text).await;
            stream.shutdown().await.expect("open");
        });
        let (mut client, _) = rig.client(false).await;
        let head = "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        say(&mut client, head).await;
        read_head(&mut client).await;
        expect(&mut client, text).await;
        say(&mut client, text).await;
        assert_eq!(patiently(client.read(&mut [0])).await.expect("an orderly close"), 0);
        drop(client);
        let record = rig.recorder.record().await;
        assert_eq!((record.operation, record.outcome), (Operation::Realtime, Outcome::Completed));
        assert!(record.is_billable() && record.usage.is_none() && record.cost.is_none(), "{record:#?}");
    }
}

#[tokio::test]
async fn a_get_that_opens_no_websocket_is_no_call() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, "GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\n\r\n").await;
    expect(&mut client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    let record = rig.recorder.record().await;
    assert_eq!((record.operation, record.is_billable()), (Operation::Other, false));
}
