//! A proxy between sockets on loopback: real TLS to a scripted provider, plain bytes from the client (whose TLS is opened
//! before the code under test).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tollgate_ledger::{Opened, Record};
use tollgate_llm::{Catalogue, Provider};
use tollgate_policy::Notice;
use tollgate_proxy::drain;
use tollgate_proxy::http::{Connection, Http, Metering, ServeError};
use tollgate_proxy::observe::{Observer, PolicyEvent, UpstreamEvent};
use tollgate_proxy::upstream::{Dial, Dialing, Limits, Resolving, Upstream};
use tollgate_tls::{Authority, Roots};
use tollgate_workload::Caller;

pub(crate) const HOST: &str = "api.openai.com";

/// Long enough for a busy machine; only a hang gets this far.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened for a minute")
}

/// Remembers what the proxy reported.
#[derive(Default)]
pub(crate) struct Recorder {
    records: Mutex<Vec<Record>>,
    events: Mutex<Vec<UpstreamEvent>>,
    opened: Mutex<Vec<Opened>>,
    notices: Mutex<Vec<Notice>>,
    leaks: Mutex<usize>,
    news: Notify,
}

impl Observer for Recorder {
    fn opened(&self, opened: &Opened) {
        self.opened.lock().push(opened.clone());
    }

    fn policy(&self, event: &PolicyEvent<'_>) {
        self.notices.lock().push(event.notice.clone());
        self.news.notify_waiters();
    }

    fn settled(&self, record: Record) {
        self.records.lock().push(record);
        self.news.notify_waiters();
    }

    fn upstream(&self, event: UpstreamEvent) {
        self.events.lock().push(event);
    }

    fn leaked(&self) {
        *self.leaks.lock() += 1;
    }
}

impl Recorder {
    /// Waits for `count` records, and makes sure that there are no more.
    pub(crate) async fn records(&self, count: usize) -> Vec<Record> {
        let records = self.settlements(count).await;
        assert_eq!(records.len(), count, "{records:#?}");
        assert_eq!(*self.leaks.lock(), 0, "an exchange leaked");
        records
    }

    pub(crate) async fn record(&self) -> Record {
        self.records(1).await.remove(0)
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.lock().len()
    }

    /// What was remembered before requests left.
    pub(crate) fn openings(&self) -> Vec<Opened> {
        self.opened.lock().clone()
    }

    /// What the policy has decided that was worth telling.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.notices.lock().clone()
    }

    /// Waits until so many calls have ended.
    pub(crate) async fn settlements(&self, count: usize) -> Vec<Record> {
        patiently(async {
            loop {
                let news = self.news.notified();
                if self.records.lock().len() >= count {
                    break;
                }
                news.await;
            }
        })
        .await;
        self.records.lock().clone()
    }

    /// Waits until something happened so many times.
    pub(crate) async fn event(&self, wanted: UpstreamEvent, times: usize) {
        patiently(async {
            while self.events(wanted) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(crate) fn settled(&self) -> usize {
        self.records.lock().len()
    }

    pub(crate) fn events(&self, wanted: UpstreamEvent) -> usize {
        self.events.lock().iter().filter(|event| **event == wanted).count()
    }
}

/// Goes wherever it is told; names resolve to `resolved`.
pub(crate) struct TestDial {
    pub(crate) resolved: Vec<SocketAddr>,
}

impl Dial for TestDial {
    fn dial(&self, address: SocketAddr) -> Dialing {
        Box::pin(TcpStream::connect(address))
    }

    fn resolve(&self, _host: &str, _port: u16) -> Resolving {
        let resolved = self.resolved.clone();
        Box::pin(async move { Ok(resolved) })
    }
}

/// A provider's listener and certificate.
pub(crate) struct Site {
    pub(crate) listener: TcpListener,
    pub(crate) authority: Authority,
    host: String,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::of(HOST).await
    }

    /// A site whose certificate is for `host`.
    pub(crate) async fn of(host: &str) -> Self {
        let authority = Authority::ephemeral(&[host.parse().expect("a pattern")]).expect("an authority is made");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        Self { listener, authority, host: host.to_owned() }
    }

    /// Two at the same port of different addresses, each with an authority of its own.
    pub(crate) async fn pair() -> [Self; 2] {
        loop {
            let (first, mut second) = (Self::new().await, Self::new().await);
            // Another test may have the port.
            if let Ok(listener) = TcpListener::bind(("127.0.0.2", first.address().port())).await {
                second.listener = listener;
                return [first, second];
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::only([self.authority.certificate_der().clone()]).expect("one root")
    }

    fn config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut config = (*self.authority.server_config(&self.host).expect("permitted")).clone();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Accepts connections one after the other, and runs `script` on each as its own task.
    pub(crate) fn serve<F, S>(self, alpn: &[&str], script: S) -> JoinHandle<()>
    where
        S: Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(self.config(alpn));
        tokio::spawn(async move {
            let script = Arc::new(script);
            for index in 0.. {
                let Ok((stream, _)) = self.listener.accept().await else { return };
                let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        script(index, stream).await;
                    }
                });
            }
        })
    }
}

/// The code under test, between a client and a site.
pub(crate) struct Rig {
    pub(crate) http: Http,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) destination: SocketAddr,
    pub(crate) trigger: drain::Trigger,
    pub(crate) watch: drain::Watch,
    /// Who the clients run as.
    pub(crate) uid: u32,
    pub(crate) provider: Arc<Provider>,
}

impl Rig {
    pub(crate) fn new(site: &Site) -> Self {
        Self::with(site, site.address(), Limits::default(), Vec::new())
    }

    pub(crate) fn with(site: &Site, destination: SocketAddr, limits: Limits, resolved: Vec<SocketAddr>) -> Self {
        Self::trusting(&site.roots(), destination, limits, resolved)
    }

    /// One with other choices about metering.
    pub(crate) fn metering(site: &Site, metering: Metering) -> Self {
        let rig = Self::new(site);
        let upstream = Upstream::with(&site.roots(), Limits::default(), Arc::new(TestDial { resolved: Vec::new() }));
        let http = Http::with(upstream, Arc::clone(&rig.recorder) as Arc<dyn Observer>, metering);
        Self { http, ..rig }
    }

    pub(crate) fn trusting(roots: &Roots, destination: SocketAddr, limits: Limits, resolved: Vec<SocketAddr>) -> Self {
        let upstream = Upstream::with(roots, limits, Arc::new(TestDial { resolved }));
        let recorder = Arc::<Recorder>::default();
        let http = Http::new(upstream, Arc::clone(&recorder) as Arc<dyn Observer>);
        let (trigger, watch) = drain::channel();
        let provider = Arc::clone(Catalogue::builtin().find(HOST).expect("built in"));
        Self { http, recorder, destination, trigger, watch, uid: 65534, provider }
    }

    pub(crate) fn connection(&self, http2: bool) -> Connection {
        let caller = Caller {
            program: "test".into(),
            executable: None,
            user: "nobody".into(),
            uid: self.uid,
            pid: 1,
            cgroup: None,
            unit: None,
            container: None,
            pod: None,
            system_unit: None,
        };
        Connection {
            host: HOST.into(),
            destination: self.destination,
            caller: Arc::new(caller),
            provider: Arc::clone(&self.provider),
            http2,
            plain: false,
        }
    }

    /// A client's socket, and the task that serves its other end.
    pub(crate) async fn client(&self, http2: bool) -> (TcpStream, JoinHandle<Result<(), ServeError>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, (far, _)) = (near.expect("connects"), far.expect("accepts"));
        near.set_nodelay(true).expect("open");
        far.set_nodelay(true).expect("open");
        let (http, connection, watch) = (self.http.clone(), self.connection(http2), self.watch.clone());
        (near, tokio::spawn(async move { http.serve(far, connection, watch).await }))
    }

    /// The same, with TLS on the client's side too.
    pub(crate) async fn tls_client(
        &self,
        http2: bool,
    ) -> (tokio_rustls::client::TlsStream<TcpStream>, JoinHandle<Result<(), ServeError>>) {
        let authority = Authority::ephemeral(&[HOST.parse().expect("a pattern")]).expect("an authority is made");
        let roots = Roots::only([authority.certificate_der().clone()]).expect("one root");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let alpn: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let connector = TlsConnector::from(tollgate_tls::client_config(&roots, &[alpn]));
        let acceptor = TlsAcceptor::from(authority.server_config(HOST).expect("permitted"));
        let (near, far) = tokio::join!(
            connector.connect(HOST.try_into().expect("a name"), near.expect("connects")),
            acceptor.accept(far.expect("accepts").0),
        );
        let (http, connection, watch) = (self.http.clone(), self.connection(http2), self.watch.clone());
        let far = far.expect("a handshake");
        (near.expect("a handshake"), tokio::spawn(async move { http.serve(far, connection, watch).await }))
    }

    /// An HTTP/2 client that leaves details to hyper.
    pub(crate) async fn http2<B>(&self) -> hyper::client::conn::http2::SendRequest<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (stream, _) = self.client(true).await;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(1 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .expect("the proxy speaks HTTP/2");
        tokio::spawn(async move { drop(connection.await) });
        sender
    }
}

/// Reads the head of a message, byte by byte, so that nothing after it is taken.
pub(crate) async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = patiently(stream.read_u8()).await.expect("a whole head");
        head.push(byte);
    }
    String::from_utf8(head).expect("heads in these tests are text")
}

/// Reads exactly as much as is expected, and compares.
pub(crate) async fn expect(stream: &mut (impl tokio::io::AsyncRead + Unpin), expected: &str) {
    let mut got = vec![0; expected.len()];
    patiently(stream.read_exact(&mut got)).await.expect("as much as expected");
    assert_eq!(String::from_utf8_lossy(&got), expected);
}

pub(crate) async fn say(stream: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.expect("the other end listens");
    stream.flush().await.expect("the other end listens");
}

/// Waits for the other end's close, and gives what came before it.
pub(crate) async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    patiently(stream.read_to_end(&mut rest)).await.expect("an orderly close");
    rest
}

pub(crate) fn https(path: &str) -> Uri {
    format!("https://{HOST}{path}").parse().expect("a URI")
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(bytes.into())
}

pub(crate) async fn text(body: hyper::body::Incoming) -> String {
    let bytes = patiently(body.collect()).await.expect("a whole body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}
