//! Java's standard library: its HTTP client, and the one before.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use tollgate_clients::{Trial, Trust, scratch, source};

/// Compiles the client, once for all tests of this run.
fn classes() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| compile().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn compile() -> Result<PathBuf> {
    let classes = scratch()?.join("java");
    let built = Command::new("javac")
        .args(["-encoding", "UTF-8", "-d"])
        .arg(&classes)
        .arg(source("java/Client.java"))
        .output()
        .context("cannot run javac; `cargo xtask setup clients` installs it")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(classes)
}

fn java(version: &str) -> Result<Trial> {
    let trial = Trial::new("java")?.arg("-cp").arg(classes()?).arg("Client").arg(version);
    // Debian's Java reads a store that a hook of the package fills.
    Ok(trial.never_retries().without_peers().fill_store(|world| world.trust_in_java().map(drop)))
}

#[test]
fn java_http1() -> Result<()> {
    java("HTTP_1_1")?.trusting(Trust::System).run()
}

#[test]
fn java_http2() -> Result<()> {
    java("HTTP_2")?.run()
}
