//! `cargo xtask test fuzz`: each target of `tests/fuzz` for some seconds, starting from its committed seeds. What libFuzzer finds on
//! the way stays in the target folder, so that a run leaves the tree as it was.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::result::Tally;
use crate::setup::{self, Part};
use crate::{shell, workspace};

/// How long each target runs when fuzzing is asked for by name: the smoke test of a change. A search for more is started by hand.
const SMOKE: u32 = 60;
/// How long each runs along with everything else.
const GLANCE: u32 = 10;

/// Runs every target. With `optional`, tells what is missing in place of installing it.
pub(crate) fn run(optional: bool) -> Result<Tally> {
    let folder = workspace::root().join("tests/fuzz");
    let mut tally = Tally::default();
    if let Some(obstacle) = obstacle(&folder, optional) {
        if optional {
            shell::note(&format!("Fuzz targets were not run: {obstacle}"));
            return Ok(tally);
        }
        bail!("{obstacle}");
    }
    setup::ensure(&[Part::Fuzz])?;
    let targets = shell::output(fuzz("list", &folder).arg("--fuzz-dir").arg(&folder))?;
    for target in targets.lines() {
        shell::step(&format!("Fuzzing {target}"));
        match run_one(target, &folder, if optional { GLANCE } else { SMOKE }) {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                shell::failure(&format!("{error:#}"));
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

fn run_one(target: &str, folder: &Path, seconds: u32) -> Result<()> {
    let found = workspace::target().join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = fuzz("run", folder);
    // libFuzzer writes to the first folder and reads them all.
    command.arg("--fuzz-dir").arg(folder).arg(target).arg(&found).arg(seeds(folder, target));
    shell::run(command.args(["--", &format!("-max_total_time={seconds}"), "-timeout=30", "-rss_limit_mb=4096"]))
}

/// Where a target starts: its own seeds, or else the providers' answers.
fn seeds(folder: &Path, target: &str) -> PathBuf {
    let own = folder.join("corpus").join(target);
    if own.is_dir() { own } else { workspace::root().join("tests/corpus") }
}

fn obstacle(folder: &Path, optional: bool) -> Option<String> {
    if optional && std::env::var_os("CI").is_some() {
        return Some("CI runs what runs the same each time; `cargo xtask test fuzz` runs them".to_owned());
    }
    if !folder.join("Cargo.toml").is_file() {
        return Some("there are none yet (tests/fuzz)".to_owned());
    }
    if !shell::succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])) {
        return Some("they need a nightly compiler; `rustup toolchain install nightly` brings one".to_owned());
    }
    if optional && shell::find_program("cargo-fuzz").is_none() {
        return Some("they need cargo-fuzz; `cargo xtask setup fuzz` brings it".to_owned());
    }
    None
}

fn fuzz(subcommand: &str, folder: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", subcommand]).current_dir(folder);
    workspace::like_a_shell(&mut command);
    // `rustup run` must choose the compiler, not the one that runs this.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command
}
