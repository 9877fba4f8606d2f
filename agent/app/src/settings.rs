//! What the commands need before they begin: rights, configuration, a runtime.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::Uid;
use tokio::runtime::Runtime;
use tollgate_audit::{Audit, Entry, What};
use tollgate_config::Config;
use tollgate_ledger::store::{self, Ledger};
use tollgate_llm::price::file::File;
use tollgate_llm::{Catalogue, Prices};

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::exit::{Coded, NO_PERMISSION, USAGE};

/// Attaching to cgroups takes CAP_BPF and CAP_NET_ADMIN, which in practice is root.
pub(crate) fn require_root(command: &str) -> anyhow::Result<()> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    let hint = format!(
        "`tollgate {command}` steers connections in the kernel, which takes root; try: sudo tollgate {command} …"
    );
    Err(Coded::new(NO_PERMISSION, hint).into())
}

/// The configuration, checked whole. Its errors name file, line, field and remedy.
pub(crate) fn load(args: &ConfigArgs) -> anyhow::Result<Config> {
    match &args.config {
        None => Ok(Config::default()),
        Some(path) => Config::load(path).map_err(|error| Coded::new(USAGE, error.to_string()).into()),
    }
}

/// `tollgate config`.
pub(crate) fn config(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match command {
        ConfigCommand::Schema => writeln!(out, "{:#}", tollgate_config::schema())?,
        ConfigCommand::Check { file } => {
            let config = load(&ConfigArgs { config: Some(file.clone()) })?;
            prices(&config)?;
            for warning in &config.warnings {
                eprintln!("tollgate: warning: {}:{warning}", file.display());
            }
            writeln!(out, "{} can be used", file.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The built-in providers and the configured ones.
pub(crate) fn catalogue(config: &Config) -> Catalogue {
    config.providers.iter().cloned().fold(Catalogue::builtin(), Catalogue::with)
}

/// Where the ledger's journals are if their own folder is not in memory.
const SHARED_MEMORY: &str = "/dev/shm/tollgate";

/// The ledger, where one is kept. It must be closed after the runtime has ended: until then there are rows to come.
pub(crate) fn ledger(config: &Config) -> anyhow::Result<Option<Arc<Ledger>>> {
    let Some(directory) = config.ledger.directory.clone() else { return Ok(None) };
    // A container's /run is often no tmpfs, and its /dev/shm is one.
    let journals = vec![config.ledger.journal.clone(), SHARED_MEMORY.into()];
    let ledger = Ledger::start(store::Settings { directory, journals, retention: config.ledger.retention });
    Ok(Some(Arc::new(ledger.context("the ledger's thread cannot be started")?)))
}

/// The files of prices that the configuration names, in its order.
pub(crate) fn price_files(config: &Config) -> anyhow::Result<Vec<(String, File)>> {
    let load = |path: &std::path::PathBuf| match tollgate_config::load_prices(path) {
        Ok(file) => Ok((path.display().to_string(), file)),
        Err(error) => Err(Coded::new(USAGE, error.to_string()).into()),
    };
    config.prices.files.iter().map(load).collect()
}

/// The bundled prices and those of the configuration.
pub(crate) fn prices(config: &Config) -> anyhow::Result<Prices> {
    // Each was checked by itself; together they can only have too many pointers.
    Prices::with(&price_files(config)?).map_err(|(file, complaints)| {
        let told: Vec<String> = complaints
            .iter()
            .map(|one| format!("{file}: {}[{}].{}: {}; {}", one.list, one.index, one.key, one.message, one.remedy))
            .collect();
        Coded::new(USAGE, told.join("\n")).into()
    })
}

/// How long what is cut off at the end may take to be recorded. A look-up that hangs in a thread must not hold the process.
const END: Duration = Duration::from_secs(5);

/// Cuts off what the runtime still serves. Each exchange that was in flight is recorded by this, then all are on the ledger, and what
/// was decided about them is in the audit.
pub(crate) fn end(runtime: Runtime, ledger: Option<&Ledger>, audit: Option<&Audit>) {
    runtime.shutdown_timeout(END);
    if let Some(ledger) = ledger {
        ledger.close();
    }
    if let Some(audit) = audit {
        audit.note(Entry::new(What::Stopped));
        audit.close();
    }
}

/// The runtime that serves connections.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the threads cannot be started")
}
