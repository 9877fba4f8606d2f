//! `tollgate run`: every program on the node, until stopped.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_admin::{Health, Metrics};
use tollgate_audit::{Audit, What};
use tollgate_config::{Config, OnFailure};
use tollgate_ledger::store::Ledger;
use tollgate_tls::Authority;

use crate::agent::{Agent, Loading, Setup};
use crate::cli::RunArgs;
use crate::observe::Observers;
use crate::reload::{Live, Reloader, Stamps, Standing};
use crate::{audit, ca, control, logs, reload, settings};

/// Runs until a signal, then drains.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Absolute, so that its folders can be told.
    let file = args.config.config.as_ref().map(std::path::absolute).transpose()?;
    let file = file.as_deref();
    let before = reload::stamps(file, &Config::default());
    let config = settings::load(&args.config)?;
    settings::require_root("run")?;
    let (_log, level) = logs::start(&config.log);
    reload::warn(&config);
    let standing = Arc::new(Standing::new(file.map(PathBuf::from), &config));
    let watched = Watched { standing, stamps: before.and(reload::stamps(file, &config)), level };
    let runtime = settings::runtime()?;
    let ledger = settings::ledger(&config)?;
    let audit = audit::start(&config)?;
    audit::note(audit.as_deref(), What::Started, format!("tollgate run, version {}", env!("CARGO_PKG_VERSION")));
    let code = runtime.block_on(serve(&config, ledger.clone(), audit.clone(), watched));
    settings::end(runtime, ledger.as_deref(), audit.as_deref());
    code
}

/// What is needed to read the configuration again.
struct Watched {
    standing: Arc<Standing>,
    stamps: Stamps,
    level: logs::Level,
}

async fn serve(
    config: &Config,
    ledger: Option<Arc<Ledger>>,
    audit: Option<Arc<Audit>>,
    watched: Watched,
) -> anyhow::Result<ExitCode> {
    // Registered first: a signal during the start must not kill us half-way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let Watched { standing, stamps, level } = watched;
    let metrics = Arc::new(Metrics::new("tollgate", env!("CARGO_PKG_VERSION")));
    let health = Health::new();
    let starting = health.register("kernel programs attached");
    let control = control::start(config, &metrics, &health, ledger.as_ref(), audit.as_ref(), &standing)?;

    if config.intercept.on_failure == OnFailure::Closed {
        tracing::warn!(
            "on_failure: closed holds while this process hangs or drains; when it is gone, connections go directly"
        );
    }
    let catalogue = Arc::new(settings::catalogue(config));
    let loading = Loading::begin(config, &catalogue);
    let authority = Arc::new(authority(config, &catalogue, audit.as_deref())?);
    let cgroup = cgroup(config)?;
    let observers = Arc::new(Observers::new(metrics, ledger.clone(), None).with_audit(audit.clone()));
    let setup = Setup { config, cgroup: &cgroup, catalogue, loading, authority, observers, ledger: ledger.clone() };
    let agent = Agent::start(setup).await?;
    control.show(&agent);
    let live = Live { engine: Arc::clone(agent.engine()), http: agent.http().clone(), ledger, audit, level };
    let reloading = tokio::spawn(reload::keep(Arc::new(Reloader::new(config, stamps, standing, live)), hangup));
    drop(starting);
    tracing::info!(admin = control.address().map(tracing::field::display), "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    reloading.abort();
    tracing::info!(limit = ?config.drain.timeout, "draining: nothing new is taken over");
    let _draining = health.register("draining");
    tokio::select! {
        drained = agent.drain(config.drain.timeout) => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(overdue) => tracing::warn!("{overdue}; it is cut off. Raise drain.timeout if that is too soon"),
        },
        _ = terminate.recv() => tracing::warn!("told to stop a second time; what is in flight is cut off"),
        _ = interrupt.recv() => tracing::warn!("told to stop a second time; what is in flight is cut off"),
    }
    control.stop();
    Ok(ExitCode::SUCCESS)
}

/// The authority on disk, made at the first start.
fn authority(config: &Config, catalogue: &tollgate_llm::Catalogue, audit: Option<&Audit>) -> anyhow::Result<Authority> {
    let directory = &config.ca.directory;
    let is_there = directory.join(Authority::FILE).exists();
    let authority = Authority::load_or_create(directory, &catalogue.constraints()).with_context(|| {
        format!("the certificate authority in {} cannot be used; see `tollgate ca show`", directory.display())
    })?;
    if !is_there {
        audit::note(audit, What::AuthorityMade, format!("in {}", directory.display()));
    }
    ca::warn_of_uncovered(&authority, catalogue);
    ca::write_trust(config, &authority)?;
    Ok(authority)
}

fn cgroup(config: &Config) -> anyhow::Result<PathBuf> {
    match &config.intercept.cgroup {
        Some(path) => Ok(path.clone()),
        None => tollgate_kernel::cgroup::root().context("no cgroup to attach to; name one in intercept.cgroup"),
    }
}
