//! Streams that are cut on their way, as a budget is spent: each ends in its own form, and the provider is told to stop.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tollgate_ledger::{Outcome, Record, UpstreamFailure};
use tollgate_llm::{Catalogue, Dialect, Provider, UsageSource};
use tollgate_policy::{
    Amount, Budget, Count, Engine, Mode, Notice, OnExhausted, Policy, Selector, Spec, Unit, Unpriced, Window,
};
use tollgate_proxy::http::PolicySettings;

use crate::support::{HOST, Rig, Site, https, patiently, read_head, say};

/// How many output tokens the budget has.
const TOKENS: u64 = 100;

fn under(site: &Site, on_exhausted: OnExhausted) -> Rig {
    let budget = Budget {
        name: "answers".into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        amount: Amount::Tokens(TOKENS, Count::Output),
        window: Window { unit: Unit::Month, zone: TimeZone::UTC },
        soft: Vec::new(),
        on_exhausted,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: Some("ops@example.com".into()),
    };
    let spec = Spec { budgets: vec![budget], ..Spec::default() };
    let rig = Rig::new(site);
    let http = rig.http.with_policy(Arc::new(Engine::new(Policy::new(spec))), PolicySettings::default());
    Rig { http, ..rig }
}

/// A way of streaming.
struct Form {
    /// Whose it is.
    provider: &'static str,
    path: &'static str,
    request: Value,
    content_type: &'static str,
    event: fn(&str) -> Vec<u8>,
    /// The text that one event brings, and how long it is; `None` for bytes that are not whole.
    read: fn(&[u8]) -> Option<(Value, usize)>,
    /// What the last event says of the error.
    error: fn(&Value) -> Option<&str>,
}

fn sse(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

fn named(data: &Value) -> Vec<u8> {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type")).into_bytes()
}

fn read_sse(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")? + 2;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let data: String = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    Some((serde_json::from_str(&data).ok()?, end))
}

/// Google's SDKs know an error by its being no event.
fn read_google(bytes: &[u8]) -> Option<(Value, usize)> {
    if bytes.starts_with(b"data: ") {
        read_sse(bytes)
    } else {
        Some((serde_json::from_slice(bytes).ok()?, bytes.len()))
    }
}

fn read_line(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    Some((serde_json::from_slice(&bytes[..end]).ok()?, end))
}

/// A message of AWS's, as docs.aws.amazon.com has it under "event stream encoding".
fn aws(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend(name.bytes());
        head.push(7);
        head.extend((value.len() as u16).to_be_bytes());
        head.extend(value.bytes());
    }
    let mut message = (16 + head.len() as u32 + payload.len() as u32).to_be_bytes().to_vec();
    message.extend((head.len() as u32).to_be_bytes());
    message.extend(crc(&message));
    message.extend(head);
    message.extend(payload);
    message.extend(crc(&message));
    message
}

fn read_aws(bytes: &[u8]) -> Option<(Value, usize)> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (total, head) = (word(0)?, word(4)?);
    let message = bytes.get(..total)?;
    let mut crc = flate2::Crc::new();
    crc.update(&message[..total - 4]);
    assert_eq!(crc.sum().to_be_bytes(), message[total - 4..], "a message is whole");
    let mut payload: Value = serde_json::from_slice(&message[12 + head..total - 4]).ok()?;
    let is_exception = message[12..12 + head].windows(19).any(|window| window == b"throttlingException");
    payload["is_exception"] = is_exception.into();
    Some((payload, total))
}

/// Ollama is whoever runs it.
fn whose(host: &str) -> Arc<Provider> {
    let own = || Provider::new("ollama", vec![host.parse().expect("a host")], Some(Dialect::Ollama));
    Catalogue::builtin().find(host).map_or_else(|| Arc::new(own()), Arc::clone)
}

fn forms() -> Vec<Form> {
    vec![
        Form {
            provider: "api.openai.com",
            path: "/v1/chat/completions",
            request: json!({"model": "gpt-5", "stream": true, "max_completion_tokens": 90, "stream_options": {"include_usage": true}}),
            content_type: "text/event-stream",
            event: |text| {
                sse(&json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}))
            },
            read: read_sse,
            error: |event| event["error"]["message"].as_str(),
        },
        Form {
            provider: "api.anthropic.com",
            path: "/v1/messages",
            request: json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 90}),
            content_type: "text/event-stream; charset=utf-8",
            event: |text| {
                named(
                    &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
                )
            },
            read: read_sse,
            error: |event| event["error"]["message"].as_str().filter(|_| event["type"] == "error"),
        },
        Form {
            provider: "api.openai.com",
            path: "/v1/responses",
            request: json!({"model": "gpt-5", "stream": true, "max_output_tokens": 90}),
            content_type: "text/event-stream",
            event: |text| named(&json!({"type": "response.output_text.delta", "delta": text})),
            read: read_sse,
            error: |event| event["message"].as_str().filter(|_| event["type"] == "error"),
        },
        Form {
            provider: "generativelanguage.googleapis.com",
            path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            request: json!({"generationConfig": {"maxOutputTokens": 90}}),
            content_type: "text/event-stream",
            event: |text| sse(&json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}]})),
            read: read_google,
            error: |event| event["error"]["message"].as_str(),
        },
        Form {
            provider: "ollama.internal",
            path: "/api/chat",
            request: json!({"model": "llama3.2", "options": {"num_predict": 90}}),
            content_type: "application/x-ndjson",
            event: |text| {
                format!("{}\n", json!({"message": {"role": "assistant", "content": text}, "done": false})).into_bytes()
            },
            read: read_line,
            error: |event| event["error"].as_str(),
        },
        Form {
            provider: "bedrock-runtime.us-east-1.amazonaws.com",
            path: "/model/anthropic.claude-3-haiku/converse-stream",
            request: json!({"inferenceConfig": {"maxTokens": 90}}),
            content_type: "application/vnd.amazon.eventstream",
            event: |text| {
                let headers = [
                    (":event-type", "contentBlockDelta"),
                    (":content-type", "application/json"),
                    (":message-type", "event"),
                ];
                aws(&headers, json!({"contentBlockIndex": 0, "delta": {"text": text}}).to_string().as_bytes())
            },
            read: read_aws,
            error: |event| event["message"].as_str().filter(|_| event["is_exception"] == true),
        },
    ]
}

fn text(event: &Value) -> Option<&str> {
    ["/choices/0/delta/content", "/delta/text", "/delta", "/candidates/0/content/parts/0/text", "/message/content"]
        .iter()
        .find_map(|path| event.pointer(path)?.as_str())
}

/// A provider that streams without end, in pieces of `size`, until nobody reads any more, and then says so.
fn endless(
    site: Site,
    alpn: &'static str,
    form: &Form,
    size: usize,
    head: &'static str,
) -> mpsc::UnboundedReceiver<()> {
    let (stopped, stops) = mpsc::unbounded_channel();
    let (event, content_type) = (form.event, form.content_type);
    site.serve(&[alpn], move |_, mut stream| {
        let stopped = stopped.clone();
        async move {
            let pieces = move || {
                let bytes: Vec<u8> =
                    (0..20).flat_map(|n| event(&format!("piece {n} of an answer that goes on "))).collect();
                bytes.chunks(size).map(Bytes::copy_from_slice).collect::<Vec<_>>()
            };
            if alpn == "h2" {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let stopped = stopped.clone();
                    tokio::spawn(async move {
                        let response =
                            http::Response::builder().header("content-type", content_type).body(()).expect("ok");
                        let mut sending = respond.send_response(response, false).expect("open");
                        for piece in pieces().into_iter().cycle() {
                            sending.reserve_capacity(piece.len());
                            while sending.capacity() < piece.len() {
                                match std::future::poll_fn(|context| sending.poll_capacity(context)).await {
                                    Some(Ok(_)) => {}
                                    _ => return stopped.send(()).expect("the test waits"),
                                }
                            }
                            if sending.send_data(piece, false).is_err() {
                                return stopped.send(()).expect("the test waits");
                            }
                            tokio::task::yield_now().await;
                        }
                    });
                }
                return;
            }
            read_head(&mut stream).await;
            say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{head}\r\n")).await;
            for piece in pieces().into_iter().cycle() {
                let chunk = if head.contains("chunked") {
                    [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat()
                } else {
                    piece.to_vec()
                };
                if tokio::io::AsyncWriteExt::write_all(&mut stream, &chunk).await.is_err() {
                    return stopped.send(()).expect("the test waits");
                }
            }
        }
    });
    stops
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// What a client gets that leaves HTTP to hyper: the error is an answer that is not whole.
async fn ask(rig: &Rig, http2: bool, form: &Form) -> (StatusCode, Result<Bytes, hyper::Error>) {
    let mut request = Request::post(https(form.path)).header("content-type", "application/json");
    if !http2 {
        request = request.uri(form.path).header("host", HOST);
    }
    let request = request.body(Full::new(Bytes::from(form.request.to_string()))).expect("a request");
    let response = if http2 {
        patiently(rig.http2().await.send_request(request)).await.expect("answered")
    } else {
        let (stream, _) = rig.client(false).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(async move { drop(connection.await) });
        patiently(sender.send_request(request)).await.expect("answered")
    };
    let status = response.status();
    (status, patiently(response.into_body().collect()).await.map(http_body_util::Collected::to_bytes))
}

fn assert_cut(record: &Record, about: &str) {
    assert_eq!((record.outcome, record.rule.as_deref()), (Outcome::Cut, Some("answers")), "{about}");
    let usage = record.usage.expect("an estimate");
    assert!(usage.output > 0 && record.usage_source == UsageSource::Estimated, "{about}: {record:#?}");
    assert_eq!(record.charges[0].amount, Decimal::from(usage.output), "{about}: what was used");
}

#[tokio::test]
async fn a_stream_that_spends_its_budget_ends_with_a_whole_event_and_the_error_in_its_own_form() {
    for form in forms() {
        for (http2, alpn, size) in
            [(false, "http/1.1", 4096), (false, "http/1.1", 61), (true, "h2", 1000), (true, "http/1.1", 333)]
        {
            let about = format!("{} http2 {http2} to {alpn} in {size}", form.path);
            let site = Site::new().await;
            let mut rig = under(&site, OnExhausted::Cut);
            rig.provider = whose(form.provider);
            let mut stops = endless(site, alpn, &form, size, CHUNKED);
            let (status, body) = ask(&rig, http2, &form).await;
            let body = body.unwrap_or_else(|error| panic!("{about}: it ends in order: {error}"));
            assert_eq!(status, StatusCode::OK, "{about}");
            let (mut rest, mut events) = (&body[..], Vec::new());
            while !rest.is_empty() {
                let (event, used) =
                    (form.read)(rest).unwrap_or_else(|| panic!("{about}: {}", String::from_utf8_lossy(rest)));
                events.push(event);
                rest = &rest[used..];
            }
            let last = events.pop().expect("an event");
            let message = (form.error)(&last).unwrap_or_else(|| panic!("{about}: {last}"));
            assert!(message.contains("answers") && message.contains("ops@example.com"), "{about}: {message}");
            for (n, event) in events.iter().enumerate() {
                assert_eq!(text(event), Some(&*format!("piece {} of an answer that goes on ", n % 20)), "{about}");
            }
            assert!(events.len() > 5, "{about}: {}", events.len());
            patiently(stops.recv()).await.expect("the provider is told to stop");
            assert_cut(&rig.recorder.record().await, &about);
            let cut = Notice::Cut { budget: "answers".into() };
            assert_eq!(rig.recorder.notices().iter().filter(|notice| **notice == cut).count(), 1, "{about}");
        }
    }
}

/// google-genai for JavaScript knows it by its being all that a read of the body gave, and Node reads chunk by chunk.
#[tokio::test]
async fn the_words_at_the_end_are_a_chunk_of_their_own_wherever_the_provider_cut_its_events() {
    for size in [61, 333, 4096] {
        for form in forms() {
            let site = Site::new().await;
            let mut rig = under(&site, OnExhausted::Cut);
            rig.provider = whose(form.provider);
            let _stops = endless(site, "http/1.1", &form, size, CHUNKED);
            let (mut stream, _) = rig.client(false).await;
            let body = form.request.to_string();
            let head = format!("POST {} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n", form.path);
            say(&mut stream, format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
            read_head(&mut stream).await;
            let mut answer = Vec::new();
            patiently(stream.read_to_end(&mut answer)).await.expect("an answer");
            let (mut rest, mut chunks) = (&answer[..], Vec::new());
            while !rest.is_empty() {
                let line = rest.windows(2).position(|pair| pair == b"\r\n").expect("a chunk's size");
                let size = std::str::from_utf8(&rest[..line]).expect("ASCII");
                let size = usize::from_str_radix(size, 16).expect("a size");
                chunks.push(&rest[line + 2..line + 2 + size]);
                rest = &rest[line + 2 + size + 2..];
            }
            let [.., words, []] = &chunks[..] else { panic!("{}: {} chunks", form.path, chunks.len()) };
            let (event, used) = (form.read)(words).unwrap_or_else(|| panic!("{} in {size}: {words:?}", form.path));
            assert_eq!(used, words.len(), "{} in {size}", form.path);
            assert!((form.error)(&event).is_some(), "{} in {size}: {event}", form.path);
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_told_its_length_or_is_compressed_is_broken_off() {
    // Compressed without being made smaller, and whole blocks at a time.
    let stored = |text: &[u8]| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut coder, text).expect("memory");
        std::io::Write::flush(&mut coder).expect("memory");
        coder.get_ref().clone()
    };
    for (head, is_coded) in
        [("content-length: 100000000\r\n", false), ("content-encoding: gzip\r\ntransfer-encoding: chunked\r\n", true)]
    {
        let form = forms().remove(0);
        let site = Site::new().await;
        let rig = under(&site, OnExhausted::Cut);
        let events: Vec<u8> =
            (0..2000).flat_map(|n| (form.event)(&format!("piece {n} of an answer that goes on "))).collect();
        let body = if is_coded { stored(&events) } else { events };
        let (stopped, mut stops) = mpsc::unbounded_channel();
        let content_type = form.content_type;
        site.serve(&["http/1.1"], move |_, mut stream| {
            let (stopped, body) = (stopped.clone(), body.clone());
            async move {
                read_head(&mut stream).await;
                say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{head}\r\n")).await;
                if is_coded {
                    say(&mut stream, format!("{:x}\r\n", body.len())).await;
                }
                say(&mut stream, &body).await;
                // More is not sent before somebody leaves.
                drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1000]).await);
                drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await);
                stopped.send(()).expect("the test waits");
            }
        });
        let (_, body) = ask(&rig, false, &form).await;
        body.expect_err("it is not whole");
        patiently(stops.recv()).await.expect("the provider is told to stop");
        assert_cut(&rig.recorder.record().await, head);
    }
}

/// A provider that answers once, in full.
fn once(site: Site, content_type: &'static str, body: Vec<u8>) {
    let body = Arc::new(body);
    site.serve(&["http/1.1"], move |_, mut stream| {
        let body = Arc::clone(&body);
        async move {
            loop {
                read_head(&mut stream).await;
                say(
                    &mut stream,
                    format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    ),
                )
                .await;
                say(&mut stream, &*body).await;
            }
        }
    });
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_never_cut() {
    let site = Site::new().await;
    let rig = under(&site, OnExhausted::Cut);
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 5000, "total_tokens": 5005});
    let answer =
        json!({"object": "chat.completion", "choices": [{"message": {"content": "x".repeat(20_000)}}], "usage": usage});
    once(site, "application/json", answer.to_string().into_bytes());
    let mut form = forms().remove(0);
    form.request = json!({"model": "gpt-5", "max_completion_tokens": 90});
    let (_, body) = ask(&rig, false, &form).await;
    assert_eq!(body.expect("whole"), answer.to_string());
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.charges[0].amount), (Outcome::Completed, Decimal::from(5000)));
}

#[tokio::test]
async fn a_stream_of_a_budget_that_lets_it_finish_is_not_cut_nor_one_that_has_room() {
    for (on_exhausted, events) in [(OnExhausted::Finish, 200), (OnExhausted::Cut, 8)] {
        let form = forms().remove(0);
        let site = Site::new().await;
        let rig = under(&site, on_exhausted);
        let mut body: Vec<u8> = (0..events).flat_map(|n| (form.event)(&format!("piece {n} of an answer "))).collect();
        body.extend(b"data: [DONE]\n\n");
        once(site, form.content_type, body.clone());
        let (_, got) = ask(&rig, false, &form).await;
        assert_eq!(got.expect("whole"), body);
        let record = rig.recorder.record().await;
        assert_eq!((record.outcome, record.rule), (Outcome::Completed, None));
    }
}

#[tokio::test]
async fn a_provider_that_breaks_off_is_not_taken_for_a_cut() {
    let form = forms().remove(0);
    let site = Site::new().await;
    let rig = under(&site, OnExhausted::Cut);
    let event = (form.event)("one piece and no more");
    site.serve(&["http/1.1"], move |_, mut stream| {
        let event = event.clone();
        async move {
            read_head(&mut stream).await;
            say(
                &mut stream,
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{CHUNKED}\r\n{:x}\r\n", event.len()),
            )
            .await;
            say(&mut stream, event).await;
        }
    });
    let (_, body) = ask(&rig, false, &form).await;
    body.expect_err("it is not whole");
    assert_eq!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(UpstreamFailure::Reset));
}
