//! The watch against a small API server that answers as a real one does (kubernetes.io/docs/reference/using-api/api-concepts).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tollgate_kubernetes::{PodIndex, Server, Settings, follow};
use tollgate_workload::Pods as _;

const FIRST: &str = "11111111-1111-4111-8111-111111111111";
const SECOND: &str = "22222222-2222-4222-8222-222222222222";

fn pod(uid: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "research", "uid": uid, "resourceVersion": "7", "labels": labels},
        "spec": {"nodeName": "node-1", "serviceAccountName": "trainer", "containers": [{"name": "main", "image": "x"}]},
        "status": {"phase": "Running"}
    })
}

/// An API server whose list and events the test decides.
struct ApiServer {
    address: SocketAddr,
    events: watch::Sender<Vec<Value>>,
    queries: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Serves these pods. Each watch gets the events that there are and that come.
    async fn start(at: Option<SocketAddr>, items: Vec<Value>) -> Self {
        Self::start_with(at, items, None).await
    }

    async fn start_with(at: Option<SocketAddr>, items: Vec<Value>, tls: Option<TlsAcceptor>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(at.unwrap_or(any)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, told) = watch::channel(Vec::new());
        let (asked, queries) = mpsc::unbounded_channel();
        let list = json!({
            "apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "10"}, "items": items
        });
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (list, told, asked) = (list.clone(), told.clone(), asked.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let query = request.uri().query().unwrap_or_default().to_owned();
                    let is_pods = request.uri().path() == "/api/v1/pods";
                    let answer = if !is_pods {
                        Response::builder().status(StatusCode::NOT_FOUND).body(Full::default().boxed()).unwrap()
                    } else if query.contains("watch=true") {
                        Response::new(stream_of(told.clone()))
                    } else {
                        Response::new(Full::from(list.to_string()).boxed())
                    };
                    asked.send(query).ok();
                    async move { Ok::<_, Infallible>(answer) }
                });
                let tls = tls.clone();
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no failure of the server.
                    match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await.ok(),
                        Some(tls) => {
                            let stream = tls.accept(stream).await.unwrap();
                            http.serve_connection(TokioIo::new(stream), service).await.ok()
                        }
                    }
                });
            }
        });
        Self { address, events, queries, task }
    }

    fn tell(&self, kind: &str, object: &Value) {
        self.events.send_modify(|events| events.push(json!({"type": kind, "object": object})));
    }

    /// Is gone, connections and all.
    async fn stop(self) -> SocketAddr {
        self.task.abort();
        self.task.await.ok();
        self.address
    }
}

fn stream_of(mut told: watch::Receiver<Vec<Value>>) -> BoxBody<Bytes, Infallible> {
    let (sender, mut lines) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        let mut sent = 0;
        loop {
            let new: Vec<Value> = told.borrow_and_update()[sent..].to_vec();
            for event in new {
                sent += 1;
                if sender.send(Bytes::from(format!("{event}\n"))).await.is_err() {
                    return;
                }
            }
            if told.changed().await.is_err() {
                return;
            }
        }
    });
    let frames = futures_util::stream::poll_fn(move |context| {
        lines.poll_recv(context).map(|line| line.map(|line| Ok::<_, Infallible>(Frame::data(line))))
    });
    StreamBody::new(frames).boxed()
}

/// An index that follows a server, until it is dropped.
struct Following {
    index: Arc<PodIndex>,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Following {
    fn begin(address: SocketAddr) -> Self {
        Self::begin_with(&json!({"server": format!("http://{address}")}))
    }

    fn begin_with(cluster: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        });
        std::fs::write(&path, config.to_string()).unwrap();
        let index = Arc::new(PodIndex::default());
        let settings = Settings { server: Server::File(path), node: "node-1".into() };
        let following = follow(settings, Arc::clone(&index));
        let task = tokio::spawn(async move { following.await.unwrap() });
        Self { index, task, _folder: folder }
    }

    /// Waits until something is so. It is the test's own limit that ends it if it never is.
    async fn until(&self, holds: impl Fn(&PodIndex) -> bool) {
        while !holds(&self.index) {
            assert!(!self.task.is_finished(), "it goes on for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn label(index: &PodIndex, uid: &str, key: &str) -> Option<String> {
    let pod = index.pod(uid)?;
    pod.labels.iter().find(|(known, _)| known.as_ref() == key).map(|(_, value)| value.to_string())
}

#[tokio::test]
async fn pods_of_this_node_are_known_as_they_come_change_and_go() {
    let mut server = ApiServer::start(None, vec![pod(FIRST, "train-0", &json!({"app": "train"}))]).await;
    let following = Following::begin(server.address);
    following.until(|index| index.figures().is_complete).await;
    let known = following.index.pod(FIRST).unwrap();
    assert_eq!(
        (known.name.as_deref(), known.namespace.as_deref(), known.service_account.as_deref()),
        (Some("train-0"), Some("research"), Some("trainer"))
    );
    let query = server.queries.recv().await.unwrap();
    assert!(query.contains("fieldSelector=spec.nodeName%3Dnode-1"), "other nodes' pods are not asked for: {query}");

    server.tell("ADDED", &pod(SECOND, "train-1", &json!({})));
    following.until(|index| index.pod(SECOND).is_some()).await;
    server.tell("MODIFIED", &pod(FIRST, "train-0", &json!({"app": "serve"})));
    following.until(|index| label(index, FIRST, "app").as_deref() == Some("serve")).await;
    server.tell("DELETED", &pod(SECOND, "train-1", &json!({})));
    following.until(|index| index.pod(SECOND).is_none()).await;
}

#[tokio::test]
async fn what_was_known_stays_while_the_api_server_is_away_and_is_renewed_when_it_is_back() {
    let server = ApiServer::start(None, vec![pod(FIRST, "train-0", &json!({}))]).await;
    let following = Following::begin(server.address);
    following.until(|index| index.pod(FIRST).is_some()).await;
    let address = server.stop().await;
    following.until(|index| index.figures().trouble.is_some()).await;
    assert!(following.index.pod(FIRST).is_some());
    assert!(following.index.figures().failures > 0);

    // Its watch of before means nothing to the new one, which says so, and all is listed again.
    let server = ApiServer::start(Some(address), vec![pod(SECOND, "train-1", &json!({}))]).await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"});
    server.tell("ERROR", &gone);
    following.until(|index| index.pod(SECOND).is_some() && index.pod(FIRST).is_none()).await;
}

#[tokio::test]
async fn a_pod_that_the_kubelet_read_from_a_file_is_found_by_the_id_in_its_control_group() {
    let hash = "0123456789abcdef0123456789abcdef";
    let mut mirror = pod(FIRST, "kube-proxy-node-1", &json!({}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": hash});
    let server = ApiServer::start(None, vec![mirror]).await;
    let following = Following::begin(server.address);
    following.until(|index| index.pod(hash).is_some()).await;
    assert_eq!(following.index.pod(hash).unwrap().name.as_deref(), Some("kube-proxy-node-1"));
}

#[tokio::test]
async fn no_pod_takes_anothers_place_by_an_annotation() {
    let mut forger = pod(SECOND, "forger-0", &json!({}));
    forger["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": FIRST});
    let server = ApiServer::start(None, vec![pod(FIRST, "train-0", &json!({})), forger]).await;
    let following = Following::begin(server.address);
    following.until(|index| index.pod(SECOND).is_some()).await;
    assert_eq!(following.index.pod(FIRST).unwrap().name.as_deref(), Some("train-0"));
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named() {
    let settings = Settings { server: Server::File("/nowhere/kubeconfig".into()), node: "node-1".into() };
    let error = follow(settings, Arc::default()).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/kubeconfig"), "{error}");
}

#[tokio::test]
async fn the_api_servers_certificate_is_verified_with_the_clusters_authority() {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = ApiServer::start_with(None, vec![pod(FIRST, "train-0", &json!({}))], Some(acceptor)).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, signed.cert.pem()).unwrap();
    let url = format!("https://{}", server.address);
    let following = Following::begin_with(&json!({"server": url, "certificate-authority": authority}));
    following.until(|index| index.pod(FIRST).is_some()).await;
}
