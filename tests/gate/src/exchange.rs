//! Exchanges through the proxy as the agent puts it together: TLS on both sides, metered, priced, counted and on a ledger. All but
//! the ledger's writer is on one thread.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tollgate_admin::Metrics;
use tollgate_ledger::store::{Ledger, Settings};
use tollgate_ledger::{Opened, Record};
use tollgate_llm::Catalogue;
use tollgate_proxy::Fingerprints;
use tollgate_proxy::drain;
use tollgate_proxy::http::{Connection, Http};
use tollgate_proxy::observe::Observer;
use tollgate_proxy::upstream::{Limits, SystemDial, Upstream};
use tollgate_tls::{Authority, Roots};
use tollgate_workload::Caller;

use crate::provider::{EVENTS, Provider, read_until};
use crate::{Case, Work};

pub(crate) const CASES: &[Case] = &[
    ("http/1.1, 20 chats", || chats(20)),
    ("http/1.1, stream of 100 events", stream),
    ("h2, 20 chats", || chats_http2(20)),
];

pub(crate) const HOST: &str = "api.openai.com";

/// The answer to a chat.
pub(crate) const ANSWER: &str = r#"{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I assist you today? I can help with a great many things, as long as they are made of words.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":24,"total_tokens":43,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_06737a9306"}
"#;

/// The head of an answer, with the fields that the provider's have.
pub(crate) fn head(kind: &str, framing: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 04:15:00 GMT\r\nContent-Type: {kind}\r\n{framing}\r\nConnection: keep-alive\r\n\
         openai-organization: user-1\r\nopenai-processing-ms: 424\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
         x-ratelimit-remaining-requests: 9999\r\nx-request-id: req_82d8f9c4f1d34dbb8b3e6a2a\r\nCF-Cache-Status: DYNAMIC\r\n\
         Server: cloudflare\r\nCF-RAY: 8c1f2b3c4d5e6f70-FRA\r\nalt-svc: h3=\":443\"; ma=86400\r\n\r\n"
    )
}

/// A chat of about one kilobyte. The line's end after the body tells the provider where it is.
fn body(rest: &str) -> String {
    let text = "Tell me something about gateways that nobody has to call, please. ".repeat(12);
    format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],\"model\":\"gpt-4o-mini\"{rest}}}\n")
}

fn request(rest: &str) -> String {
    let body = body(rest);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
         Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.0\r\nX-Stainless-Lang: python\r\n\
         X-Stainless-OS: Linux\r\nX-Stainless-Retry-Count: 0\r\nAuthorization: Bearer sk-test-0123456789012345678901234567890123456789\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chats(times: usize) -> Work {
    let (request, mut answer) = (request(""), Vec::with_capacity(64 << 10));
    let mut rig = Rig::new(false);
    Box::new(move || {
        // All of it is moved here, so that no part of it is dropped.
        let rig = &mut rig;
        rig.runtime.block_on(async {
            for _ in 0..times {
                rig.client.write_all(request.as_bytes()).await.expect("the proxy reads");
                // The end of its head and then of its body: the only braces that end a line.
                assert!(read_until(&mut rig.client, &mut answer, b"}\n").await, "the proxy answers");
                rig.settled.acquire().await.expect("never closed").forget();
            }
        });
    })
}

/// Each event is sent when the one before it has come, as from a model that thinks.
fn stream() -> Work {
    let request = request(r#","stream":true,"stream_options":{"include_usage":true}"#);
    let mut answer = Vec::with_capacity(64 << 10);
    let mut rig = Rig::new(false);
    Box::new(move || {
        // All of it is moved here, so that no part of it is dropped.
        let rig = &mut rig;
        rig.runtime.block_on(async {
            rig.client.write_all(request.as_bytes()).await.expect("the proxy reads");
            assert!(read_until(&mut rig.client, &mut answer, b"\r\n\r\n").await, "the proxy answers");
            for event in 0..EVENTS {
                rig.provider.leave.add_permits(1);
                let end: &[u8] = if event + 1 == EVENTS { b"\r\n0\r\n\r\n" } else { b"\n\n\r\n" };
                assert!(read_until(&mut rig.client, &mut answer, end).await, "the event comes through");
            }
            rig.settled.acquire().await.expect("never closed").forget();
        });
    })
}

fn chats_http2(times: usize) -> Work {
    let body = Bytes::from(body(""));
    let rig = Rig::new(true);
    let (runtime, settled, client) = (rig.runtime, rig.settled, rig.client);
    let (mut sender, connection) = runtime.block_on(async {
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.handshake(TokioIo::new(client)).await.expect("the proxy speaks HTTP/2")
    });
    runtime.spawn(async move { drop(connection.await) });
    // Kept for as long as the work may be repeated.
    let kept = (rig.provider, rig.trigger, rig.folder);
    Box::new(move || {
        let _ = &kept;
        runtime.block_on(async {
            for _ in 0..times {
                chat_http2(&mut sender, body.clone()).await;
                settled.acquire().await.expect("never closed").forget();
            }
        });
    })
}

async fn chat_http2(sender: &mut SendRequest<Full<Bytes>>, body: Bytes) {
    let request = Request::post(format!("https://{HOST}/v1/chat/completions"))
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "OpenAI/Python 2.8.0")
        .header("authorization", "Bearer sk-test-0123456789012345678901234567890123456789");
    let request = request.body(Full::new(body)).expect("a valid request");
    sender.ready().await.expect("the connection lasts");
    let answer = sender.send_request(request).await.expect("the proxy answers");
    assert_eq!(answer.into_body().collect().await.expect("a whole body").to_bytes().len(), ANSWER.len());
}

/// Does with each record what the agent does, but for the line in the log.
struct Books {
    metrics: Metrics,
    ledger: Ledger,
    settled: Arc<Semaphore>,
}

impl Observer for Books {
    fn opened(&self, opened: &Opened) {
        self.ledger.opened(opened);
    }

    fn settled(&self, record: Record) {
        assert!(record.cost.is_some(), "metered and priced");
        self.ledger.settled(&record);
        self.metrics.record(&record);
        self.settled.add_permits(1);
    }
}

/// A client, the proxy and a provider.
struct Rig {
    runtime: Runtime,
    provider: Provider,
    client: TlsStream<TcpStream>,
    /// One permit an exchange that has ended.
    settled: Arc<Semaphore>,
    trigger: drain::Trigger,
    folder: TempDir,
}

impl Rig {
    fn new(http2: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is made");
        let folder = tempfile::tempdir().expect("a folder is made");
        let settled = Arc::new(Semaphore::new(0));
        let (trigger, watch) = drain::channel();
        let (provider, client) = runtime.block_on(async {
            let provider = Provider::start(http2).await;
            let upstream = Upstream::with(&provider.roots, Limits::default(), Arc::new(SystemDial));
            let books = Books {
                metrics: Metrics::new("gate", "0"),
                ledger: ledger(folder.path()),
                settled: Arc::clone(&settled),
            };
            let http = Http::new(upstream, Arc::new(books))
                .with_fingerprints(Fingerprints::ephemeral().expect("a key is made"));
            let client = serve(http, connection(provider.address, http2), watch).await;
            (provider, client)
        });
        Self { runtime, provider, client, settled, trigger, folder }
    }
}

fn ledger(folder: &Path) -> Ledger {
    let (directory, journals) = (folder.join("ledger"), vec![folder.join("journal")]);
    Ledger::start(Settings { directory, journals, retention: None }).expect("a thread starts")
}

fn connection(destination: SocketAddr, http2: bool) -> Connection {
    let caller = Caller {
        program: "python3".into(),
        executable: Some("/usr/bin/python3.11".into()),
        user: "nobody".into(),
        uid: 65534,
        pid: 1,
        cgroup: Some("/user.slice".into()),
        unit: None,
        container: None,
        pod: None,
        system_unit: None,
    };
    let provider = Arc::clone(Catalogue::builtin().find(HOST).expect("built in"));
    Connection { host: HOST.into(), destination, caller: Arc::new(caller), provider, http2, plain: false }
}

/// A client's connection, whose other end is served.
async fn serve(http: Http, connection: Connection, watch: drain::Watch) -> TlsStream<TcpStream> {
    let authority = Authority::ephemeral(&[HOST.parse().expect("a pattern")]).expect("an authority is made");
    let roots = Roots::only([authority.certificate_der().clone()]).expect("one root");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.expect("connects"), far.expect("accepts"));
    near.set_nodelay(true).expect("open");
    far.set_nodelay(true).expect("open");
    let alpn: &[u8] = if connection.http2 { b"h2" } else { b"http/1.1" };
    let connector = TlsConnector::from(tollgate_tls::client_config(&roots, &[alpn]));
    let acceptor = TlsAcceptor::from(authority.server_config(HOST).expect("permitted"));
    let (near, far) = tokio::join!(connector.connect(HOST.try_into().expect("a name"), near), acceptor.accept(far));
    let far = far.expect("a handshake");
    tokio::spawn(async move { http.serve(far, connection, watch).await });
    near.expect("a handshake")
}
