//! The engine that enforces the policy, with what was spent before this start.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tollgate_config::Config;
use tollgate_ledger::store::Ledger;
use tollgate_policy::{Charge, Engine, Policy, Spec};

/// How long the ledger may take to tell what was spent. Mostly milliseconds; a slow disk must not keep a node from being served.
const PATIENCE: Duration = Duration::from_secs(10);

/// An engine with this configuration's policy. It knows what the ledger's agents spent in the windows that have begun.
pub(crate) async fn engine(config: &Config, ledger: Option<&Arc<Ledger>>) -> Arc<Engine> {
    let spec = Arc::clone(&config.policy.spec);
    let engine = Arc::new(Engine::new(Policy::new(Spec::clone(&spec))));
    if spec.budgets.is_empty() {
        return engine;
    }
    if ledger.is_none() {
        tracing::warn!("ledger.directory is off, so budgets begin anew with each start");
    }
    let ledger = ledger.map(Arc::clone);
    // It can only fail as a whole, by a panic, which was told then.
    let past = tokio::task::spawn_blocking(move || spent(ledger.as_deref(), &spec)).await.unwrap_or_default();
    engine.restore(past);
    engine
}

/// When the oldest of the windows began that budgets are in. What is older may be much: a sum for each hour and group of a month.
pub(crate) fn since(spec: &Spec) -> SystemTime {
    let now = Timestamp::now();
    spec.budgets.iter().map(|budget| budget.window.began(now)).min().unwrap_or(now).into()
}

/// What these budgets were charged lately. Blocks.
pub(crate) fn spent(ledger: Option<&Ledger>, spec: &Spec) -> Vec<Charge> {
    let Some(ledger) = ledger else { return Vec::new() };
    ledger.spent(since(spec), PATIENCE).unwrap_or_else(|error| {
        tracing::error!(%error, "what was spent before is not known, so budgets begin anew");
        Vec::new()
    })
}
