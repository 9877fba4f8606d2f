//! What the commands need before they begin: rights, configuration, a runtime.

use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::Uid;
use tokio::runtime::Runtime;
use tollgate_config::Config;
use tollgate_llm::Catalogue;

use crate::cli::ConfigArgs;
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

/// The built-in providers and the configured ones.
pub(crate) fn catalogue(config: &Config) -> Catalogue {
    config.providers.iter().cloned().fold(Catalogue::builtin(), Catalogue::with)
}

/// How long what is cut off at the end may take to be recorded. A look-up that hangs in a thread must not hold the process.
const END: Duration = Duration::from_secs(5);

/// Cuts off what the runtime still serves. Each exchange that was in flight is recorded by this.
pub(crate) fn end(runtime: Runtime) {
    runtime.shutdown_timeout(END);
}

/// The runtime that serves connections.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the threads cannot be started")
}
