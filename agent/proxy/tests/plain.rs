//! Servers that are spoken to without TLS: their requests are metered, and everybody else's pass untouched.

#[path = "http/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_kernel::{Flow, NetnsCookie};
use tollgate_ledger::Record;
use tollgate_llm::{Catalogue, Dialect, Provider, UsageSource};
use tollgate_proxy::connection::{Proxy, Settings, Terminate};
use tollgate_proxy::drain;
use tollgate_proxy::fate::{ConnectionRecord, Fate, TunnelReason};
use tollgate_proxy::http::Http;
use tollgate_proxy::observe::Observer;
use tollgate_proxy::peek;
use tollgate_proxy::refusals::Refusals;
use tollgate_proxy::upstream::{Limits, Upstream};
use tollgate_tls::{Authority, Roots};
use tollgate_workload::Workloads;

use support::{TestDial, patiently};

const REQUEST: &str = "{\"model\":\"llama3.2\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
const ANSWER: &str = "{\"model\":\"llama3.2\",\"message\":{\"content\":\"Hello\"},\"done\":false}\n\
    {\"model\":\"llama3.2\",\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\
    \"prompt_eval_count\":26,\"eval_count\":282}\n";

#[derive(Default)]
struct Log {
    records: Mutex<Vec<Record>>,
    fates: Mutex<Vec<Fate>>,
}

impl Observer for Log {
    fn settled(&self, record: Record) {
        self.records.lock().push(record);
    }

    fn connection(&self, record: ConnectionRecord) {
        self.fates.lock().push(record.fate);
    }
}

/// A server without TLS that answers each connection's first bytes with `answer`, and tells what it was sent.
async fn server(answer: String) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
    let address = listener.local_addr().expect("bound");
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, log) = (answer.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !seen.ends_with(b"}") {
                    match stream.read_buf(&mut seen).await {
                        Ok(1..) => {}
                        _ => break,
                    }
                }
                log.lock().extend_from_slice(&seen);
                stream.write_all(answer.as_bytes()).await.expect("the client waits");
            });
        }
    });
    (address, heard)
}

/// What a client at `address` gets for `request`, sent in two pieces, and what was noted of it.
async fn exchange(address: SocketAddr, terminate: Terminate, request: &str) -> (String, Arc<Log>) {
    let hosts = vec!["ollama.internal".parse().expect("a pattern")];
    let own = Provider::new("ollama", hosts, Some(Dialect::Ollama));
    let catalogue = Catalogue::builtin().with(own.with_http_ports(vec![address.port()]));
    let log = Arc::<Log>::default();
    let observer = Arc::clone(&log) as Arc<dyn Observer>;
    let authority = Authority::ephemeral(&catalogue.patterns()).expect("an authority is made");
    let roots = Roots::only([authority.certificate_der().clone()]).expect("one root");
    let upstream = Upstream::with(&roots, Limits::default(), Arc::new(TestDial { resolved: Vec::new() }));
    let proxy = Proxy {
        authority: Arc::new(authority),
        catalogue: Arc::new(catalogue),
        http: Http::new(upstream, Arc::clone(&observer)),
        observer,
        refusals: Arc::new(Refusals::default()),
        workloads: Arc::new(Workloads::new()),
        settings: Settings { terminate, ports: vec![443, address.port()], peek: peek::Limits::default() },
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
    let flow = Flow {
        destination: address,
        tgid: std::process::id(),
        uid: 0,
        gid: 0,
        comm: "test".to_owned(),
        cgroup_id: 1,
        netns: NetnsCookie::of(&listener).expect("a socket has a namespace"),
        socket_cookie: 1,
        connected_at: Duration::ZERO,
    };
    let near = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
    let (far, _) = listener.accept().await.expect("accepts");
    let (_trigger, watch) = drain::channel();
    let serving = tokio::spawn(async move { proxy.serve(far, Some(flow), watch).await });
    let answer = patiently(async {
        let mut near = near;
        let (first, second) = request.split_at(20);
        near.write_all(first.as_bytes()).await.expect("the proxy reads");
        tokio::task::yield_now().await;
        near.write_all(second.as_bytes()).await.expect("the proxy reads");
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.expect("an answer");
        answer
    })
    .await;
    patiently(serving).await.expect("no panic");
    (answer, log)
}

fn request(host: &str) -> String {
    format!(
        "POST /api/chat HTTP/1.1\r\nHoSt: {host}\r\nX-Odd-CASE: 1\r\ncontent-length: {}\r\n\r\n{REQUEST}",
        REQUEST.len()
    )
}

fn answer() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nContent-Length: ";
    format!("{head}{}\r\n\r\n{ANSWER}", ANSWER.len())
}

#[tokio::test]
async fn a_configured_server_without_tls_is_metered() {
    let (address, heard) = server(answer()).await;
    let request = request(&format!("Ollama.internal:{}", address.port()));
    let (got, log) = exchange(address, Terminate::All, &request).await;
    assert_eq!(got, answer());
    assert_eq!(String::from_utf8_lossy(&heard.lock()), request, "the server gets what was sent");
    let [record] = &log.records.lock()[..] else { panic!("one record") };
    assert_eq!((&*record.provider, &*record.host), ("ollama", "ollama.internal"));
    assert_eq!(record.response_model.as_deref(), Some("llama3.2"));
    let usage = record.usage.expect("the last line has it");
    assert_eq!((usage.input, usage.output, record.usage_source), (26, 282, UsageSource::Provider));
    assert_eq!(record.stream, Some(true), "Ollama streams unless it is told not to");
    assert!(matches!(log.fates.lock()[..], [Fate::Intercepted]));
}

#[tokio::test]
async fn what_is_meant_for_others_at_that_port_passes_untouched() {
    let (address, heard) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()).await;
    for other in [request("other.internal"), request("api.openai.com"), "\u{1} is no request at all: {}".to_owned()] {
        heard.lock().clear();
        let (got, log) = exchange(address, Terminate::All, &other).await;
        assert!(got.ends_with("ok"), "{got}");
        assert_eq!(String::from_utf8_lossy(&heard.lock()), other);
        assert!(log.records.lock().is_empty());
        assert!(matches!(log.fates.lock()[..], [Fate::Tunnelled(TunnelReason::NotTls)]), "{:?}", log.fates.lock());
    }
}

#[tokio::test]
async fn nothing_is_read_where_nothing_is_to_be_opened() {
    let (address, _) = server(answer()).await;
    let (got, log) = exchange(address, Terminate::Off, &request("ollama.internal")).await;
    assert_eq!(got, answer());
    assert!(log.records.lock().is_empty());
    assert!(matches!(log.fates.lock()[..], [Fate::Tunnelled(TunnelReason::TerminateOff)]));
}
