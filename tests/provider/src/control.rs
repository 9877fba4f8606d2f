//! The control interface: plain HTTP/1 on a listener of its own, for steering a provider in another process.
//!
//! | request | does |
//! |---|---|
//! | `GET /truth` | the exchanges as JSON; `?settled` waits until none is open |
//! | `GET /sums`, `GET /handshakes` | totals; TLS handshakes |
//! | `DELETE /truth` | forgets what has ended |
//! | `POST /faults?requests=N` | the next N requests (default 1) get the faults in the body |
//! | `POST /gate/NAME?allow=N` | lets N events through (default 1); `?open` lets all through |
//! | `GET /root.pem` | the certificate to trust |

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fault::Faults;
use crate::provider::Shared;

/// Longer than any list of faults.
const BODY_LIMIT: usize = 64 * 1024;

pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
                    // A broken control connection concerns the one who broke it.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let number = |name: &str| {
        let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        value.map_or(Ok(1), |(_, value)| value.parse::<u32>())
    };
    let flag = |name: &str| query.split('&').any(|pair| pair == name);
    let bad = |message: String| plain(StatusCode::BAD_REQUEST, message);
    Ok(match (&head.method, head.uri.path()) {
        (&Method::GET, "/truth") => {
            if flag("settled") {
                shared.truth.settled().await;
            }
            json(&shared.truth.exchanges())
        }
        (&Method::GET, "/sums") => json(&shared.truth.sums()),
        (&Method::GET, "/handshakes") => json(&shared.truth.handshakes()),
        (&Method::DELETE, "/truth") => {
            shared.truth.clear();
            plain(StatusCode::OK, "forgotten\n".to_owned())
        }
        (&Method::POST, "/faults") => {
            let body = Limited::new(body, BODY_LIMIT).collect().await.map(http_body_util::Collected::to_bytes);
            let text = body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
            match (text.parse::<Faults>(), number("requests")) {
                (Ok(faults), Ok(requests)) => {
                    shared.inject(faults, requests);
                    plain(StatusCode::OK, "injected\n".to_owned())
                }
                (Err(error), _) => bad(format!("{error}\n")),
                (_, Err(error)) => bad(format!("requests: {error}\n")),
            }
        }
        (&Method::POST, path) if path.starts_with("/gate/") => {
            let gate = shared.gates.named(path.trim_start_matches("/gate/"));
            match number("allow") {
                _ if flag("open") => gate.open(),
                Ok(events) => gate.allow(events as usize),
                Err(error) => return Ok(bad(format!("allow: {error}\n"))),
            }
            plain(StatusCode::OK, "done\n".to_owned())
        }
        (&Method::GET, "/root.pem") => plain(StatusCode::OK, shared.root_pem.clone()),
        (&Method::GET, "/healthz") => plain(StatusCode::OK, "ok\n".to_owned()),
        _ => plain(StatusCode::NOT_FOUND, "see the module documentation of `control`\n".to_owned()),
    })
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("the record has only string keys");
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
