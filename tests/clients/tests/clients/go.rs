//! Go's standard library, which speaks HTTP/2 where it can.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use tollgate_clients::{Trial, Trust, scratch, source};

/// Builds the client, once for all tests of this run.
fn program() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let program = scratch()?.join("go-client");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source("go"))
        // Its own cache, so that it also builds where there is no home. The code that the compiler caches is for this machine alone.
        .env("GOCACHE", scratch()?.join("go-cache"))
        .envs([("GOFLAGS", "-mod=mod"), ("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
        .output()
        .context("cannot run go; `cargo xtask setup clients` installs it")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}

/// It dials for each request of a burst, and takes whichever connection is free first.
fn go(version: &str) -> Result<Trial> {
    Ok(Trial::new(program()?)?.arg(version).never_retries().abandons_connections())
}

#[test]
fn go_http1() -> Result<()> {
    go("http1")?.run()
}

#[test]
fn go_http2() -> Result<()> {
    go("http2")?.trusting(Trust::System).run()
}
