//! Bodies: random ones, large ones, ones that nobody reads, and ones that are metered.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tollgate_ledger::Outcome;
use tollgate_llm::UsageSource;

use crate::support::{PATIENCE, Rig, Site, full, https, patiently, read_head, say};

type Frames = Vec<Bytes>;
pub(crate) type Stream = futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>>;

pub(crate) fn stream(frames: Frames) -> StreamBody<Stream> {
    let frames: Vec<_> = frames.into_iter().map(|frame| Ok(Frame::data(frame))).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

/// A provider that answers each request with `answer`, and tells what it received.
fn scripted(
    site: Site,
    alpn: &[&str],
    answer: impl Fn() -> Response<StreamBody<Stream>> + Clone + Send + Sync + 'static,
) -> tokio::sync::mpsc::UnboundedReceiver<(http::request::Parts, Bytes)> {
    let (seen, saw) = tokio::sync::mpsc::unbounded_channel();
    site.serve(alpn, move |_, stream| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (seen, answer) = (seen.clone(), answer.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    seen.send((parts, body)).expect("the test waits");
                    Ok::<_, hyper::Error>(answer())
                }
            });
            if http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            } else {
                let builder = hyper::server::conn::http1::Builder::new();
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    });
    saw
}

pub(crate) async fn send(
    rig: &Rig,
    http2: bool,
    mut request: Request<StreamBody<Stream>>,
) -> (http::response::Parts, Bytes) {
    let response = if http2 {
        patiently(rig.http2().await.send_request(request)).await
    } else {
        let (socket, _) = rig.client(false).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        let path = request.uri().path_and_query().expect("a path").as_str().parse().expect("a path");
        *request.uri_mut() = path;
        request.headers_mut().insert("host", HeaderValue::from_static(crate::support::HOST));
        *request.version_mut() = Version::HTTP_11;
        patiently(sender.send_request(request)).await
    };
    let (parts, body) = response.expect("answered").into_parts();
    (parts, patiently(body.collect()).await.expect("whole").to_bytes())
}

fn frames() -> impl Strategy<Value = Frames> {
    let size = prop_oneof![0..64_usize, 0..5_000_usize, 60_000..70_000_usize];
    let frame = (size, any::<u64>()).prop_map(|(size, seed)| noise(size, seed));
    prop::collection::vec(frame, 0..8)
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value = prop::collection::vec(prop_oneof![0x21..=0x7e_u8, 0x80..=0xff_u8], 0..40);
    prop::collection::vec(("x-[a-z0-9_]{1,12}", value), 0..20)
}

fn map(headers: &[(String, Vec<u8>)]) -> HeaderMap {
    let line = |(name, value): &(String, Vec<u8>)| {
        (HeaderName::try_from(name).expect("a name"), HeaderValue::from_bytes(value).expect("a value"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().map(line) {
        map.append(name, value);
    }
    map
}

/// What the hyper at either end of the test adds is not the proxy's.
fn own(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let framing = ["host", "date", "content-length", "transfer-encoding"];
    let own = headers.iter().filter(|(name, _)| !framing.contains(&name.as_str()));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Bytes without a pattern (xorshift), the same for the same seed.
fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_heads_and_bodies_pass_unchanged_between_any_protocols(
        client_http2 in any::<bool>(),
        provider_http2 in any::<bool>(),
        sent in frames(),
        answered in frames(),
        request_headers in headers(),
        response_headers in headers(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let site = Site::new().await;
            let rig = Rig::new(&site);
            let (reply, reply_headers) = (answered.clone(), map(&response_headers));
            let alpn = if provider_http2 { ["h2"] } else { ["http/1.1"] };
            let mut saw = scripted(site, &alpn, move || {
                let mut response = Response::new(stream(reply.clone()));
                *response.headers_mut() = reply_headers.clone();
                response
            });
            let mut request = Request::post(https("/v1/x?%20=/")).body(stream(sent.clone())).expect("a request");
            *request.headers_mut() = map(&request_headers);
            let (parts, body) = send(&rig, client_http2, request).await;
            let (seen, received) = saw.recv().await.expect("it arrived");
            prop_assert_eq!(received, sent.concat());
            prop_assert_eq!(own(&seen.headers), own(&map(&request_headers)));
            prop_assert_eq!(body, answered.concat());
            prop_assert_eq!(own(&parts.headers), own(&map(&response_headers)));
            let record = rig.recorder.record().await;
            prop_assert_eq!(record.outcome, Outcome::Completed);
            prop_assert_eq!(record.request_bytes, sent.concat().len() as u64);
            prop_assert_eq!(record.response_bytes, answered.concat().len() as u64);
            Ok(())
        })?;
    }
}

/// 100 MB in pieces that differ, so that a swap or a loss shows in the sum.
fn pieces() -> impl Iterator<Item = Bytes> {
    (0..1_600_u64).map(|index| noise(65_536 - 2_048, index + 1))
}

fn fold(sum: u64, bytes: &[u8]) -> u64 {
    // FNV-1a over the whole body.
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

async fn sum(mut body: Incoming) -> (u64, u64) {
    let (mut total, mut hash) = (0, 0);
    while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.expect("in time") {
        if let Some(data) = frame.expect("whole").data_ref() {
            total += data.len() as u64;
            hash = fold(hash, data);
        }
    }
    (total, hash)
}

#[tokio::test]
async fn a_hundred_megabytes_pass_each_way_at_once() {
    let expected = pieces().fold((0, 0), |(total, hash), piece| (total + piece.len() as u64, fold(hash, &piece)));
    assert!(expected.0 > 100_000_000);
    for (client_http2, alpn) in [(false, ["http/1.1"]), (true, ["h2"])] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&alpn, move |_, stream| async move {
            // The provider sends back what it receives, while it receives it.
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                Ok::<_, hyper::Error>(Response::new(request.into_body()))
            });
            if alpn == ["h2"] {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            } else {
                let builder = hyper::server::conn::http1::Builder::new();
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        });
        let body = StreamBody::new(futures_util::stream::iter(
            pieces().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece))),
        ));
        let (socket, _) = rig.client(client_http2).await;
        let response = if client_http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                    .await
                    .expect("HTTP/2");
            tokio::spawn(async move { drop(connection.await) });
            patiently(sender.send_request(Request::post(https("/")).body(body).expect("a request"))).await
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
            tokio::spawn(async move { drop(connection.await) });
            let request = Request::post("/").header("host", crate::support::HOST).body(body).expect("a request");
            patiently(sender.send_request(request)).await
        };
        assert_eq!(sum(response.expect("answered").into_body()).await, expected);
        let record = rig.recorder.record().await;
        assert_eq!((record.request_bytes, record.response_bytes), (expected.0, expected.0));
    }
}

/// Socket buffers on loopback grow to a few megabytes; the proxy's own may not add more than this to them.
const STUCK: u64 = 24 * 1024 * 1024;

/// An endless body that counts what was taken of it.
fn endless(
    taken: &Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Unpin + use<> {
    let taken = Arc::clone(taken);
    let piece = Bytes::from(vec![7; 64 * 1024]);
    futures_util::stream::iter(std::iter::repeat_with(move || {
        taken.fetch_add(piece.len() as u64, Relaxed);
        Ok(Frame::data(piece.clone()))
    }))
}

/// Waits until nothing more is taken.
async fn settled(taken: &AtomicU64) -> u64 {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = taken.load(Relaxed);
        if now > 0 && now == last {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn a_provider_that_does_not_read_holds_the_client_back() {
    for (http2, alpn) in [(false, ["http/1.1"]), (true, ["h2"])] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&alpn, |_, stream| async move {
            // An HTTP/2 provider reads frames, and lets the window run out.
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                let held = connection.accept().await;
                drop(connection.accept().await);
                drop(held);
            } else {
                tokio::time::sleep(PATIENCE).await;
                drop(stream);
            }
        });
        let taken = Arc::default();
        let body = StreamBody::new(endless(&taken));
        let (socket, _) = rig.client(http2).await;
        let sending = if http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                    .await
                    .expect("HTTP/2");
            tokio::spawn(async move { drop(connection.await) });
            tokio::spawn(
                async move { drop(sender.send_request(Request::post(https("/")).body(body).expect("ok")).await) },
            )
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
            tokio::spawn(async move { drop(connection.await) });
            let request = Request::post("/").header("host", crate::support::HOST).body(body).expect("a request");
            tokio::spawn(async move { drop(sender.send_request(request).await) })
        };
        let stuck = patiently(settled(&taken)).await;
        assert!(stuck < STUCK, "{stuck} bytes were taken from the client");
        sending.abort();
    }
}

/// Reads the bodies of requests to `/read` and of no others. Its own connection has room for all of them.
async fn choosy(stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_connection_window_size(64 << 20);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() != "/read" {
            held.push((request, respond));
            continue;
        }
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                body.flow_control().release_capacity(piece.len()).expect("open");
            }
            respond.send_response(Response::new(()), true).expect("open");
        });
    }
}

#[tokio::test]
async fn unread_uploads_of_one_client_are_bounded_together_and_few_of_them_stop_no_other() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["h2"], |_, stream| choosy(stream));
    let mut client = rig.http2().await;
    let upload = |path: &str, taken: &Arc<AtomicU64>| {
        Request::post(https(path)).body(StreamBody::new(endless(taken)).boxed_unsync()).expect("a request")
    };
    let few = Arc::<AtomicU64>::default();
    let mut unread: Vec<_> = (0..8).map(|_| tokio::spawn(client.send_request(upload("/unread", &few)))).collect();
    patiently(settled(&few)).await;
    let body = full(vec![1; 4 << 20]).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(https("/read")).body(body).expect("a request");
    assert!(patiently(client.send_request(request)).await.expect("answered").status().is_success());
    // What so many have in flight for themselves would be 48 MiB, besides what each end keeps of each.
    let many = Arc::<AtomicU64>::default();
    unread.extend((0..184).map(|_| tokio::spawn(client.send_request(upload("/unread", &many)))));
    patiently(settled(&many)).await;
    let held = few.load(Relaxed) + many.load(Relaxed);
    assert!(held < 2 * STUCK, "{held} bytes were taken from the client");
    for each in unread {
        each.abort();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_provider_back_and_nobody_else() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    let taken = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&taken);
    site.serve(&["h2"], move |_, stream| {
        let counter = Arc::clone(&counter);
        async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let counter = Arc::clone(&counter);
                async move {
                    let body = if request.uri().path() == "/endless" {
                        StreamBody::new(endless(&counter)).boxed_unsync()
                    } else {
                        full("small").map_err(|never| match never {}).boxed_unsync()
                    };
                    Ok::<_, hyper::Error>(Response::new(body))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
    });
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut client = rig.http2().await;
        let request = Request::get(https("/endless")).body(full("")).expect("a request");
        deaf.push((patiently(client.send_request(request)).await.expect("answered"), client));
    }
    let stuck = patiently(settled(&taken)).await;
    assert!(stuck < 8 * STUCK, "{stuck} bytes were taken from the provider");
    // On the same connection to the provider, another client is served.
    let mut client = rig.http2().await;
    let response = patiently(client.send_request(Request::get(https("/")).body(full("")).expect("ok"))).await;
    assert_eq!(crate::support::text(response.expect("answered").into_body()).await, "small");
    assert_eq!(rig.recorder.events(tollgate_proxy::observe::UpstreamEvent::Connected { http2: true }), 1);
}

const REQUEST: &str = r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;

const EVENTS: [&str; 4] = [
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\
        \"completion_tokens\":200,\"total_tokens\":1200}}\n\n",
    "data: [DONE]\n\n",
];

#[tokio::test]
async fn a_compressed_stream_passes_as_it_is_and_is_metered() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut frames = Vec::new();
    for event in EVENTS {
        encoder.write_all(event.as_bytes()).expect("in memory");
        encoder.flush().expect("in memory");
        frames.push(Bytes::from(std::mem::take(encoder.get_mut())));
    }
    frames.push(encoder.finish().expect("in memory").into());
    for (client_http2, alpn) in [(false, ["http/1.1"]), (true, ["h2"])] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let reply = frames.clone();
        let mut saw = scripted(site, &alpn, move || {
            let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
            response.header("content-encoding", "gzip").body(stream(reply.clone())).expect("a response")
        });
        let request = Request::post(https("/v1/chat/completions")).header("content-type", "application/json");
        let request = request.body(stream(vec![Bytes::from_static(REQUEST.as_bytes())])).expect("a request");
        let (_, body) = send(&rig, client_http2, request).await;
        assert_eq!(body, frames.concat());
        assert_eq!(saw.recv().await.expect("it arrived").1, REQUEST);
        let record = rig.recorder.record().await;
        let usage = record.usage.expect("metered");
        assert_eq!((usage.input, usage.output, record.usage_source), (1000, 200, UsageSource::Provider));
        assert_eq!(record.request_model.as_deref(), Some("gpt-4o-mini"));
        assert_eq!(record.response_model.as_deref(), Some("gpt-4o-mini-2024-07-18"));
        // $0.15 and $0.60 for a million.
        assert_eq!(record.cost.map(|cost| cost.normalize().to_string()).as_deref(), Some("0.00027"));
        assert_eq!(record.stream, Some(true));
    }
}

#[tokio::test]
async fn codings_listed_in_several_lines_are_all_undone_by_the_meter() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let deflate = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let asked = Bytes::from(deflate(&gzip(REQUEST.as_bytes())));
    let answered = Bytes::from(deflate(&gzip(EVENTS.concat().as_bytes())));
    for (client_http2, alpn) in [(false, ["http/1.1"]), (true, ["h2"])] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        let reply = answered.clone();
        let mut saw = scripted(site, &alpn, move || {
            let response = Response::builder().header("content-type", "text/event-stream");
            let response = response.header("content-encoding", "gzip").header("content-encoding", "deflate");
            response.body(stream(vec![reply.clone()])).expect("a response")
        });
        let request = Request::post(https("/v1/chat/completions")).header("content-type", "application/json");
        let request = request.header("content-encoding", "gzip").header("content-encoding", "deflate");
        let request = request.body(stream(vec![asked.clone()])).expect("a request");
        let (head, body) = send(&rig, client_http2, request).await;
        assert_eq!((head.headers.get_all("content-encoding").iter().count(), body), (2, answered.clone()));
        assert_eq!(saw.recv().await.expect("it arrived").1, asked);
        let record = rig.recorder.record().await;
        assert_eq!(record.usage.expect("metered").input, 1000);
        assert_eq!(record.request_model.as_deref(), Some("gpt-4o-mini"));
    }
}

#[tokio::test]
async fn what_was_streamed_until_the_client_left_is_on_the_record() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for event in &EVENTS[..2] {
            say(&mut stream, format!("{:x}\r\n{event}\r\n", event.len())).await;
        }
        tokio::time::sleep(PATIENCE).await;
    });
    let (mut client, _) = rig.client(false).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: {}\r\n\r\n",
        REQUEST.len()
    );
    say(&mut client, head + REQUEST).await;
    read_head(&mut client).await;
    crate::support::expect(&mut client, &format!("{:x}\r\n{}", EVENTS[0].len(), EVENTS[0])).await;
    drop(client);
    let record = rig.recorder.record().await;
    assert_eq!((record.outcome, record.request_model.as_deref()), (Outcome::ClientGone, Some("gpt-4o-mini")));
    assert_eq!(record.response_model.as_deref(), Some("gpt-4o-mini-2024-07-18"));
    assert_ne!(record.usage_source, UsageSource::Provider);
}
