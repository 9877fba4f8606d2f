//! `cargo xtask check`: what CI holds beside the tests. Every check runs, also after one that failed, so that one run tells all.

mod links;

use anyhow::{Result, bail};

use crate::setup::{self, Part};
use crate::{shell, workspace};

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("formatting", formatting),
    ("lints", lints),
    ("documentation", documentation),
    ("dependency rules", dependencies),
    ("links in the documents", links::check),
];

pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Part::Build, Part::Check])?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        shell::step(&format!("Checking {name}"));
        if let Err(error) = check() {
            shell::failure(&format!("{error:#}"));
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    shell::step(&format!("All {} checks passed", CHECKS.len()));
    Ok(())
}

fn formatting() -> Result<()> {
    shell::run(workspace::cargo("fmt").args(["--all", "--check"]))
}

fn lints() -> Result<()> {
    shell::run(workspace::cargo("clippy").args(["--workspace", "--all-targets", "--", "--deny=warnings"]))
}

fn documentation() -> Result<()> {
    shell::run(workspace::cargo("doc").args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies() -> Result<()> {
    shell::run(workspace::cargo("deny").args(["--all-features", "check", "bans", "licenses", "sources"]))?;
    // The advisories are a repository of their own. Where it cannot be fetched this is said, not passed over in silence.
    if shell::succeeds(workspace::cargo("deny").args(["fetch", "db"])) {
        shell::run(workspace::cargo("deny").args(["--all-features", "check", "--disable-fetch", "advisories"]))
    } else {
        shell::note("The advisory database cannot be fetched from here: known vulnerabilities were NOT checked");
        Ok(())
    }
}
