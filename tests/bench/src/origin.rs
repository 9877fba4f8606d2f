//! The provider for load: a process of its own, one thread, as cheap as an honest HTTP server can be. It reads every body to its
//! end and answers by the path and the body: a chat answer of 1 KB, or a stream of events.

mod answer;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The command line of `bench origin`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen with TLS
    #[arg(long)]
    tls: Vec<SocketAddr>,
    /// Where to listen without
    #[arg(long)]
    plain: Vec<SocketAddr>,
    /// The certificate chain, PEM
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM
    #[arg(long)]
    key: PathBuf,
}

/// Serves until it is killed.
pub fn run(args: &Args) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(serve::serve(args))
}
