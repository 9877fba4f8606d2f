use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::status::{State, Status};

/// Connections served at once. Others wait in the listener's queue.
const CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request, the first and each next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may last. Whoever scrapes connects again; whoever does not read is let go.
const LIFETIME: Duration = Duration::from_mins(5);
/// How long connections may take to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest head of a request.
const HEAD_LIMIT: usize = 16 * 1024;
/// How long to wait when no connection can be accepted, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served.
pub struct Pages {
    metrics: Arc<Metrics>,
    health: Health,
    state: Box<dyn Fn() -> State + Send + Sync>,
    more: Vec<Page>,
    /// One scrape is written at a time, so that many scrapers cannot take the memory of many pages.
    scrape: Semaphore,
}

/// One more page, of JSON.
struct Page {
    path: &'static str,
    about: &'static str,
    tell: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl Pages {
    /// `state` is called for each `/status`, so it must not block.
    pub fn new(metrics: Arc<Metrics>, health: Health, state: impl Fn() -> State + Send + Sync + 'static) -> Self {
        Self { metrics, health, state: Box::new(state), more: Vec::new(), scrape: Semaphore::new(1) }
    }

    /// With one more page, of JSON. `tell` is called for each request of it, so it must not block.
    #[must_use]
    pub fn with_page(
        mut self,
        path: &'static str,
        about: &'static str,
        tell: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.more.push(Page { path, about, tell: Box::new(tell) });
        self
    }

    /// The list of pages.
    fn index(&self) -> String {
        self.more.iter().fold(INDEX.to_owned(), |index, page| format!("{index}{}  {}\n", page.path, page.about))
    }

    /// What `/status` tells now.
    pub fn status(&self) -> Status {
        let pending: Vec<String> = self.health.pending().into_iter().map(str::to_owned).collect();
        Status {
            version: self.metrics.version().into(),
            pid: std::process::id(),
            uptime_seconds: self.metrics.started().elapsed().unwrap_or_default().as_secs(),
            ready: pending.is_empty(),
            pending,
            state: (self.state)(),
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let more = self.more.iter().find(|page| page.path == path);
        if more.is_none() && !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz" | "/status") {
            return text(StatusCode::NOT_FOUND, format!("there is no such page; the pages are:\n{}", self.index()));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "pages can only be read, with GET\n");
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        if let Some(more) = more {
            let written = serde_json::to_vec_pretty(&(more.tell)()).expect("JSON can be written");
            return page(StatusCode::OK, "application/json", written);
        }
        match path {
            "/metrics" => self.metrics().await,
            // To answer at all is the proof of life.
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/status" => {
                let status = serde_json::to_vec_pretty(&self.status()).expect("plain fields can be written");
                page(StatusCode::OK, "application/json", status)
            }
            _ => text(StatusCode::OK, self.index()),
        }
    }

    async fn metrics(self: Arc<Self>) -> Response<Full<Bytes>> {
        let _turn = self.scrape.acquire().await.expect("the semaphore is never closed");
        let metrics = Arc::clone(&self.metrics);
        match tokio::task::spawn_blocking(move || metrics.encode()).await {
            Ok(written) => page(StatusCode::OK, OPEN_METRICS, written),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; see the agent's log\n")
            }
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let pending = self.health.pending();
        if pending.is_empty() {
            return text(StatusCode::OK, "ready\n");
        }
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready; pending: {}\n", pending.join(", ")))
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

/// Serves until `stop` is done, then ends the connections, those in the middle of an answer after it.
///
/// There is no password and no encryption: whoever can connect may read.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (stopping, watch) = watch::channel(());
    // Dropping it, as when this future is dropped, ends all of them.
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = async {
                let place = place.await.expect("the semaphore is never closed");
                listener.accept().await.map(|(stream, _)| (stream, place))
            } => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = connection(stream, Arc::clone(&pages), watch.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin server cannot accept connections");
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop((listener, watch));
    // Those who stay longer are cut off with the set.
    if stopping.send(()).is_ok()
        && tokio::time::timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await.is_err()
    {
        tracing::debug!("admin connections were cut off");
    }
}

async fn connection(stream: TcpStream, pages: Arc<Pages>, mut stop: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let lifetime = tokio::time::sleep(LIFETIME);
    tokio::select! {
        ended = served.as_mut() => return log(ended),
        _ = stop.changed() => {}
        () = lifetime => {}
    }
    served.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(STOP_TIMEOUT, served).await {
        log(ended);
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Full::new(body.into()))
        .expect("the parts are valid")
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "\
/metrics  what was used, as OpenMetrics
/healthz  whether the agent lives
/readyz   whether it does its work, and what is pending if not
/status   what it does, as JSON
";

#[cfg(test)]
mod tests;
