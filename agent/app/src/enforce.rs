//! The engine that enforces the policy, with what was spent before this start.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tollgate_config::Config;
use tollgate_ledger::store::Ledger;
use tollgate_policy::{Charge, Engine, Policy, Spec};

/// How long the ledger may take to tell what was spent. Mostly milliseconds; a slow disk must not keep a node from being served.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest window is a month, and begins up to a day earlier than the same month elsewhere.
pub(crate) const LONGEST: Duration = Duration::from_hours(33 * 24);

/// An engine with this configuration's policy. It knows what the ledger's agents spent in the windows that have begun.
pub(crate) async fn engine(config: &Config, ledger: Option<&Arc<Ledger>>) -> Arc<Engine> {
    let spec = Spec::clone(&config.policy.spec);
    let has_budgets = !spec.budgets.is_empty();
    let engine = Arc::new(Engine::new(Policy::new(spec)));
    if !has_budgets {
        return engine;
    }
    if ledger.is_none() {
        tracing::warn!("ledger.directory is off, so budgets begin anew with each start");
    }
    let ledger = ledger.map(Arc::clone);
    // It can only fail as a whole, by a panic, which was told then.
    let past = tokio::task::spawn_blocking(move || spent(ledger.as_deref())).await.unwrap_or_default();
    engine.restore(past);
    engine
}

/// What budgets were charged lately. Blocks.
pub(crate) fn spent(ledger: Option<&Ledger>) -> Vec<Charge> {
    let Some(ledger) = ledger else { return Vec::new() };
    let since = SystemTime::now().checked_sub(LONGEST).unwrap_or(SystemTime::UNIX_EPOCH);
    ledger.spent(since, PATIENCE).unwrap_or_else(|error| {
        tracing::error!(%error, "what was spent before is not known, so budgets begin anew");
        Vec::new()
    })
}
