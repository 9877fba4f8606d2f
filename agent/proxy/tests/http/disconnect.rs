//! Clients that leave in the middle of an answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tollgate_ledger::{Outcome, Record, UpstreamFailure};
use tollgate_llm::UsageSource;
use tollgate_proxy::http::{Metering, OnDisconnect};
use tollgate_proxy::observe::UpstreamEvent;

use crate::support::{PATIENCE, Rig, Site, patiently, read_head, say};

const REQUEST: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;
const DELTA: &str = "data: {\"model\":\"gpt-4o-mini\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const REST: &str = "data: {\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":200}}\n\n\
    data: [DONE]\n\n";

/// A provider that sends three deltas, and for each permit of the gate the rest; the stream ends after the first.
fn provider(site: Site, http2: bool, gate: &Arc<Semaphore>) {
    let gate = Arc::clone(gate);
    site.serve(if http2 { &["h2"] } else { &["http/1.1"] }, move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            if http2 {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                let (_, mut respond) = connection.accept().await.expect("a request").expect("whole");
                tokio::spawn(async move { while connection.accept().await.is_some() {} });
                let head = http::Response::builder().header("content-type", "text/event-stream");
                let mut body = respond.send_response(head.body(()).expect("a head"), false).expect("open");
                body.send_data(DELTA.repeat(3).into(), false).expect("open");
                gate.acquire().await.expect("open").forget();
                // The stream may have been reset.
                drop(body.send_data(REST.into(), true));
                tokio::time::sleep(PATIENCE).await;
            } else {
                read_head(&mut stream).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                say(&mut stream, format!("{head}{:x}\r\n{}\r\n", 3 * DELTA.len(), DELTA.repeat(3))).await;
                gate.acquire().await.expect("open").forget();
                let rest = format!("{:x}\r\n{REST}\r\n0\r\n\r\n", REST.len());
                drop(tokio::io::AsyncWriteExt::write_all(&mut stream, rest.as_bytes()).await);
                drop(tokio::io::AsyncWriteExt::flush(&mut stream).await);
                tokio::time::sleep(PATIENCE).await;
            }
        }
    });
}

/// Asks, reads the three deltas, and leaves.
async fn leave(rig: &Rig, http2: bool) {
    if http2 {
        let request = http::Request::post(crate::support::https("/v1/chat/completions"));
        let request = request.header("content-type", "application/json").body(crate::support::full(REQUEST));
        let mut response =
            patiently(rig.http2().await.send_request(request.expect("a request"))).await.expect("answered").into_body();
        let mut seen = 0;
        while seen < 3 * DELTA.len() {
            let frame = patiently(http_body_util::BodyExt::frame(&mut response)).await.expect("more").expect("a frame");
            seen += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
    } else {
        let (mut client, _) = rig.client(false).await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ncontent-type: application/json\r\n";
        say(&mut client, format!("{head}content-length: {}\r\n\r\n{REQUEST}", REQUEST.len())).await;
        read_head(&mut client).await;
        let mut body = vec![0; 3 * DELTA.len()];
        patiently(client.read_exact(&mut body)).await.expect("the deltas");
    }
}

fn drain(timeout: Duration, limit: u64) -> Metering {
    Metering { on_disconnect: OnDisconnect::Drain { timeout, limit }, ..Metering::default() }
}

/// What must not depend on the moment.
fn told(record: &Record) -> String {
    let Record { usage, usage_source, cost, outcome, response_bytes, response_model, error, .. } = record;
    format!("{usage:?} {usage_source:?} {cost:?} {outcome:?} {response_bytes} {response_model:?} {error:?}")
}

#[tokio::test]
async fn the_same_bytes_seen_are_the_same_record() {
    for http2 in [false, true] {
        let mut first: Option<String> = None;
        for _ in 0..5 {
            let site = Site::new().await;
            let rig = Rig::new(&site);
            provider(site, http2, &Arc::new(Semaphore::new(0)));
            leave(&rig, http2).await;
            let record = rig.recorder.record().await;
            assert_eq!(record.outcome, Outcome::ClientGone);
            assert_ne!(record.usage_source, UsageSource::Provider);
            assert_eq!(record.response_bytes, 3 * DELTA.len() as u64);
            let told = told(&record);
            assert_eq!(first.get_or_insert(told.clone()), &told);
        }
    }
}

#[tokio::test]
async fn a_drained_answer_is_counted_by_what_the_provider_told_at_its_end() {
    for http2 in [false, true] {
        let site = Site::new().await;
        let rig = Rig::metering(&site, drain(PATIENCE, 1 << 20));
        let gate = Arc::new(Semaphore::new(0));
        provider(site, http2, &gate);
        leave(&rig, http2).await;
        rig.recorder.event(UpstreamEvent::ReadOn, 1).await;
        let left = std::time::Instant::now();
        assert_eq!(rig.recorder.settled(), 0, "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.add_permits(1);
        let record = rig.recorder.record().await;
        let usage = record.usage.as_ref().expect("metered");
        assert_eq!((usage.input, usage.output, record.usage_source), (1000, 200, UsageSource::Provider));
        assert_eq!(record.outcome, Outcome::ClientGone);
        assert_eq!(record.response_bytes, (3 * DELTA.len() + REST.len()) as u64);
        let ended = record.started + record.duration;
        assert!(
            ended < std::time::SystemTime::now() - left.elapsed() + Duration::from_millis(45),
            "its duration is the client's"
        );
    }
}

/// While the model is thinking, as most who lose patience do.
#[tokio::test]
async fn an_answer_that_had_not_begun_is_drained_too() {
    for is_drained in [true, false] {
        let site = Site::new().await;
        let metering = if is_drained { drain(PATIENCE, 1 << 20) } else { Metering::default() };
        let rig = Rig::metering(&site, metering);
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        site.serve(&["http/1.1"], move |_, mut stream| {
            let (arrived, gate) = (arrived.clone(), Arc::clone(&gate));
            async move {
                read_head(&mut stream).await;
                crate::support::expect(&mut stream, &REQUEST.replace('}', "")[..20]).await;
                arrived.send(()).expect("the test waits");
                gate.acquire().await.expect("open").forget();
                let body = [DELTA, REST].concat();
                let head = format!("content-type: text/event-stream\r\ncontent-length: {}", body.len());
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
                drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await);
                drop(tokio::io::AsyncWriteExt::flush(&mut stream).await);
                tokio::time::sleep(PATIENCE).await;
            }
        });
        let (mut client, _) = rig.client(false).await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ncontent-type: application/json\r\n";
        say(&mut client, format!("{head}content-length: {}\r\n\r\n{REQUEST}", REQUEST.len())).await;
        patiently(arrivals.recv()).await.expect("it arrives");
        drop(client);
        if is_drained {
            rig.recorder.event(UpstreamEvent::ReadOn, 1).await;
            assert_eq!(rig.recorder.settled(), 0, "it is waited for");
            opened.add_permits(1);
        }
        let record = rig.recorder.record().await;
        assert_eq!(record.outcome, Outcome::ClientGone);
        assert_eq!(record.status.is_some(), is_drained);
        assert_eq!(record.usage_source == UsageSource::Provider, is_drained);
        assert_eq!(rig.recorder.events(UpstreamEvent::ReadOn), usize::from(is_drained));
    }
}

/// That the provider failed is known here, so nothing is estimated.
#[tokio::test]
async fn an_answer_that_is_waited_for_and_never_comes_is_the_providers_failure() {
    let site = Site::new().await;
    let rig = Rig::metering(&site, drain(PATIENCE, 1 << 20));
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    site.serve(&["http/1.1"], move |_, mut stream| {
        let (arrived, gate) = (arrived.clone(), Arc::clone(&gate));
        async move {
            read_head(&mut stream).await;
            crate::support::expect(&mut stream, &REQUEST.replace('}', "")[..20]).await;
            arrived.send(()).expect("the test waits");
            gate.acquire().await.expect("open").forget();
        }
    });
    let (mut client, _) = rig.client(false).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ncontent-type: application/json\r\n";
    let request = REQUEST.replace("[]", r#"[{"role":"user","content":"Hello"}]"#);
    say(&mut client, format!("{head}content-length: {}\r\n\r\n{request}", request.len())).await;
    patiently(arrivals.recv()).await.expect("it arrives");
    drop(client);
    rig.recorder.event(UpstreamEvent::ReadOn, 1).await;
    opened.add_permits(1);
    let record = rig.recorder.record().await;
    assert_eq!(record.outcome, Outcome::UpstreamFailed(UpstreamFailure::Reset));
    assert_eq!((record.status, record.usage, record.usage_source), (None, None, UsageSource::None));
}

#[tokio::test]
async fn draining_is_bounded_in_time_and_bytes() {
    for http2 in [false, true] {
        for (timeout, limit, permits) in [(Duration::from_millis(100), 1 << 20, 0), (PATIENCE, 10, 1)] {
            let site = Site::new().await;
            let rig = Rig::metering(&site, drain(timeout, limit));
            let gate = Arc::new(Semaphore::new(0));
            provider(site, http2, &gate);
            leave(&rig, http2).await;
            rig.recorder.event(UpstreamEvent::ReadOn, 1).await;
            gate.add_permits(permits);
            let record = rig.recorder.record().await;
            assert_eq!(record.outcome, Outcome::ClientGone);
            assert!(record.response_bytes >= 3 * DELTA.len() as u64);
        }
    }
}

#[tokio::test]
async fn stopping_waits_for_what_is_drained() {
    for finishes in [true, false] {
        let site = Site::new().await;
        let rig = Rig::metering(&site, drain(PATIENCE, 1 << 20));
        let gate = Arc::new(Semaphore::new(0));
        provider(site, false, &gate);
        leave(&rig, false).await;
        rig.recorder.event(UpstreamEvent::ReadOn, 1).await;
        let Rig { trigger, watch, recorder, .. } = rig;
        drop(watch);
        if finishes {
            gate.add_permits(1);
            trigger.drain(PATIENCE).await.expect("it ends");
            assert_eq!(recorder.record().await.usage_source, UsageSource::Provider);
        } else {
            trigger.drain(Duration::from_millis(50)).await.expect_err("it is still held");
            assert_eq!(recorder.settled(), 0);
        }
    }
}
