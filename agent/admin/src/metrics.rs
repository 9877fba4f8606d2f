//! The agent's metrics, in the OpenMetrics text format (1.0).
//!
//! For calls the names, units and buckets are those of OpenTelemetry's conventions for generative AI, as Prometheus writes
//! them. All else begins with the agent's own prefix. Recording takes a short lock on one series and never waits for a
//! scrape: a scrape copies the list of series and lets go before it writes.

mod audit;
mod calls;
mod config;
mod connections;
mod ledger;
mod policy;
mod process;
mod steps;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;
use tollgate_ledger::Record;
use tollgate_ledger::store::Figures;
use tollgate_policy::{BudgetState, Notice};

use self::audit::Audit;
use self::calls::Calls;
use self::config::Config;
pub use self::config::ConfigFigures;
use self::connections::Connections;
use self::ledger::Ledger;
use self::policy::Policy;
use self::process::Process;
pub use self::steps::Step;
use self::steps::Steps;

/// Everything that is counted. Share it in an `Arc`.
pub struct Metrics {
    audit: Arc<Audit>,
    calls: Arc<Calls>,
    config: Arc<Config>,
    connections: Arc<Connections>,
    ledger: Arc<Ledger>,
    policy: Arc<Policy>,
    process: Arc<Process>,
    steps: Arc<Steps>,
    registry: Registry,
}

impl Metrics {
    /// `prefix` begins the names that OpenTelemetry does not give; `version` is shown as the build's.
    pub fn new(prefix: &str, version: &'static str) -> Self {
        let audit = Arc::new(Audit::new(prefix));
        let calls = Arc::new(Calls::new(prefix));
        let config = Arc::new(Config::new(prefix));
        let connections = Arc::new(Connections::new(prefix));
        let ledger = Arc::new(Ledger::new(prefix));
        let policy = Arc::new(Policy::new(prefix));
        let process = Arc::new(Process::new(prefix, version));
        let steps = Arc::new(Steps::new(prefix));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&audit)));
        registry.register_collector(Box::new(Arc::clone(&calls)));
        registry.register_collector(Box::new(Arc::clone(&config)));
        registry.register_collector(Box::new(Arc::clone(&connections)));
        registry.register_collector(Box::new(Arc::clone(&ledger)));
        registry.register_collector(Box::new(Arc::clone(&policy)));
        registry.register_collector(Box::new(Arc::clone(&process)));
        registry.register_collector(Box::new(Arc::clone(&steps)));
        Self { audit, calls, config, connections, ledger, policy, process, steps, registry }
    }

    /// Counts a settled exchange.
    pub fn record(&self, record: &Record) {
        self.calls.record(record);
    }

    /// Counts a redirected connection by what became of it and why; `reason` may be empty.
    pub fn connection(&self, fate: &'static str, reason: &'static str) {
        self.connections.fate(fate, reason);
    }

    /// Counts the bytes of a connection that was passed through: from the client, and to it.
    pub fn tunnel(&self, sent: u64, received: u64) {
        self.connections.tunnel(sent, received);
    }

    /// Counts a connection that came to a listener without having been redirected.
    pub fn stray(&self) {
        self.connections.stray();
    }

    /// Counts something that happened between us and a provider, such as `connected_http2`.
    pub fn upstream(&self, event: &'static str) {
        self.connections.upstream(event);
    }

    /// Tells how long a step took.
    pub fn took(&self, step: Step, time: Duration) {
        self.steps.took(step, time);
    }

    /// Counts an exchange that was lost without a record, which is a defect.
    pub fn leaked(&self) {
        self.connections.leaked();
    }

    /// Has the kernel side's counters, by reason, read at each scrape.
    pub fn watch_kernel(&self, counters: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static) {
        self.process.watch_kernel(Box::new(counters));
    }

    /// Has which configuration is in force read at each scrape.
    pub fn watch_config(&self, figures: impl Fn() -> ConfigFigures + Send + Sync + 'static) {
        self.config.watch(Box::new(figures));
    }

    /// Counts what the policy decided.
    pub fn policy(&self, notice: &Notice) {
        self.policy.count(notice);
    }

    /// Has how it stands with budgets read at each scrape. Of many groups, it should be the few that have used the most.
    pub fn watch_budgets(&self, budgets: impl Fn() -> Vec<BudgetState> + Send + Sync + 'static) {
        self.policy.watch(Box::new(budgets));
    }

    /// Has the number of calls that wait for room in a limit read at each scrape.
    pub fn watch_waiting(&self, waiting: impl Fn() -> u64 + Send + Sync + 'static) {
        self.policy.watch_waiting(Box::new(waiting));
    }

    /// Has it read at each scrape how often a condition could not be told, since the policy in force is.
    pub fn watch_condition_errors(&self, errors: impl Fn() -> u64 + Send + Sync + 'static) {
        self.policy.watch_condition_errors(Box::new(errors));
    }

    /// Has how the audit is read at each scrape.
    pub fn watch_audit(&self, figures: impl Fn() -> tollgate_audit::Figures + Send + Sync + 'static) {
        self.audit.watch(Box::new(figures));
    }

    /// Has how the ledger is read at each scrape.
    pub fn watch_ledger(&self, figures: impl Fn() -> Figures + Send + Sync + 'static) {
        self.ledger.watch(Box::new(figures));
    }

    /// When counting began, which stands for the start of the process.
    pub(crate) fn started(&self) -> SystemTime {
        self.process.started()
    }

    /// The version that is shown.
    pub(crate) fn version(&self) -> &'static str {
        self.process.version()
    }

    /// All metrics as text. Takes milliseconds when there are many series, so call it where no
    /// request is served.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
