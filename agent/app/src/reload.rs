//! Takes another configuration over while the agent runs: when its file or a file of prices changes, and on SIGHUP.
//!
//! All is read and checked before anything is taken over. What is wrong is refused as a whole: the old stays in force, and the error is
//! told in the log, the metrics, `/status` and `tollgate doctor` until a file is good again. Calls in flight go on by the policy that
//! they were let through by.

mod standing;
mod watch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tollgate_audit::{Audit, What};
use tollgate_config::Config;
use tollgate_ledger::store::Ledger;
use tollgate_llm::Prices;
use tollgate_policy::{Engine, Policy};
use tollgate_proxy::http::Http;

pub(crate) use self::standing::Standing;
pub(crate) use self::watch::Stamps;
use self::watch::{Folders, POLL, QUIET};
use crate::{audit, enforce, logs, settings};

/// What another configuration is handed to.
pub(crate) struct Live {
    /// Who enforces the policy.
    pub(crate) engine: Arc<Engine>,
    /// Who prices calls.
    pub(crate) http: Http,
    /// Where it is kept what budgets were charged.
    pub(crate) ledger: Option<Arc<Ledger>>,
    /// Where it is kept that it was read.
    pub(crate) audit: Option<Arc<Audit>>,
    /// Who filters the log.
    pub(crate) level: logs::Level,
}

/// Reads the configuration again, and hands it on.
pub(crate) struct Reloader {
    standing: Arc<Standing>,
    live: Live,
    /// What the parts that cannot change were made from.
    started: Config,
    state: Mutex<State>,
}

struct State {
    /// What is in force.
    config: Config,
    /// Files of prices that what was read last names, whether it is in force or not.
    named: Vec<PathBuf>,
    /// How the files were when they were last read.
    stamps: Stamps,
    /// Budgets that the engine was told the past of.
    restored: HashSet<Arc<str>>,
}

/// What was read and found good.
struct Next {
    config: Config,
    prices: Option<Prices>,
}

impl Reloader {
    /// Watches over what was started with `config`. `stamps` is how the files were before they were read for that.
    pub(crate) fn new(config: &Config, stamps: Stamps, standing: Arc<Standing>, live: Live) -> Self {
        let restored = config.policy.spec.budgets.iter().map(|budget| Arc::clone(&budget.name)).collect();
        let state = Mutex::new(State { config: config.clone(), named: Vec::new(), stamps, restored });
        Self { standing, live, started: config.clone(), state }
    }

    /// Reads all again if it changed, or if `forced`. Blocks.
    fn look(&self, stamps: Stamps, forced: bool) {
        let mut state = self.state.lock();
        if !forced && stamps == state.stamps {
            return;
        }
        state.stamps = stamps;
        let read = self.read(&mut state);
        match read {
            Err(error) => {
                let told = format!("{error:#}");
                for line in told.lines() {
                    tracing::error!(error = %line, "the configuration cannot be taken over; what was in force stays");
                }
                audit::note(self.live.audit.as_deref(), What::ReloadRefused, told.as_str());
                self.standing.refused(told);
            }
            Ok(next) => self.take_over(next, &mut state),
        }
    }

    fn read(&self, state: &mut State) -> anyhow::Result<Next> {
        let file =
            self.standing.file().context("no file was named with --config, so there is nothing to read again")?;
        // An empty file is a good one, which allows everything. One that is being written anew is empty too.
        let is_empty = std::fs::metadata(file).is_ok_and(|data| data.len() == 0);
        anyhow::ensure!(!is_empty, "{} is empty; if that is meant, write `{{}}` or a comment into it", file.display());
        let config = Config::load(file)?;
        // Of a file that is not there yet, its coming must be seen.
        state.named.clone_from(&config.prices.files);
        state.stamps = state.stamps.clone().and(Stamps::of(&state.named));
        let has_prices = !config.prices.files.is_empty() || !state.config.prices.files.is_empty();
        let prices = if has_prices { Some(settings::prices(&config)?) } else { None };
        Ok(Next { config, prices })
    }

    fn take_over(&self, next: Next, state: &mut State) {
        let Next { config, prices } = next;
        let restart = needs_restart(&self.started, &config);
        if config.policy != state.config.policy {
            self.replace_policy(&config, &mut state.restored);
        }
        if let Some(prices) = prices {
            self.live.http.replace_prices(Arc::new(prices));
        }
        if config.log.level != state.config.log.level {
            self.live.level.set(config.log.level);
        }
        tracing::info!(needs_restart = %restart.join(", "), "the configuration was read again and taken over");
        if !restart.is_empty() {
            tracing::warn!("changed, but in force only after a restart: {}", restart.join(", "));
        }
        warn(&config);
        let restarts =
            if restart.is_empty() { String::new() } else { format!("; only after a restart: {}", restart.join(", ")) };
        audit::note(self.live.audit.as_deref(), What::Reloaded, format!("read again and taken over{restarts}"));
        self.standing.taken_over(&config, &restart);
        state.config = config;
    }

    /// Budgets that are new here may have a past: another agent's, or from before this one's start.
    fn replace_policy(&self, config: &Config, restored: &mut HashSet<Arc<str>>) {
        let spec = &config.policy.spec;
        let new: HashSet<_> =
            spec.budgets.iter().map(|budget| &budget.name).filter(|name| !restored.contains(*name)).cloned().collect();
        // Read before, so that no call since is counted twice.
        let past = if new.is_empty() { Vec::new() } else { enforce::spent(self.live.ledger.as_deref(), spec) };
        self.live.engine.replace(Policy::new(spec.as_ref().clone()));
        self.live.engine.restore(past.into_iter().filter(|charge| new.contains(&charge.budget)));
        restored.extend(new);
    }

    /// The files that matter.
    fn files(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let mut files = files(self.standing.file(), &state.config);
        files.extend(state.named.iter().filter(|named| !state.config.prices.files.contains(named)).cloned());
        files
    }

    fn is_as_read(&self, stamps: &Stamps) -> bool {
        self.state.lock().stamps == *stamps
    }
}

/// The files that a configuration is made of, the first its own.
fn files(file: Option<&std::path::Path>, config: &Config) -> Vec<PathBuf> {
    file.map(PathBuf::from).into_iter().chain(config.prices.files.iter().cloned()).collect()
}

/// How the files of a configuration are now. To be taken before they are read, so that no change goes unseen.
pub(crate) fn stamps(file: Option<&std::path::Path>, config: &Config) -> Stamps {
    Stamps::of(&files(file, config))
}

/// Says what is probably not meant.
pub(crate) fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!(%warning, "the configuration can be used, and this is probably not meant");
    }
}

/// Reloads for as long as it is polled: when told by a signal, and when files change.
pub(crate) async fn keep(reloader: Arc<Reloader>, mut hangup: Signal) {
    let changed = Arc::new(Notify::new());
    let mut folders = Folders::new(Arc::clone(&changed));
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut forced = false;
    loop {
        let (again, mut watching) = (Arc::clone(&reloader), folders);
        // Even to look at files may hang where they are on a network.
        let looked = tokio::task::spawn_blocking(move || {
            let files = again.files();
            watching.follow(&files);
            (Stamps::of(&files), watching)
        });
        let Ok((stamps, watching)) = looked.await else { return };
        folders = watching;
        if forced || !reloader.is_as_read(&stamps) {
            let stamps = if forced { stamps } else { settled(&reloader, stamps).await };
            let again = Arc::clone(&reloader);
            if tokio::task::spawn_blocking(move || again.look(stamps, forced)).await.is_err() {
                tracing::error!("reading the configuration again failed; please report this defect");
            }
        }
        forced = tokio::select! {
            Some(()) = hangup.recv() => true,
            () = changed.notified() => false,
            _ = poll.tick() => false,
        };
    }
}

/// Waits, within bounds, until nothing has changed for a while: editors write in several steps.
async fn settled(reloader: &Arc<Reloader>, mut stamps: Stamps) -> Stamps {
    for _ in 0..watch::PATIENCE {
        tokio::time::sleep(QUIET).await;
        let again = Arc::clone(reloader);
        let Ok(now) = tokio::task::spawn_blocking(move || Stamps::of(&again.files())).await else { return stamps };
        if now == stamps {
            break;
        }
        stamps = now;
    }
    stamps
}

/// The parts that differ and were made at the start.
fn needs_restart(started: &Config, now: &Config) -> Vec<&'static str> {
    // Named one by one, so that a new part is thought of here.
    let Config {
        intercept,
        terminate,
        providers,
        upstream,
        metering,
        ledger,
        ca,
        admin,
        drain,
        log,
        prices: _,
        peek,
        policy,
        audit,
        kubernetes,
        warnings: _,
    } = now;
    let parts = [
        ("intercept", *intercept != started.intercept),
        ("terminate", *terminate != started.terminate),
        ("providers", *providers != started.providers),
        ("upstream", *upstream != started.upstream),
        ("metering", *metering != started.metering),
        ("ledger", *ledger != started.ledger),
        ("ca", *ca != started.ca),
        ("admin", *admin != started.admin),
        ("drain", *drain != started.drain),
        ("log.format", log.format != started.log.format),
        ("peek", *peek != started.peek),
        ("policy.body_limit", policy.body_limit != started.policy.body_limit),
        ("audit", *audit != started.audit),
        ("kubernetes", *kubernetes != started.kubernetes),
    ];
    parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

#[cfg(test)]
mod tests;
