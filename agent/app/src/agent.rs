//! Puts the parts together: what `run` and `exec` have in common.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tollgate_config::Config;
use tollgate_kernel::{Kernel, LoadError, NetnsCookie};
use tollgate_ledger::store::Ledger;
use tollgate_llm::{Catalogue, Prices};
use tollgate_policy::Engine;
use tollgate_proxy::Fingerprints;
use tollgate_proxy::accept::accept;
use tollgate_proxy::connection::{Proxy, Settings, Terminate};
use tollgate_proxy::drain::{self, Overdue};
use tollgate_proxy::http::{Http, Metering, OnDisconnect, PolicySettings};
use tollgate_proxy::peek::Limits;
use tollgate_proxy::refusals::Refusals;
use tollgate_proxy::upstream::{self, SystemDial, Upstream};
use tollgate_tls::{Authority, Roots};
use tollgate_workload::Workloads;

use crate::observe::Observers;
use crate::pods::follow_pods;
use crate::{enforce, seeds, settings};

/// How often the kernel is told that we live. It waits for `intercept.stale_after`, which is several of these.
const BEAT: Duration = Duration::from_secs(1);
/// How often new users of the machine are looked for.
const USERS: Duration = Duration::from_mins(1);

/// What an agent is made of.
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a Config,
    /// Whose connections are steered: every process in this cgroup and below.
    pub(crate) cgroup: &'a Path,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) loading: Loading,
    pub(crate) authority: Arc<Authority>,
    pub(crate) observers: Arc<Observers>,
    /// Where it is kept what budgets were charged.
    pub(crate) ledger: Option<Arc<Ledger>>,
}

/// Programs that are being loaded, by a thread of their own: the kernel verifies them for longer than all else takes to start.
pub(crate) struct Loading(JoinHandle<Result<Kernel, LoadError>>);

/// A running agent. Dropping it detaches it: connections then go where their programs want.
pub(crate) struct Agent {
    kernel: Arc<Kernel>,
    namespace: NetnsCookie,
    listening: Vec<SocketAddr>,
    refusals: Arc<Refusals>,
    engine: Arc<Engine>,
    http: Http,
    drain: drain::Trigger,
    /// The heartbeat and the like: ended with the agent, not waited for.
    upkeep: JoinSet<()>,
}

impl Agent {
    /// Listens, and attaches the programs once they are loaded. When it is done, connections are steered.
    pub(crate) async fn start(setup: Setup<'_>) -> anyhow::Result<Self> {
        let Setup { config, cgroup, catalogue, loading, authority, observers, ledger } = setup;
        let prices = prices(config)?;
        let roots = Roots::load(&config.upstream.roots).context("upstream certificates could not be verified")?;
        let listeners = tollgate_kernel::listen(config.intercept.listen_ports.ports())
            .context("nothing to steer connections to; intercept.listen_ports names the ports to try")?;
        let namespace = listeners.netns;
        let engine = enforce::engine(config, ledger.as_ref()).await;
        let kernel = Arc::new(loading.done().await?);
        observers.watch_kernel(&kernel);
        // Told before it is attached: a connection is never steered to where nobody answers.
        kernel.beat();
        kernel.serve(&listeners).context("the kernel cannot be told where we listen")?;
        let (trigger, watch) = drain::channel();
        let refusals = Arc::new(Refusals::default());
        let workloads = Arc::new(Workloads::new());
        let limits =
            upstream::Limits { connect_timeout: config.upstream.connect_timeout, ..upstream::Limits::default() };
        let upstream = Upstream::with(&roots, limits, Arc::new(SystemDial));
        let http = Http::with(upstream, Arc::<Observers>::clone(&observers), metering(config))
            .with_fingerprints(fingerprints(config)?)
            .with_policy(Arc::clone(&engine), PolicySettings { body_limit: config.policy.body_limit });
        let http = match prices {
            Some(prices) => http.with_prices(prices),
            None => http,
        };
        let proxy = Arc::new(Proxy {
            authority,
            catalogue: Arc::clone(&catalogue),
            http: http.clone(),
            observer: observers,
            refusals: Arc::clone(&refusals),
            workloads: Arc::clone(&workloads),
            settings: proxy_settings(config, &catalogue),
        });
        let mut listening = Vec::new();
        for listener in [Some(listeners.v4), listeners.v6].into_iter().flatten() {
            let listener = TcpListener::from_std(listener).context("the listener cannot be used")?;
            listening.push(listener.local_addr().context("the listener cannot be used")?);
            let flows = Arc::clone(&kernel);
            let take = move |peer| flows.take_flow(namespace, peer);
            tokio::spawn(accept(listener, Arc::clone(&proxy), Arc::new(take), watch.clone()));
        }
        drop(watch);
        let mut tasks = JoinSet::new();
        follow_pods(config, &workloads, &mut tasks).await.context("the pods of this node cannot be followed")?;
        kernel.attach(cgroup).with_context(|| format!("cannot attach to {}", cgroup.display()))?;
        let upkeep = upkeep(tasks, &kernel, catalogue, workloads);
        tracing::info!(cgroup = %cgroup.display(), ?listening, "connections to providers are steered here");
        Ok(Self { kernel, namespace, listening, refusals, engine, http, drain: trigger, upkeep })
    }

    /// Where it listens.
    pub(crate) fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Who refused our certificate.
    pub(crate) fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// Who enforces the policy.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Who serves requests.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Takes over nothing new, lets what is in flight finish within `limit`, and detaches.
    pub(crate) async fn drain(mut self, limit: Duration) -> Result<(), Overdue> {
        if let Err(error) = self.kernel.withdraw(self.namespace) {
            tracing::warn!(%error, "the kernel still steers; detaching at once");
            self.kernel.detach();
        }
        // The programs stay until the end: they tell `getpeername` the truth about connections that are still open.
        let drained = self.drain.drain(limit).await;
        self.kernel.detach();
        self.upkeep.shutdown().await;
        drained
    }
}

impl Loading {
    /// Begins it. The programs do nothing before they are attached.
    pub(crate) fn begin(config: &Config, catalogue: &Catalogue) -> Self {
        let options = options(config, catalogue);
        Self(tokio::task::spawn_blocking(move || Kernel::load(&options)))
    }

    async fn done(self) -> anyhow::Result<Kernel> {
        let loaded = self.0.await.context("the kernel programs were not loaded")?;
        loaded.context("the kernel programs cannot be loaded; `tollgate doctor` looks for the reason")
    }
}

fn options(config: &Config, catalogue: &Catalogue) -> tollgate_kernel::Options {
    tollgate_kernel::Options {
        patterns: catalogue.patterns(),
        ports: ports(config, catalogue),
        agent_cgroup: own_cgroup(),
        on_failure: match config.intercept.on_failure {
            tollgate_config::OnFailure::Open => tollgate_kernel::OnFailure::Open,
            tollgate_config::OnFailure::Closed => tollgate_kernel::OnFailure::Closed,
        },
        block_quic: config.intercept.quic == tollgate_config::Quic::Block,
        stale_after: config.intercept.stale_after,
    }
}

/// Our cgroup, if we are alone in it, as under systemd and Kubernetes. Started from a shell we share it with programs that are
/// to be metered; there our process id alone exempts us.
fn own_cgroup() -> Option<u64> {
    let directory = tollgate_kernel::cgroup::own().ok()?;
    let processes = std::fs::read_to_string(directory.join("cgroup.procs")).ok()?;
    let alone = processes.trim() == std::process::id().to_string();
    if alone { tollgate_kernel::cgroup::id(&directory).ok() } else { None }
}

/// The key is kept beside the ledger, which is where fingerprints are compared. Where it cannot be, or no ledger is kept, one that
/// lasts as long as we do must serve.
fn fingerprints(config: &Config) -> anyhow::Result<Fingerprints> {
    match config.ledger.directory.as_deref().map(Fingerprints::load_or_create) {
        Some(Ok(fingerprints)) => return Ok(fingerprints),
        Some(Err(error)) => {
            tracing::warn!(%error, "fingerprints of credentials in the ledger will not match earlier ones");
        }
        None => {}
    }
    Fingerprints::ephemeral().context("credentials cannot be told apart")
}

/// Where connections are looked at: providers speak TLS on some ports, and the user's own may do without on others.
fn ports(config: &Config, catalogue: &Catalogue) -> Vec<u16> {
    let mut ports = config.intercept.ports.clone();
    ports.extend(catalogue.http_ports());
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The operator's prices above the bundled ones; nothing where the bundled ones alone will do, which are read when all is up.
fn prices(config: &Config) -> anyhow::Result<Option<Arc<Prices>>> {
    if config.prices.files.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(settings::prices(config)?)))
}

fn proxy_settings(config: &Config, catalogue: &Catalogue) -> Settings {
    let terminate = match config.terminate {
        tollgate_config::Terminate::All => Terminate::All,
        tollgate_config::Terminate::Off => Terminate::Off,
    };
    let peek = Limits {
        timeout: config.peek.timeout,
        bytes: config.peek.limit,
        connect_timeout: config.upstream.connect_timeout,
        ..Limits::default()
    };
    Settings { terminate, ports: ports(config, catalogue), peek }
}

fn metering(config: &Config) -> Metering {
    let metering = &config.metering;
    let on_disconnect = match metering.on_disconnect {
        tollgate_config::OnDisconnect::Cancel => OnDisconnect::Cancel,
        tollgate_config::OnDisconnect::Drain => {
            OnDisconnect::Drain { timeout: metering.drain_timeout, limit: metering.drain_limit as u64 }
        }
    };
    Metering { include_usage: metering.include_usage == tollgate_config::IncludeUsage::Auto, on_disconnect }
}

fn upkeep(
    mut tasks: JoinSet<()>,
    kernel: &Arc<Kernel>,
    catalogue: Arc<Catalogue>,
    workloads: Arc<Workloads>,
) -> JoinSet<()> {
    let beating = Arc::clone(kernel);
    // On the runtime that serves connections: when that hangs, the heart must stop.
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(BEAT);
        loop {
            interval.tick().await;
            beating.beat();
        }
    });
    // Read once, before a call has to wait for it.
    tasks.spawn_blocking(tollgate_llm::load_prices);
    tasks.spawn(seeds::keep_seeding(Arc::clone(kernel), catalogue));
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(USERS);
        loop {
            interval.tick().await;
            let workloads = Arc::clone(&workloads);
            // It reads a file. Its end is of no interest: it cannot fail, only keep the old table.
            drop(tokio::task::spawn_blocking(move || workloads.reload_users()).await);
        }
    });
    tasks
}
