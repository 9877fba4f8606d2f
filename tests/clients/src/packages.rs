//! Where the clients are.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Names another folder than `clients` in cargo's target directory.
const VARIABLE: &str = "TOLLGATE_CLIENTS";
/// What the setup writes last into each folder.
const MARK: &str = "installed.txt";

/// The folder of this name that `cargo xtask setup clients` made. Its absence is an error, never a pass.
pub fn packages(name: &str) -> Result<PathBuf> {
    let folder = all().join(name);
    if !folder.join(MARK).is_file() {
        bail!("{} is not there, or not complete; run `cargo xtask setup clients`", folder.display());
    }
    Ok(folder)
}

/// The interpreter of the folder `python3.11`, or `python3.11-openai2` with the suffix `-openai2`; `None`, and a line on standard error,
/// where this machine had no such Python when the clients were set up. A machine without any is an error.
pub fn python(version: &str, suffix: &str) -> Result<Option<PathBuf>> {
    let list = fs::read_to_string(packages("pythons")?.join(MARK)).context("cannot read which Pythons there are")?;
    if list.lines().any(|tried| tried == version) {
        return Ok(Some(packages(&format!("python{version}{suffix}"))?.join("bin/python")));
    }
    ensure!(
        !list.trim().is_empty(),
        "no Python was found to try clients with; install python3 and run `cargo xtask setup clients`"
    );
    // Past the test harness, which keeps what a passing test prints to itself.
    writeln!(
        io::stderr(),
        "skipped: Python {version} is not installed; tried: {}",
        list.lines().collect::<Vec<_>>().join(", ")
    )?;
    Ok(None)
}

/// The interpreter of the folder with this suffix that is made for the first Python alone.
pub fn first_python(suffix: &str) -> Result<PathBuf> {
    let list = fs::read_to_string(packages("pythons")?.join(MARK)).context("cannot read which Pythons there are")?;
    let first =
        list.lines().next().context("no Python was found; install python3 and run `cargo xtask setup clients`")?;
    Ok(packages(&format!("python{first}{suffix}"))?.join("bin/python"))
}

/// The Pythons that are tried, where they are others than `usual`.
pub fn other_pythons(usual: &[&str]) -> Result<Vec<String>> {
    let list = fs::read_to_string(packages("pythons")?.join(MARK)).context("cannot read which Pythons there are")?;
    Ok(list.lines().filter(|version| !usual.contains(version)).map(str::to_owned).collect())
}

/// A script or program of this crate.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder for what the tests build.
pub fn scratch() -> Result<PathBuf> {
    let folder = all().join("built");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The folder with a folder for each runtime.
pub(crate) fn all() -> PathBuf {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return folder.into();
    }
    let target = std::env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.parent()?.to_owned()));
    target.unwrap_or_default().join("clients")
}
