//! The admin listener, on a thread and runtime of its own: a slow scrape cannot touch a request. And its client, for
//! `doctor`.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tollgate_admin::{Health, Metrics, Pages, Refused, State, Status};
use tollgate_config::{Config, Terminate};
use tollgate_proxy::refusals::Refusals;

use crate::agent::Agent;

/// How long `doctor` waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest status that `doctor` reads, in bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// The running listener.
pub(crate) struct Control {
    address: Option<SocketAddr>,
    shown: Arc<OnceLock<Shown>>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What there is to tell of the agent once it runs.
struct Shown {
    listeners: Vec<String>,
    refusals: Arc<Refusals>,
}

/// Binds and serves. Until [`Control::show`], the status tells of no agent.
pub(crate) fn start(config: &Config, metrics: &Arc<Metrics>, health: &Health) -> anyhow::Result<Control> {
    let shown = Arc::new(OnceLock::new());
    let Some(address) = config.admin.listen else { return Ok(Control { address: None, shown, serving: None }) };
    let listener = std::net::TcpListener::bind(address).with_context(|| {
        format!("admin.listen: cannot listen on {address}; free it, name another address, or write `off`")
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let terminate = config.terminate;
    let telling = Arc::clone(&shown);
    let pages = Arc::new(Pages::new(Arc::clone(metrics), health.clone(), move || state(terminate, telling.get())));
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || serve(listener, pages, stopped))
        .context("the admin thread cannot be started")?;
    Ok(Control { address: Some(address), shown, serving: Some((stop, thread)) })
}

fn serve(listener: std::net::TcpListener, pages: Arc<Pages>, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the admin pages cannot be served"),
    };
    runtime.block_on(async {
        match TcpListener::from_std(listener) {
            // Told to stop, or nobody is left to tell: the same.
            Ok(listener) => tollgate_admin::serve(listener, pages, async { drop(stopped.await) }).await,
            Err(error) => tracing::error!(%error, "the admin pages cannot be served"),
        }
    });
}

fn state(terminate: Terminate, shown: Option<&Shown>) -> State {
    let terminate = match terminate {
        Terminate::All => "all",
        Terminate::Off => "off",
    };
    let refusals = shown.map(|shown| shown.refusals.list()).unwrap_or_default();
    let refusals = refusals.into_iter().map(|refused| Refused {
        remedy: tollgate_tls::trust::remedy(&refused.program).to_string(),
        program: refused.program.to_string(),
        host: refused.host.to_string(),
        reason: refused.reason.to_owned(),
        times: refused.times,
        remaining_seconds: refused.remaining.as_secs(),
    });
    State {
        terminate: terminate.to_owned(),
        listeners: shown.map(|shown| shown.listeners.clone()).unwrap_or_default(),
        refusals: refusals.collect(),
    }
}

impl Control {
    /// Where it listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// From now on the status tells of this agent.
    pub(crate) fn show(&self, agent: &Agent) {
        let listeners = agent.listening().iter().map(ToString::to_string).collect();
        let shown = Shown { listeners, refusals: Arc::clone(agent.refusals()) };
        assert!(self.shown.set(shown).is_ok(), "one agent is shown, once");
    }

    /// Ends it. Scrapes in flight are finished.
    pub(crate) fn stop(self) {
        if let Some((stop, thread)) = self.serving {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the admin thread had failed");
            }
        }
    }
}

/// What became of asking a running agent for its status.
pub(crate) enum Asked {
    /// The configuration has no admin address.
    Off,
    /// Nobody listens there.
    Absent,
    /// Somebody does, and does not answer as an agent would.
    Broken(String),
    /// The answer.
    Running(Box<Status>),
}

/// Asks the agent that runs with this configuration.
pub(crate) fn ask(config: &Config) -> Asked {
    let Some(address) = config.admin.listen else { return Asked::Off };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Asked::Broken(error.to_string()),
    };
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, status(address)).await });
    match asked {
        Ok(Ok(status)) => Asked::Running(Box::new(status)),
        Ok(Err(error)) => match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => Asked::Absent,
            _ => Asked::Broken(format!("{address} does not answer like an agent: {error:#}")),
        },
        Err(_elapsed) => Asked::Broken(format!("{address} did not answer within {PATIENCE:?}")),
    }
}

async fn status(address: SocketAddr) -> anyhow::Result<Status> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its errors are the request's too.
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("/status").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    anyhow::ensure!(response.status().is_success(), "status {}", response.status());
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
    connection.abort();
    Ok(serde_json::from_slice(&body.to_bytes())?)
}
