//! The admin listener, on a thread and runtime of its own: a slow scrape cannot touch a request. And its client, for
//! `doctor`.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tollgate_admin::{AuditState, BudgetSummary, Health, LedgerState, Metrics, Pages, Refused, State, Status};
use tollgate_audit::Audit;
use tollgate_config::{Config, Terminate};
use tollgate_ledger::store::Ledger;
use tollgate_policy::{Amount, BudgetState, Engine};
use tollgate_proxy::refusals::Refusals;

use crate::agent::Agent;
use crate::policy;
use crate::reload::Standing;

/// How long `doctor` waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the admin address of an agent that is being replaced is tried.
const TAKE_OVER: Duration = Duration::from_millis(500);
/// The largest status that `doctor` reads, in bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// Groups of budgets that the metrics show, the fullest first.
const SERIES: usize = 100;
/// Groups of budgets that the status shows.
const FULLEST: usize = 10;

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
    engine: Arc<Engine>,
}

/// Binds and serves. Until [`Control::show`], the status tells of no agent.
pub(crate) fn start(
    config: &Config,
    metrics: &Arc<Metrics>,
    health: &Health,
    ledger: Option<&Arc<Ledger>>,
    audit: Option<&Arc<Audit>>,
    standing: &Arc<Standing>,
) -> anyhow::Result<Control> {
    let figures = Arc::clone(standing);
    metrics.watch_config(move || figures.figures());
    if let Some(ledger) = ledger {
        let ledger = Arc::downgrade(ledger);
        metrics.watch_ledger(move || ledger.upgrade().map(|ledger| ledger.figures()).unwrap_or_default());
    }
    if let Some(audit) = audit {
        let audit = Arc::downgrade(audit);
        metrics.watch_audit(move || audit.upgrade().map(|audit| audit.figures()).unwrap_or_default());
    }
    let shown: Arc<OnceLock<Shown>> = Arc::new(OnceLock::new());
    let (spending, waiting, asked) = (Arc::clone(&shown), Arc::clone(&shown), Arc::clone(&shown));
    metrics.watch_waiting(move || waiting.get().map(|shown| shown.engine.waiting()).unwrap_or_default());
    metrics.watch_condition_errors(move || {
        asked.get().map(|shown| shown.engine.policy().condition_errors()).unwrap_or_default()
    });
    metrics.watch_budgets(move || {
        spending.get().map(|shown| shown.engine.budgets(SERIES, Timestamp::now())).unwrap_or_default()
    });
    let Some(address) = config.admin.listen else { return Ok(Control { address: None, shown, serving: None }) };
    let listener = match std::net::TcpListener::bind(address) {
        Ok(listener) => {
            listener.set_nonblocking(true)?;
            Some(listener)
        }
        // Another agent's, during an upgrade; or a squatter's, who must not keep the node unmetered.
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            tracing::warn!(%address, "admin.listen is in use; the admin pages are served there once it is free");
            None
        }
        Err(error) => {
            return Err(error).with_context(|| {
                format!("admin.listen: cannot listen on {address}; free it, name another address, or write `off`")
            });
        }
    };
    let terminate = config.terminate;
    let telling = Arc::clone(&shown);
    let ledger = ledger.map(Arc::downgrade);
    let audit = audit.map(Arc::downgrade);
    let (standing, budgets) = (Arc::clone(standing), Arc::clone(&shown));
    let state = move || {
        let ledger = ledger.as_ref().and_then(Weak::upgrade);
        let audit = audit.as_ref().and_then(Weak::upgrade);
        State {
            config: Some(standing.state()),
            audit: audit.as_deref().map(audit_state),
            ..state(terminate, telling.get(), ledger.as_deref())
        }
    };
    let pages = Pages::new(Arc::clone(metrics), health.clone(), state);
    let about = "what is spent of each budget, the fullest first, as JSON";
    let pages = Arc::new(pages.with_page(policy::PAGE, about, move || {
        budgets.get().map(|shown: &Shown| policy::page(&shown.engine)).unwrap_or_default()
    }));
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || serve(listener, address, pages, stopped))
        .context("the admin thread cannot be started")?;
    Ok(Control { address: Some(address), shown, serving: Some((stop, thread)) })
}

fn serve(
    listener: Option<std::net::TcpListener>,
    address: SocketAddr,
    pages: Arc<Pages>,
    mut stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the admin pages cannot be served"),
    };
    runtime.block_on(async {
        let listener = if let Some(listener) = listener {
            TcpListener::from_std(listener)
        } else {
            tokio::select! {
                listener = take_over(address) => Ok(listener),
                _ = &mut stopped => return,
            }
        };
        match listener {
            // Told to stop, or nobody is left to tell: the same.
            Ok(listener) => tollgate_admin::serve(listener, pages, async { drop(stopped.await) }).await,
            Err(error) => tracing::error!(%error, "the admin pages cannot be served"),
        }
    });
}

/// Waits until the address is free, and listens there.
async fn take_over(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            tracing::info!(%address, "the admin pages are served here now");
            return listener;
        }
        tokio::time::sleep(TAKE_OVER).await;
    }
}

fn state(terminate: Terminate, shown: Option<&Shown>, ledger: Option<&Ledger>) -> State {
    let terminate = match terminate {
        Terminate::All => "all",
        Terminate::Off => "off",
    };
    let refusals = shown.map(|shown| shown.refusals.list()).unwrap_or_default();
    let refusals = refusals.into_iter().map(|refused| Refused {
        remedy: tollgate_tls::trust::remedy(&refused.program).to_string(),
        program: refused.program.to_string(),
        user: refused.user.to_string(),
        host: refused.host.to_string(),
        reason: refused.reason.to_owned(),
        times: refused.times,
        remaining_seconds: refused.remaining.as_secs(),
    });
    State {
        terminate: terminate.to_owned(),
        listeners: shown.map(|shown| shown.listeners.clone()).unwrap_or_default(),
        refusals: refusals.collect(),
        ledger: ledger.map(ledger_state),
        budgets: shown.map(|shown| budgets(&shown.engine)).unwrap_or_default(),
        ..State::default()
    }
}

fn ledger_state(ledger: &Ledger) -> LedgerState {
    let figures = ledger.figures();
    LedgerState {
        file: ledger.file().display().to_string(),
        trouble: figures.trouble.map(|trouble| trouble.what),
        waiting: figures.queued,
        lost: figures.lost,
    }
}

fn audit_state(audit: &Audit) -> AuditState {
    let figures = audit.figures();
    let (line, hash) = figures.last.unzip();
    AuditState {
        directory: audit.directory().display().to_string(),
        trouble: figures.trouble.map(|trouble| trouble.what),
        waiting: figures.queued,
        dropped: figures.dropped,
        line,
        hash,
    }
}

/// Those that are fullest.
fn budgets(engine: &Engine) -> Vec<BudgetSummary> {
    let summary = |state: BudgetState| {
        let (unit, limit) = match state.limit {
            Amount::Money(dollars) => ("usd", dollars.normalize().to_string()),
            Amount::Tokens(tokens, _) => ("tokens", tokens.to_string()),
        };
        BudgetSummary {
            budget: state.name.to_string(),
            group: state.group.to_string(),
            unit: unit.into(),
            limit,
            spent: state.spent.normalize().to_string(),
            reserved: state.reserved.normalize().to_string(),
            resets: state.resets.to_string(),
        }
    };
    engine.budgets(FULLEST, Timestamp::now()).into_iter().map(summary).collect()
}

impl Control {
    /// Where it listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// From now on the status tells of this agent.
    pub(crate) fn show(&self, agent: &Agent) {
        let listeners = agent.listening().iter().map(ToString::to_string).collect();
        let shown = Shown { listeners, refusals: Arc::clone(agent.refusals()), engine: Arc::clone(agent.engine()) };
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

/// Asks the agent that runs with this configuration. Blocks, for some seconds at most.
pub(crate) fn ask(config: &Config) -> Asked {
    let Some(address) = config.admin.listen else { return Asked::Off };
    let answer = ask_blocking(address, "/status").and_then(|body| Ok(serde_json::from_slice(&body)?));
    let error = match answer {
        Ok(status) => return Asked::Running(Box::new(status)),
        Err(error) => error,
    };
    match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => Asked::Absent,
        _ => Asked::Broken(format!("{address} does not answer like an agent: {error:#}")),
    }
}

/// A page of JSON of the agent that runs with this configuration, if one does and has it. Blocks, for some seconds at most.
pub(crate) fn ask_page(config: &Config, path: &'static str) -> Option<serde_json::Value> {
    let body = ask_blocking(config.admin.listen?, path).ok()?;
    // An agent that is about to start has nothing to tell yet.
    serde_json::from_slice(&body).ok().filter(|page: &serde_json::Value| !page.is_null())
}

/// On a thread of its own, because the caller's may belong to a runtime already.
fn ask_blocking(address: SocketAddr, path: &'static str) -> anyhow::Result<Bytes> {
    let asking = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, get(address, path))
                .await
                .with_context(|| format!("no answer within {PATIENCE:?}"))?
        })
    };
    match std::thread::scope(|scope| scope.spawn(asking).join()) {
        Ok(answer) => answer,
        Err(_panic) => anyhow::bail!("asking it failed"),
    }
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its errors are the request's too.
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    anyhow::ensure!(response.status().is_success(), "status {}", response.status());
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
    connection.abort();
    Ok(body.to_bytes())
}
