//! Over real sockets on the loopback, with requests written by hand: what is tested includes what hyper does.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::status::Refused;

struct Server {
    address: SocketAddr,
    health: Health,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::new();
        let state = || State {
            terminate: "all".into(),
            listeners: vec!["127.0.0.1:18443".into()],
            refusals: vec![Refused {
                user: "alice".into(),
                program: "java".into(),
                host: "api.openai.com".into(),
                reason: "unknown_ca".into(),
                times: 2,
                remaining_seconds: 60,
                remedy: "set javax.net.ssl.trustStore".into(),
            }],
            ..State::default()
        };
        let pages = Arc::new(Pages::new(Arc::new(Metrics::new("own", "1.2.3")), health.clone(), state));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, pages, async { drop(stopped.await) }));
        Self { address, health, stop: Some(stop), task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Status, head and body of the answer to one request on a connection of its own.
    async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = self.connect().await;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }
}

#[tokio::test]
async fn pages_are_served_and_the_index_names_them() {
    let server = Server::start().await;
    let (status, _, index) = server.ask("GET", "/").await;
    assert_eq!(status, 200);
    for path in ["/metrics", "/healthz", "/readyz", "/status"] {
        assert!(index.contains(path), "{index}");
        assert_eq!(server.ask("GET", path).await.0, 200, "{path}");
    }
    let (_, head, body) = server.ask("GET", "/metrics?x=1").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.contains("own_build_info{version=\"1.2.3\"} 1") && body.ends_with("# EOF\n"), "{body}");
    let (status, _, body) = server.ask("HEAD", "/healthz").await;
    assert_eq!((status, body.as_str()), (200, ""));
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let server = Server::start().await;
    let (status, _, body) = server.ask("GET", "/metric").await;
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
    let (status, head, body) = server.ask("POST", "/metrics").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head") && body.contains("GET"), "{head} {body}");
}

#[tokio::test]
async fn readiness_names_what_is_pending() {
    let server = Server::start().await;
    let programs = server.health.register("kernel programs");
    let listeners = server.health.register("listeners");
    let (status, _, body) = server.ask("GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "not ready; pending: kernel programs, listeners\n"));
    assert_eq!(server.ask("GET", "/healthz").await.0, 200, "alive though not ready");
    drop((programs, listeners));
    assert_eq!(server.ask("GET", "/readyz").await.0, 200);
}

#[tokio::test]
async fn status_can_be_read_back() {
    let server = Server::start().await;
    let _pending = server.health.register("seeds");
    let (_, head, body) = server.ask("GET", "/status").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    let status: Status = serde_json::from_str(&body).unwrap();
    assert_eq!((status.version.as_str(), status.pid), ("1.2.3", std::process::id()));
    assert_eq!((status.ready, status.pending), (false, vec!["seeds".to_owned()]));
    assert_eq!(status.state.terminate, "all");
    assert_eq!(status.state.refusals[0].program, "java");
    let newer: Status = serde_json::from_str(&body.replacen('{', "{\"new\": 1,", 1)).unwrap();
    assert_eq!(newer.state, status.state, "fields of a newer agent are skipped");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
        }
    }
}

#[tokio::test]
async fn nonsense_and_endless_heads_are_refused() {
    let server = Server::start().await;
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100_000));
    for bytes in [b"\x16\x03\x01 hello\r\n\r\n".as_slice(), endless.as_bytes()] {
        let mut stream = server.connect().await;
        // The server may close before it has read it all.
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.ask("GET", "/healthz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go_and_others_take_its_place() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(server.connect().await);
    }
    // One more than there are places: it is answered when the silent ones have been let go.
    assert_eq!(server.ask("GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn stopping_ends_open_connections_and_frees_the_address() {
    let mut server = Server::start().await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    assert_ne!(idle.read(&mut answer).await.unwrap(), 0);

    drop(server.stop.take());
    (&mut server.task).await.unwrap();
    assert_eq!(idle.read(&mut answer).await.unwrap_or(0), 0, "closed");
    assert!(TcpStream::connect(server.address).await.is_err());
}
