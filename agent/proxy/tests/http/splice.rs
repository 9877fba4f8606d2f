//! Streams that are asked for their usage in the client's place: what the provider gets, what the client sees, what is counted.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tollgate_ledger::Outcome;
use tollgate_llm::UsageSource;
use tollgate_proxy::http::Metering;
use tollgate_proxy::observe::UpstreamEvent;
use tollgate_proxy::upstream::Limits;

use crate::bodies::{Stream, send, stream};
use crate::support::{HOST, PATIENCE, Rig, Site, expect, https, patiently, read_head, read_to_end, say};

const DELTAS: &str = "data: {\"model\":\"gpt-4o-mini\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n: ping\n\n\
    data: {\"model\":\"gpt-4o-mini\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":200}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

const ASKED: &str = r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true}}"#;
const UNASKED: &str = r#"{"model":"gpt-4o-mini","stream":true}"#;
const REFUSAL: &str = r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#;

/// What arrived at the provider.
struct Arrival {
    parts: request::Parts,
    body: Bytes,
    trailers: Option<http::HeaderMap>,
}

/// A provider that tells usage when asked. The model's name says what else it does.
fn provider(site: Site, alpn: &[&str]) -> UnboundedReceiver<Arrival> {
    let (arrived, arrivals) = unbounded_channel();
    site.serve(alpn, move |_, stream| {
        let arrived = arrived.clone();
        async move {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<Incoming>| {
                let arrived = arrived.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let collected = body.collect().await?;
                    let trailers = collected.trailers().cloned();
                    let body = collected.to_bytes();
                    let answer = answer(&serde_json::from_slice(&body).unwrap_or_default());
                    arrived.send(Arrival { parts, body, trailers }).expect("the test waits");
                    Ok::<_, hyper::Error>(answer)
                }
            });
            let io = TokioIo::new(stream);
            if http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(io, service).await);
            } else {
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        }
    });
    arrivals
}

fn answer(request: &Value) -> Response<http_body_util::Either<StreamBody<Stream>, Full<Bytes>>> {
    use http_body_util::Either::{Left, Right};
    let model = request["model"].as_str().unwrap_or_default();
    let is_asked = request["stream_options"]["include_usage"] == true;
    let error = |status: u16, body: &str| {
        let response =
            Response::builder().status(status).header("content-type", "application/json").header("x-odd", "1");
        response.body(Right(Full::new(Bytes::from(body.to_owned())))).expect("a response")
    };
    match model {
        "old" if is_asked => return error(400, REFUSAL),
        "strict" if is_asked => return error(422, &REFUSAL.replace("stream_options", "include_usage")),
        "old and broken" => return error(400, REFUSAL),
        "broken" => return error(400, r#"{"error":{"message":"no such model"}}"#),
        "verbose" => return error(400, &format!("stream_options{}", " ".repeat(100_000))),
        _ => {}
    }
    let events = [DELTAS, if is_asked { USAGE } else { "" }, DONE].concat();
    let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    let response = match model {
        "coded" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(events.as_bytes()).expect("in memory");
            let coded = encoder.finish().expect("in memory");
            return response
                .header("content-encoding", "gzip")
                .body(Left(stream(vec![coded.into()])))
                .expect("a response");
        }
        "measured" => response.body(Right(Full::new(events.into()))),
        // Cut where it hurts.
        _ => response.body(Left(stream(events.as_bytes().chunks(37).map(Bytes::copy_from_slice).collect()))),
    };
    response.expect("a response")
}

fn post(body: &str) -> Request<StreamBody<Stream>> {
    posted(https("/v1/chat/completions"), body, 10)
}

/// In frames of `size` bytes.
fn posted(uri: http::Uri, body: &str, size: usize) -> Request<StreamBody<Stream>> {
    let frames = body.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
    let request = Request::post(uri).header("content-type", "application/json; charset=utf-8").header("X-First", "1");
    request.header("accept-encoding", "gzip, br").header("x-last", "2").body(stream(frames)).expect("a request")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BOTH: [&str; 2] = ["http/1.1", "h2"];

#[tokio::test]
async fn a_stream_is_counted_to_the_token_and_its_client_sees_no_difference() {
    for alpn in BOTH {
        for client_http2 in [false, true] {
            for measured in [false, true] {
                let site = Site::new().await;
                let rig = Rig::new(&site);
                let mut arrivals = provider(site, &[alpn]);
                let mut request = post(UNASKED);
                if measured {
                    request.headers_mut().insert("content-length", UNASKED.len().into());
                }
                let (head, body) = send(&rig, client_http2, request).await;
                let about = format!("{alpn} {client_http2} {measured}");
                assert_eq!(String::from_utf8_lossy(&body), [DELTAS, DONE].concat(), "{about}");
                assert_eq!(
                    (head.status, head.headers["content-type"].as_bytes()),
                    (StatusCode::OK, &b"text/event-stream; charset=utf-8"[..])
                );
                let Arrival { parts, body, .. } = arrivals.recv().await.expect("it arrived");
                assert_eq!(body, ASKED, "{about}");
                assert_eq!(parts.headers["accept-encoding"], "identity", "{about}");
                let length = parts.headers.get("content-length").map(|value| value.to_str().expect("text").to_owned());
                assert_eq!(length, measured.then(|| ASKED.len().to_string()), "{about}");
                let names: Vec<_> = parts.headers.keys().map(http::HeaderName::as_str).collect();
                let order = ["content-type", "x-first", "accept-encoding", "x-last"]
                    .map(|name| names.iter().position(|other| *other == name));
                assert!(order.is_sorted() && order[0].is_some(), "{names:?}");
                let record = rig.recorder.record().await;
                let usage = record.usage.as_ref().expect("metered");
                assert_eq!(
                    (usage.input, usage.output, record.usage_source),
                    (1000, 200, UsageSource::Provider),
                    "{about}"
                );
                assert_eq!((record.outcome, record.stream), (Outcome::Completed, Some(true)));
                // As the client sent it, and as the provider answered.
                assert_eq!(record.request_bytes, UNASKED.len() as u64);
                assert_eq!(record.response_bytes, [DELTAS, USAGE, DONE].concat().len() as u64);
                assert_eq!(rig.recorder.events(UpstreamEvent::UsageAsked), 1);
            }
        }
    }
}

#[tokio::test]
async fn legacy_completions_are_asked_too() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let mut arrivals = provider(site, &["http/1.1"]);
    let (_, body) = send(&rig, false, posted(https("/v1/completions"), UNASKED, 1000)).await;
    assert_eq!(body, [DELTAS, DONE].concat());
    assert_eq!(arrivals.recv().await.expect("it arrived").body, ASKED);
}

#[tokio::test]
async fn a_client_that_asked_sees_its_chunk() {
    for client_http2 in [false, true] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let mut arrivals = provider(site, &BOTH);
        let (_, body) = send(&rig, client_http2, post(ASKED)).await;
        assert_eq!(String::from_utf8_lossy(&body), [DELTAS, USAGE, DONE].concat());
        let arrival = arrivals.recv().await.expect("it arrived");
        assert_eq!(
            (arrival.body, &arrival.parts.headers["accept-encoding"]),
            (ASKED.into(), &"gzip, br".parse().expect("a value"))
        );
        assert_eq!(rig.recorder.record().await.usage_source, UsageSource::Provider);
        assert_eq!(rig.recorder.events(UpstreamEvent::UsageAsked), 0);
    }
}

#[tokio::test]
async fn whatever_is_not_a_plain_stream_request_is_left_alone() {
    let plain = || post(UNASKED);
    let with = |name: &'static str, value: &str| {
        let mut request = plain();
        request.headers_mut().insert(name, value.parse().expect("a value"));
        request
    };
    let mut put = plain();
    *put.method_mut() = http::Method::PUT;
    let requests = || {
        vec![
            with("content-type", "text/plain"),
            with("content-encoding", "identity"),
            with("authorization", "AWS4-HMAC-SHA256 Credential=x"),
            with("content-digest", "sha-256=:x:"),
            with("signature-input", "sig1=(\"@method\")"),
            posted(https("/v1/responses"), UNASKED, 10),
            posted(https("/v1/embeddings"), UNASKED, 10),
            posted(https("/v1/chat/completions"), r#"{"model":"x","messages":[]}"#, 10),
            posted(https("/v1/chat/completions"), "{\"stream\":true,", 10),
            posted(https("/v1/chat/completions"), "", 10),
        ]
    };
    for client_http2 in [false, true] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let mut arrivals = provider(site, &BOTH);
        for request in requests() {
            let (head, body) = request.into_parts();
            let expected = body.collect().await.expect("in memory").to_bytes();
            let frames = expected.chunks(10).map(Bytes::copy_from_slice).collect();
            send(&rig, client_http2, Request::from_parts(head.clone(), stream(frames))).await;
            let arrival = arrivals.recv().await.expect("it arrived");
            assert_eq!(
                (arrival.body, &arrival.parts.headers["accept-encoding"]),
                (expected, &head.headers["accept-encoding"]),
                "{head:?}"
            );
        }
        assert_eq!(rig.recorder.events(UpstreamEvent::UsageAsked), 0);
    }
    let site = Site::new().await;
    let rig = Rig::metering(&site, Metering { include_usage: false, ..Metering::default() });
    let mut arrivals = provider(site, &BOTH);
    send(&rig, false, plain()).await;
    assert_eq!(arrivals.recv().await.expect("it arrived").body, UNASKED, "it is turned off");
}

#[tokio::test]
async fn a_provider_that_refuses_the_option_gets_the_request_as_it_came_and_is_remembered() {
    for alpn in BOTH {
        for model in ["old", "strict"] {
            let site = Site::new().await;
            let rig = Rig::new(&site);
            let mut arrivals = provider(site, &[alpn]);
            let (asked, unasked) = (ASKED.replace("gpt-4o-mini", model), UNASKED.replace("gpt-4o-mini", model));
            for call in 0..3 {
                let mut request = post(&unasked);
                request.headers_mut().insert("content-length", unasked.len().into());
                let (head, body) = send(&rig, alpn == "h2", request).await;
                assert_eq!((head.status, body), (StatusCode::OK, [DELTAS, DONE].concat().into()));
                if call == 0 {
                    assert_eq!(arrivals.recv().await.expect("it arrived").body, asked);
                }
                let Arrival { parts, body, .. } = arrivals.recv().await.expect("it arrived");
                assert_eq!(
                    (body, &parts.headers["accept-encoding"]),
                    (unasked.clone().into(), &"gzip, br".parse().expect("a value"))
                );
                assert_eq!(parts.headers["content-length"], unasked.len().to_string());
            }
            assert!(arrivals.try_recv().is_err(), "each once");
            let events =
                [UpstreamEvent::UsageAsked, UpstreamEvent::UsageRefused].map(|event| rig.recorder.events(event));
            assert_eq!(events, [1, 1]);
            for record in rig.recorder.records(3).await {
                assert_eq!((record.status, record.error), (Some(StatusCode::OK), None));
            }
        }
    }
}

#[tokio::test]
async fn other_errors_pass_as_they_are_and_are_not_held_against_the_option() {
    for client_http2 in [false, true] {
        for (model, arriving) in [("broken", 1), ("verbose", 1), ("old and broken", 2)] {
            let site = Site::new().await;
            let rig = Rig::new(&site);
            let mut arrivals = provider(site, &BOTH);
            let unasked = UNASKED.replace("gpt-4o-mini", model);
            for call in 1..=2 {
                let (head, body) = send(&rig, client_http2, post(&unasked)).await;
                assert_eq!(
                    (head.status, &head.headers["x-odd"]),
                    (StatusCode::BAD_REQUEST, &"1".parse().expect("a value"))
                );
                let expected =
                    answer(&json!({"model": model})).into_body().collect().await.expect("in memory").to_bytes();
                assert_eq!(
                    (head.headers["content-length"].to_str().expect("text"), &body),
                    (expected.len().to_string().as_str(), &expected)
                );
                for _ in 0..arriving {
                    arrivals.recv().await.expect("it arrived");
                }
                assert_eq!(rig.recorder.events(UpstreamEvent::UsageAsked), call, "{model}: it is tried again");
                assert!(arrivals.try_recv().is_err());
            }
            for record in rig.recorder.records(2).await {
                assert_eq!(
                    record.response_bytes,
                    answer(&json!({"model": model})).into_body().collect().await.expect("in memory").to_bytes().len()
                        as u64
                );
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_coded_or_says_its_length_keeps_the_chunk() {
    for client_http2 in [false, true] {
        for model in ["coded", "measured"] {
            let site = Site::new().await;
            let rig = Rig::new(&site);
            let _arrivals = provider(site, &BOTH);
            let (head, body) = send(&rig, client_http2, post(&UNASKED.replace("gpt-4o-mini", model))).await;
            let expected = answer(&json!({"model": model, "stream_options": {"include_usage": true}}));
            assert_eq!(body, expected.into_body().collect().await.expect("in memory").to_bytes());
            assert_eq!(head.headers.contains_key("content-length"), model == "measured");
            let record = rig.recorder.record().await;
            assert_eq!(
                (record.usage_source, rig.recorder.events(UpstreamEvent::UsageShown)),
                (UsageSource::Provider, 1)
            );
        }
    }
}

#[tokio::test]
async fn large_bodies_are_edited_up_to_a_bound_and_pass_beyond_it() {
    for client_http2 in [false, true] {
        for (megabytes, is_edited) in [(3, true), (9, false)] {
            for measured in [false, true] {
                let site = Site::new().await;
                let rig = Rig::new(&site);
                let mut arrivals = provider(site, &BOTH);
                let text = format!(r#"{{"text":"{}","stream":true}}"#, "x".repeat(megabytes << 20));
                let mut request = posted(https("/v1/chat/completions"), &text, 100_000);
                if measured {
                    request.headers_mut().insert("content-length", text.len().into());
                }
                let (head, _) = send(&rig, client_http2, request).await;
                assert_eq!(head.status, StatusCode::OK);
                let arrived = arrivals.recv().await.expect("it arrived").body;
                let edited = text.replace("true}", r#"true,"stream_options":{"include_usage":true}}"#);
                assert!(arrived == if is_edited { &edited } else { &text }, "{client_http2} {megabytes} {measured}");
                let record = rig.recorder.record().await;
                assert_eq!((record.outcome, record.request_bytes), (Outcome::Completed, text.len() as u64));
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_or_in_chunks_of_one_is_edited() {
    let bytes: Vec<_> = UNASKED.chars().map(String::from).collect();
    let chunks: Vec<_> = UNASKED.chars().map(|character| format!("1\r\n{character}\r\n")).collect();
    for (framing, pieces) in [
        (format!("Content-Length: {}", UNASKED.len()), bytes),
        // All at once.
        ("Transfer-Encoding: chunked".to_owned(), vec![chunks.concat() + "0\r\n\r\n"]),
    ] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let mut arrivals = provider(site, &["http/1.1"]);
        let (mut client, _) = rig.client(false).await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nConnection: close\r\n";
        say(&mut client, format!("{head}{framing}\r\n\r\n")).await;
        for piece in pieces {
            say(&mut client, piece).await;
            tokio::task::yield_now().await;
        }
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{framing}");
        assert_eq!(arrivals.recv().await.expect("it arrived").body, ASKED, "{framing}");
    }
}

/// It may wait for an answer to what it has sent.
#[tokio::test]
async fn a_client_that_pauses_within_its_request_is_not_kept_from_its_provider() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (arrived, mut arrivals) = unbounded_channel();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let arrived = arrived.clone();
        async move {
            let head = read_head(&mut stream).await;
            expect(&mut stream, &UNASKED[..20]).await;
            arrived.send(head).expect("the test waits");
            expect(&mut stream, &UNASKED[20..]).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nAccept-Encoding: br\r\nContent-Length: {}\r\n\r\n",
        UNASKED.len()
    );
    say(&mut client, format!("{head}{}", &UNASKED[..20])).await;
    assert_eq!(patiently(arrivals.recv()).await, Some(head), "as it came");
    say(&mut client, &UNASKED[20..]).await;
    expect(&mut client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(rig.recorder.record().await.request_bytes, UNASKED.len() as u64);
}

#[tokio::test]
async fn a_client_that_leaves_within_its_request_is_recorded_and_nobody_is_asked() {
    for http2 in [false, true] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let mut arrivals = provider(site, &BOTH);
        if http2 {
            let mut sender = rig.http2().await;
            let (frames, receiver) = unbounded_channel::<Result<Frame<Bytes>, std::io::Error>>();
            let mut receiver = receiver;
            let body = StreamBody::new(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)));
            let request = Request::post(https("/v1/chat/completions")).header("content-type", "application/json");
            frames.send(Ok(Frame::data(Bytes::from_static(&UNASKED.as_bytes()[..20])))).expect("open");
            let sending = tokio::spawn(sender.send_request(request.body(body).expect("a request")));
            // It arrives, sooner or later before the end.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            frames.send(Err(std::io::Error::other("gone"))).expect("open");
            assert!(patiently(sending).await.expect("no panic").is_err());
        } else {
            let (mut client, _) = rig.client(false).await;
            let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n";
            say(&mut client, format!("{head}{}", &UNASKED[..20])).await;
            drop(client);
        }
        let record = rig.recorder.record().await;
        assert_eq!((record.outcome, record.status), (Outcome::ClientGone, None), "http2: {http2}");
        assert!(arrivals.try_recv().is_err());
        assert_eq!(rig.recorder.events(UpstreamEvent::Connected { http2 }), 0);
    }
}

#[tokio::test]
async fn trailers_of_an_edited_request_arrive() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let mut arrivals = provider(site, &["h2"]);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", "yes".parse().expect("a value"));
    let frames = vec![Ok(Frame::data(Bytes::from_static(UNASKED.as_bytes()))), Ok(Frame::trailers(trailers.clone()))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post(https("/v1/chat/completions")).header("content-type", "application/json");
    let response =
        patiently(rig.http2::<StreamBody<Stream>>().await.send_request(request.body(body).expect("a request")));
    assert_eq!(response.await.expect("answered").status(), StatusCode::OK);
    let arrival = arrivals.recv().await.expect("it arrived");
    assert_eq!((arrival.body, arrival.trailers), (ASKED.into(), Some(trailers)));
}

#[tokio::test]
async fn an_edited_request_survives_a_dead_connection() {
    let site = Site::new().await;
    // However slow the machine is.
    let limits = Limits { resend_within: PATIENCE, ..Limits::default() };
    let rig = Arc::new(Rig::with(&site, site.address(), limits, Vec::new()));
    let head = |length: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let (unasked, asked) = (head(UNASKED.len()) + UNASKED, head(ASKED.len()) + ASKED);
    site.serve(&["http/1.1"], move |_, mut stream| {
        let asked = asked.clone();
        async move {
            expect(&mut stream, &asked).await;
            say(&mut stream, OK).await;
            // The next request crosses with the close: it is read, and nothing is said.
            let mut byte = [0];
            drop(tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await);
        }
    });
    let (mut client, _) = rig.client(false).await;
    for _ in 0..4 {
        say(&mut client, &unasked).await;
        expect(&mut client, OK).await;
    }
    assert!(rig.recorder.records(4).await.iter().all(|record| record.outcome == Outcome::Completed));
    assert_eq!(rig.recorder.events(UpstreamEvent::Resent), 3);
}

/// What was held back when the provider broke off is passed on first.
#[tokio::test]
async fn a_stream_that_breaks_off_loses_nothing_of_what_came() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        expect(&mut stream, ASKED).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        say(&mut stream, "10\r\ndata: 1\n\ndata: 2\r\n").await;
    });
    let (mut client, _) = rig.client(false).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n";
    say(&mut client, format!("{head}Content-Length: {}\r\n\r\n{UNASKED}", UNASKED.len())).await;
    read_head(&mut client).await;
    let rest = String::from_utf8(read_to_end(&mut client).await).expect("text");
    assert_eq!(rest, "9\r\ndata: 1\n\n\r\n7\r\ndata: 2\r\n", "and no last chunk");
    assert!(matches!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(_)));
}

/// The same beside other streams, whose connection must have sent it before the stream is reset.
#[tokio::test]
async fn a_stream_that_breaks_off_loses_nothing_of_what_came_on_a_connection_with_others() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let (arrived, mut arrivals) = unbounded_channel();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let arrived = arrived.clone();
        async move {
            let waits = read_head(&mut stream).await.starts_with("GET");
            arrived.send(()).expect("the test waits");
            if waits {
                return std::future::pending().await;
            }
            expect(&mut stream, ASKED).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            say(&mut stream, format!("{head}10\r\ndata: 1\n\ndata: 2\r\n")).await;
        }
    });
    let mut client = rig.http2::<Full<Bytes>>().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut client = client.clone();
        let request = Request::get(https("/")).body(Full::default()).expect("a request");
        others.push(tokio::spawn(async move { client.send_request(request).await }));
        patiently(arrivals.recv()).await.expect("it arrives");
    }
    let request = Request::post(https("/v1/chat/completions")).header("content-type", "application/json");
    let request = request.body(Full::<Bytes>::from(UNASKED)).expect("a request");
    let mut body = patiently(client.send_request(request)).await.expect("answered").into_body();
    let mut came = Vec::new();
    let error = loop {
        match patiently(body.frame()).await.expect("no orderly end") {
            Ok(frame) => came.extend_from_slice(&frame.into_data().expect("no trailers")),
            Err(error) => break error,
        }
    };
    assert_eq!(String::from_utf8(came).expect("text"), "data: 1\n\ndata: 2", "then {error}");
    assert!(matches!(rig.recorder.record().await.outcome, Outcome::UpstreamFailed(_)));
    others.iter().for_each(tokio::task::JoinHandle::abort);
}
