//! The policy on WebSockets: each response that is asked for is decided on by itself, and the session goes on.

mod frames;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tollgate_ledger::{Outcome, Record, Refusal};
use tollgate_llm::Operation;
use tollgate_policy::{
    Action, Amount, Budget, Count, Engine, Field, Limit, Measure, Mode, Notice, OnExhausted, Parameter, Patterns,
    Policy, Rule, Selector, Spec, Unit, Unpriced, What, Window,
};
use tollgate_proxy::http::PolicySettings;

use crate::support::{Rig, Site, expect, https, patiently, read_head, read_to_end, say};

const REALTIME: &str = "ws://api.openai.com/v1/realtime?model=gpt-realtime";
const RESPONSES: &str = "ws://api.openai.com/v1/responses";

fn rule(name: &str) -> Rule {
    Rule {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        action: Action::Allow,
        mode: Mode::Enforce,
        models: None,
        hours: None,
        max_output_tokens: None,
        require: Vec::new(),
        message: None,
        contact: Some("ops@example.com".into()),
    }
}

fn only(field: Field, pattern: &str) -> Selector {
    Selector { fields: vec![(field, Patterns::parse(&[pattern]).expect("a pattern"))], labels: Vec::new() }
}

/// Only these models.
fn models(pattern: &str) -> Spec {
    let models = Some(Patterns::parse(&[pattern]).expect("a pattern"));
    Spec { rules: vec![Rule { models, ..rule("small-models") }], ..Spec::default() }
}

fn budget(tokens: u64) -> Spec {
    let budget = Budget {
        name: "tokens".into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        amount: Amount::Tokens(tokens, Count::Total),
        window: Window { unit: Unit::Month, zone: TimeZone::UTC },
        soft: Vec::new(),
        on_exhausted: OnExhausted::Finish,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    };
    Spec { budgets: vec![budget], ..Spec::default() }
}

fn one_at_a_time() -> Spec {
    let limit = Limit {
        name: "one".into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        measure: Measure::Concurrent,
        amount: 1,
        period: std::time::Duration::ZERO,
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    };
    Spec { limits: vec![limit], ..Spec::default() }
}

fn under(site: &Site, spec: Spec) -> Rig {
    let rig = Rig::new(site);
    let http = rig.http.with_policy(Arc::new(Engine::new(Policy::new(spec))), PolicySettings::default());
    Rig { http, ..rig }
}

/// Where a message goes, and how it names its model.
type Shape<'a> = (&'a str, &'a dyn Fn(&str) -> Value);

/// What the provider was asked, message by message.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers each request for a response with one that has used as many tokens as its `metadata.used` says. One that says `hang` is begun
/// and not ended before the next message. The last of the messages before a close is `closed`.
fn provider(site: Site) -> Asked {
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    site.serve(&["http/1.1"], move |_, stream| {
        let asked = Arc::clone(&kept);
        async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
            let (mut turn, mut hanging) = (0, None);
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(_) = message {
                    asked.lock().push("closed".to_owned());
                }
                if !message.is_text() && !message.is_binary() {
                    continue;
                }
                let text = message.to_text().expect("text").to_owned();
                asked.lock().push(text.clone());
                if let Some((id, used)) = hanging.take() {
                    done(&mut socket, id, used).await;
                }
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if message["type"] == "hello" {
                    let session = json!({"model": "gpt-realtime-2025-08-28", "max_output_tokens": 50});
                    let created = json!({"type": "session.created", "session": session});
                    socket.send(Message::text(created.to_string())).await.expect("open");
                }
                if message["type"] == "speak" {
                    created(&mut socket, 1000 + turn).await;
                }
                if message["type"] != "response.create" {
                    continue;
                }
                turn += 1;
                let request = if message["response"].is_object() { &message["response"] } else { &message };
                let used = request["metadata"]["used"].as_u64().unwrap_or(7);
                created(&mut socket, turn).await;
                if request["metadata"]["hang"] == true {
                    hanging = Some((turn, used));
                } else {
                    done(&mut socket, turn, used).await;
                }
            }
        }
    });
    asked
}

async fn created(socket: &mut WebSocketStream<TlsStream<TcpStream>>, turn: u64) {
    let created = json!({"type": "response.created", "response": {"id": format!("resp_{turn}")}});
    socket.send(Message::text(created.to_string())).await.expect("open");
}

async fn done(socket: &mut WebSocketStream<TlsStream<TcpStream>>, turn: u64, used: u64) {
    let usage = json!({"input_tokens": 2, "output_tokens": used - 2, "total_tokens": used});
    let response = json!({"id": format!("resp_{turn}"), "status": "completed", "usage": usage});
    socket
        .send(Message::text(json!({"type": "response.completed", "response": response}).to_string()))
        .await
        .expect("open");
}

async fn open(rig: &Rig, url: &str) -> WebSocketStream<TcpStream> {
    let (stream, _) = rig.client(false).await;
    patiently(tokio_tungstenite::client_async(url, stream)).await.expect("a WebSocket").0
}

/// The next event of the server's.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let message = patiently(socket.next()).await.expect("open").expect("whole");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

/// Asks, and waits for the end of the response, or for an error.
async fn ask(socket: &mut WebSocketStream<TcpStream>, message: &Value) -> Value {
    socket.send(Message::text(message.to_string())).await.expect("open");
    loop {
        let event = next(socket).await;
        if event["type"] != "response.created" {
            return event;
        }
    }
}

async fn close(mut socket: WebSocketStream<TcpStream>) {
    socket.close(None).await.expect("open");
    while let Some(Ok(_)) = patiently(socket.next()).await {}
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const MASK: [u8; 4] = [0x11, 0x22, 0x83, 0xf4];

fn frame(first: u8, is_masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(mask | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(mask | 0x7e);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask | 0x7f);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if is_masked {
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

/// The records of responses, without the session's.
fn turns(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().filter(|record| record.operation != Operation::Session).collect()
}

fn is_refusal_by(notice: &Notice, by: What) -> bool {
    matches!(notice, Notice::Refused { what, mode: Mode::Enforce, .. } if *what == by)
}

#[tokio::test]
async fn a_model_that_is_denied_later_in_a_session_is_not_asked_and_the_session_goes_on() {
    let flat = |model: &str| json!({"type": "response.create", "event_id": "mine", "model": model, "input": "hi"});
    let wrapped = |model: &str| json!({"type": "response.create", "event_id": "mine", "response": {"model": model, "input": "hi"}});
    let shapes: [Shape<'_>; 3] = [(RESPONSES, &flat), (RESPONSES, &wrapped), (REALTIME, &wrapped)];
    for (url, message) in shapes {
        let site = Site::new().await;
        let allowed = if url == REALTIME { "gpt-realtime*" } else { "gpt-5-mini*" };
        let rig = under(&site, models(allowed));
        let asked = provider(site);
        let mut socket = open(&rig, url).await;
        let good = allowed.trim_end_matches('*');
        for model in [good, "gpt-5-pro", good] {
            let answer = ask(&mut socket, &message(model)).await;
            if model == good {
                assert_ne!(answer["type"], "error", "{answer}");
                continue;
            }
            assert_eq!(answer["type"], "error", "{answer}");
            let words = answer["error"]["message"].as_str().expect("a message");
            assert!(words.contains("small-models") && words.contains("ops@example.com"), "{words}");
            assert_eq!(answer["error"]["type"], "permission_error", "{answer}");
            if url == REALTIME {
                assert_eq!(answer["error"]["event_id"], "mine", "{answer}");
                assert!(answer["event_id"].as_str().expect("an id").starts_with("event_"), "{answer}");
            } else {
                assert_eq!((&answer["status"], &answer["event_id"]), (&403.into(), &"mine".into()), "{answer}");
            }
        }
        assert_eq!(*asked.lock(), [message(good).to_string(), message(good).to_string()], "as they came");
        close(socket).await;
        let turns = turns(rig.recorder.records(4).await);
        let outcomes: Vec<_> = turns.iter().map(|turn| turn.outcome).collect();
        assert_eq!(outcomes, [Outcome::Completed, Outcome::Refused(Refusal::Policy), Outcome::Completed]);
        let refused = &turns[1];
        assert_eq!(
            (refused.request_model.as_deref(), refused.rule.as_deref()),
            (Some("gpt-5-pro"), Some("small-models"))
        );
        assert!(!refused.is_billable() && refused.cost.is_none(), "{refused:#?}");
        assert_eq!(rig.recorder.opened(), 3, "a session and two responses");
        assert_eq!(rig.recorder.notices().iter().filter(|notice| is_refusal_by(notice, What::Rule)).count(), 1);
    }
}

#[tokio::test]
async fn a_budget_that_is_spent_in_the_middle_of_a_session_refuses_the_next_response() {
    let site = Site::new().await;
    let rig = under(&site, budget(1_000));
    let asked = provider(site);
    let mut socket = open(&rig, RESPONSES).await;
    let message = |used: u64| json!({"type": "response.create", "model": "gpt-5", "input": "hi", "max_output_tokens": 600, "metadata": {"used": used}});
    // What the first leaves is given back, so there is room for the second, and none for a third.
    assert_eq!(ask(&mut socket, &message(50)).await["type"], "response.completed");
    assert_eq!(ask(&mut socket, &message(602)).await["type"], "response.completed");
    let refused = ask(&mut socket, &message(50)).await;
    assert_eq!((&refused["type"], &refused["status"]), (&"error".into(), &429.into()), "{refused}");
    assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    assert!(refused["error"]["message"].as_str().expect("a message").contains("tokens"), "{refused}");
    // A smaller one has room.
    let small = json!({"type": "response.create", "model": "gpt-5", "input": "hi", "max_output_tokens": 100});
    assert_eq!(ask(&mut socket, &small).await["type"], "response.completed");
    assert_eq!(asked.lock().len(), 3);
    close(socket).await;
    let turns = turns(rig.recorder.records(5).await);
    let charged: Vec<_> =
        turns.iter().map(|turn| turn.charges.first().map(|charge| charge.amount.to_string())).collect();
    let charge = |tokens: &str| Some(tokens.to_owned());
    assert_eq!(charged, [charge("50"), charge("602"), None, charge("7")], "what was used");
    assert_eq!(turns[2].outcome, Outcome::Refused(Refusal::Budget));
    let openings = rig.recorder.openings();
    assert!(openings[1].charges[0].amount >= 600.into(), "what was set aside, before it left: {openings:#?}");
}

#[tokio::test]
async fn a_limit_counts_responses_and_not_sessions_and_a_place_is_given_back() {
    let site = Site::new().await;
    let rig = under(&site, one_at_a_time());
    provider(site);
    let mut socket = open(&rig, REALTIME).await;
    let hang = json!({"type": "response.create", "response": {"metadata": {"hang": true}}});
    socket.send(Message::text(hang.to_string())).await.expect("open");
    assert_eq!(next(&mut socket).await["type"], "response.created");
    let refused = ask(&mut socket, &json!({"type": "response.create"})).await;
    assert_eq!(refused["error"]["type"], "rate_limit_error", "{refused}");
    // Any message has the provider finish.
    assert_eq!(ask(&mut socket, &json!({"type": "go on"})).await["type"], "response.completed");
    assert_eq!(ask(&mut socket, &json!({"type": "response.create"})).await["type"], "response.completed");
    close(socket).await;
    rig.recorder.records(4).await;
}

#[tokio::test]
async fn a_message_whose_client_leaves_while_it_waits_is_not_passed_on() {
    let site = Site::new().await;
    let mut spec = one_at_a_time();
    spec.limits[0].wait = Some(std::time::Duration::from_hours(1));
    let rig = under(&site, spec);
    let asked = provider(site);
    let mut first = open(&rig, REALTIME).await;
    let hang = json!({"type": "response.create", "response": {"metadata": {"hang": true}}});
    first.send(Message::text(hang.to_string())).await.expect("open");
    assert_eq!(next(&mut first).await["type"], "response.created");
    let mut second = open(&rig, REALTIME).await;
    second.send(Message::text(r#"{"type":"response.create"}"#)).await.expect("open");
    drop(second);
    let session = rig.recorder.record().await;
    assert_eq!(session.operation, Operation::Session);
    assert_eq!(ask(&mut first, &json!({"type": "go on"})).await["type"], "response.completed");
    // What is sent while a message waits is neither lost nor out of order.
    first.send(Message::text(hang.to_string())).await.expect("open");
    assert_eq!(next(&mut first).await["type"], "response.created");
    let mut third = open(&rig, REALTIME).await;
    let create = r#"{"type":"response.create"}"#;
    for message in [create, r#"{"type":"behind"}"#] {
        third.send(Message::text(message)).await.expect("open");
    }
    assert_eq!(ask(&mut first, &json!({"type": "go on"})).await["type"], "response.completed");
    while next(&mut third).await["type"] != "response.completed" {}
    close(third).await;
    close(first).await;
    let asked: Vec<_> =
        asked.lock().iter().filter(|asked| *asked == create || asked.contains("behind")).cloned().collect();
    assert_eq!(asked, [create, r#"{"type":"behind"}"#]);
}

#[tokio::test]
async fn a_clamp_changes_one_span_of_a_message_and_leaves_what_asks_for_less_as_it_is() {
    let site = Site::new().await;
    let spec = Spec { rules: vec![Rule { max_output_tokens: Some(100), ..rule("short") }], ..Spec::default() };
    let rig = under(&site, spec);
    let asked = provider(site);
    let mut socket = open(&rig, RESPONSES).await;
    let said = [
        r#"{"type":"response.create", "model":"gpt-5","max_output_tokens": 9000 ,"input":"é"}"#,
        r#"{"type":"response.create","response":{"model":"gpt-5"}}"#,
        r#"{"type":"response.create", "model":"gpt-5","max_output_tokens":  9 ,"input":"é"}"#,
    ];
    for message in said {
        socket.send(Message::text(message)).await.expect("open");
        while !next(&mut socket).await["response"]["usage"].is_object() {}
    }
    let expected = [
        said[0].replace("9000", "100"),
        r#"{"type":"response.create","response":{"model":"gpt-5","max_output_tokens":100}}"#.to_owned(),
        said[2].to_owned(),
    ];
    assert_eq!(*asked.lock(), expected);
    let ambiguous = r#"{"type":"response.create","model":"gpt-5","max_output_tokens":9,"max_output_tokens":9000}"#;
    socket.send(Message::text(ambiguous)).await.expect("open");
    let refused = next(&mut socket).await;
    assert_eq!((&refused["status"], asked.lock().len()), (&400.into(), 3), "{refused}");
    close(socket).await;
    let turns = turns(rig.recorder.records(5).await);
    let rules: Vec<_> = turns.iter().map(|turn| turn.rule.as_deref()).collect();
    assert_eq!(rules, [Some("short"), Some("short"), None, Some("short")]);
}

#[tokio::test]
async fn what_a_session_is_changed_to_is_decided_on_too() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-realtime-mini*"));
    let asked = provider(site);
    let mut socket = open(&rig, "ws://api.openai.com/v1/realtime?model=gpt-realtime-mini").await;
    let update = |model: &str| json!({"type": "session.update", "session": {"model": model}});
    let refused = ask(&mut socket, &update("gpt-realtime")).await;
    assert_eq!(refused["error"]["type"], "permission_error", "{refused}");
    let create = json!({"type": "response.create"});
    assert_eq!(ask(&mut socket, &create).await["type"], "response.completed");
    // The server may or may not take this; by then, both have to be allowed.
    socket.send(Message::text(update("gpt-realtime-mini-2").to_string())).await.expect("open");
    assert_eq!(ask(&mut socket, &create).await["type"], "response.completed");
    assert_eq!(asked.lock().len(), 3);
    close(socket).await;
    rig.recorder.records(4).await;
}

#[tokio::test]
async fn what_the_server_says_of_the_session_bounds_responses_and_does_not_rename_its_model() {
    let site = Site::new().await;
    let rig = under(&site, Spec { budgets: budget(1_000).budgets, ..models("gpt-realtime") });
    provider(site);
    let mut socket = open(&rig, REALTIME).await;
    // Without a bound, a response may have more tokens than there are.
    let refused = ask(&mut socket, &json!({"type": "response.create"})).await;
    assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    assert_eq!(ask(&mut socket, &json!({"type": "hello"})).await["type"], "session.created");
    assert_eq!(ask(&mut socket, &json!({"type": "response.create"})).await["type"], "response.completed");
    // It may be taken away again, and the server has not said so yet.
    let update = json!({"type": "session.update", "session": {"max_output_tokens": "inf"}});
    socket.send(Message::text(update.to_string())).await.expect("open");
    let refused = ask(&mut socket, &json!({"type": "response.create"})).await;
    assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    close(socket).await;
    rig.recorder.records(4).await;
}

#[tokio::test]
async fn a_response_that_the_server_begins_by_itself_ends_the_session_where_it_is_refused() {
    for (spec, is_refused) in [(budget(20_000), false), (budget(100), true)] {
        let site = Site::new().await;
        let rig = under(&site, spec);
        let asked = provider(site);
        let mut socket = open(&rig, REALTIME).await;
        socket.send(Message::text(r#"{"type":"speak"}"#)).await.expect("open");
        assert_eq!(next(&mut socket).await["type"], "response.created");
        if !is_refused {
            close(socket).await;
            let turns = turns(rig.recorder.records(2).await);
            assert_eq!((turns[0].outcome, turns[0].rule.as_deref()), (Outcome::ClientGone, None));
            assert!(!turns[0].charges.is_empty(), "{turns:#?}");
            continue;
        }
        let error = next(&mut socket).await;
        assert_eq!(error["error"]["code"], "insufficient_quota", "{error}");
        let Some(Ok(Message::Close(Some(frame)))) = patiently(socket.next()).await else {
            panic!("it is to be closed")
        };
        assert_eq!(frame.code, CloseCode::Policy);
        assert!(frame.reason.contains("tokens"), "{frame:?}");
        assert!(patiently(socket.next()).await.is_none(), "it is closed");
        drop(socket);
        let records = rig.recorder.records(2).await;
        for record in &records {
            assert_eq!((record.outcome, record.rule.as_deref()), (Outcome::Cut, Some("tokens")), "{record:#?}");
        }
        // The provider is told, too.
        patiently(async {
            while !asked.lock().contains(&"closed".to_owned()) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_websocket_that_a_rule_denies_is_refused_before_it_opens() {
    for (field, pattern) in
        [(Field::Host, "api.openai.com"), (Field::Operation, "realtime"), (Field::Model, "gpt-realtime")]
    {
        let site = Site::new().await;
        let spec = Spec {
            rules: vec![Rule { matches: only(field, pattern), action: Action::Deny, ..rule("none") }],
            ..Spec::default()
        };
        let rig = under(&site, spec);
        let (stream, _) = rig.client(false).await;
        let error = patiently(tokio_tungstenite::client_async(REALTIME, stream)).await.expect_err("refused");
        let tokio_tungstenite::tungstenite::Error::Http(response) = error else { panic!("{error}") };
        assert_eq!(response.status(), 403, "{field}");
        let body: Value = serde_json::from_slice(response.body().as_deref().expect("a body")).expect("JSON");
        assert_eq!(body["error"]["type"], "permission_error", "{body}");
        let record = rig.recorder.record().await;
        assert_eq!((record.outcome, record.rule.as_deref()), (Outcome::Refused(Refusal::Policy), Some("none")));
        drop(site);
    }
}

#[tokio::test]
async fn what_only_messages_say_does_not_keep_a_websocket_from_opening() {
    let site = Site::new().await;
    let spec = Spec { rules: vec![Rule { require: vec![Parameter::MaxOutputTokens], ..rule("says") }], ..models("x") };
    let rig = under(&site, Spec { default: Action::Deny, ..spec });
    provider(site);
    let mut socket = open(&rig, REALTIME).await;
    let refused = ask(&mut socket, &json!({"type": "response.create"})).await;
    assert_eq!(refused["error"]["type"], "invalid_request_error", "{refused}");
    let create = json!({"type": "response.create", "response": {"max_output_tokens": 9}});
    assert_eq!(ask(&mut socket, &create).await["type"], "response.completed");
    close(socket).await;
    rig.recorder.records(3).await;
}

#[tokio::test]
async fn a_websocket_over_http2_is_under_the_policy_too() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-5-mini"));
    let message = |model: &str| json!({"type": "response.create", "model": model, "input": "hi"}).to_string();
    let allowed = frame(0x81, true, message("gpt-5-mini").as_bytes());
    let answer = frame(0x81, false, br#"{"type":"response.created","response":{"id":"resp_1"}}"#);
    let (expected, said) = (allowed.clone(), Bytes::from(answer.clone()));
    site.serve(&["h2"], move |_, stream| {
        let (expected, said) = (expected.clone(), said.clone());
        async move {
            let mut builder = h2::server::Builder::new();
            let mut connection = builder.enable_connect_protocol().handshake::<_, Bytes>(stream).await.expect("HTTP/2");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.method() != Method::CONNECT {
                    respond.send_response(http::Response::new(()), true).expect("open");
                    continue;
                }
                assert!(!request.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS));
                let (expected, said) = (expected.clone(), said.clone());
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut sending = respond.send_response(http::Response::new(()), false).expect("open");
                    let mut got = Vec::new();
                    while let Some(Ok(chunk)) = body.data().await {
                        body.flow_control().release_capacity(chunk.len()).expect("open");
                        got.extend_from_slice(&chunk);
                        if !chunk.is_empty() && got == expected {
                            sending.send_data(said.clone(), false).expect("open");
                        }
                    }
                    assert_eq!(got, expected, "nothing of what was refused");
                    sending.send_data(Bytes::new(), true).expect("open");
                });
            }
        }
    });
    // What the provider has is learned from the first exchange with it.
    let models = Request::get(https("/v1/models")).body(Empty::<Bytes>::new()).expect("a request");
    drop(patiently(rig.http2().await.send_request(models)).await.expect("answered"));
    rig.recorder.record().await;
    let mut request = Request::connect(https("/v1/responses"))
        .header(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let mut response = patiently(rig.http2().await.send_request(request)).await.expect("answered");
    assert_eq!(response.status(), 200);
    let mut socket = TokioIo::new(patiently(hyper::upgrade::on(&mut response)).await.expect("switched"));
    say(&mut socket, frame(0x81, true, message("gpt-5-pro").as_bytes())).await;
    let mut head = [0; 4];
    patiently(socket.read_exact(&mut head)).await.expect("an error");
    assert_eq!(head[..2], [0x81, 126], "a text of the server's");
    let mut error = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    patiently(socket.read_exact(&mut error)).await.expect("an error");
    assert!(String::from_utf8_lossy(&error).contains("small-models"));
    say(&mut socket, &allowed).await;
    let mut got = vec![0; answer.len()];
    patiently(socket.read_exact(&mut got)).await.expect("an answer");
    assert_eq!(got, answer);
    socket.shutdown().await.expect("open");
    assert_eq!(patiently(socket.read(&mut [0])).await.expect("an end"), 0);
    let turns = turns(rig.recorder.records(4).await.split_off(1));
    assert_eq!(turns.len(), 2);
}
