//! The agent optimised for what it does: built to be watched, put under the benchmark's load, and built again from what was seen
//! (profile-guided optimisation). What is often taken stands together then, and what never is, elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, Part, llvm_tools};
use crate::{privilege, shell, workspace};

/// What the agent is watched at: short requests and long ones, streams, new connections.
const LOAD: &str = "requests,streams,connections";

/// Makes it, and gives where it is.
pub(crate) fn build() -> Result<PathBuf> {
    setup::ensure(&[Part::Build, Part::Test, Part::Bench, Part::Trained])?;
    let folder = workspace::target().join("trained");
    let (counted, profile) = (folder.join("counted"), folder.join("profile"));
    if counted.exists() {
        fs::remove_dir_all(&counted).with_context(|| format!("cannot empty {}", counted.display()))?;
    }
    // Ours, though what root's agent leaves in it is root's.
    fs::create_dir_all(&counted).with_context(|| format!("cannot make {}", counted.display()))?;
    shell::step("Building the benchmark, and the agent to be watched (some minutes)");
    let mut bench = workspace::cargo("build");
    shell::run(bench.args(["--release", "--package=tollgate-bench", "--bins"]))?;
    let watched = agent(&folder, &format!("-Cprofile-generate={}", counted.display()))?;
    shell::step("Watching it at work");
    privilege::announce("the benchmark loads kernel programs and makes network namespaces")?;
    let mut load = privilege::as_root(workspace::target().join("release/bench"));
    load.env("TOLLGATE_BIN", watched);
    load.args(["--quick", "--rounds=1", "--contenders=tollgate", "--only", LOAD, "--out"]).arg(folder.join("load"));
    shell::run_quietly(&mut load)?;
    let files: Vec<_> = fs::read_dir(&counted)
        .with_context(|| format!("the agent has left nothing in {}", counted.display()))?
        .collect::<Result<_, _>>()?;
    ensure!(!files.is_empty(), "the agent has left nothing in {}", counted.display());
    let profdata = llvm_tools::profdata().context("llvm-profdata is gone")?;
    let mut merge = Command::new(profdata);
    shell::run(merge.args(["merge", "-o"]).arg(&profile).args(files.iter().map(fs::DirEntry::path)))?;
    shell::step("Building the agent from what was seen (some minutes)");
    // Cargo does not look into the profile: what has not changed since the last time keeps what was seen of it then.
    let built = agent(&folder, &format!("-Cprofile-use={}", profile.display()))?;
    let place = folder.join("tollgate");
    // A new file, so that an agent that runs keeps its own.
    let early = folder.join("tollgate.new");
    fs::copy(&built, &early).and_then(|_| fs::rename(&early, &place)).context("cannot put the agent in its place")?;
    Ok(place)
}

/// Builds the agent with a flag of its own, out of the way of other builds.
fn agent(folder: &Path, flag: &str) -> Result<PathBuf> {
    let host = llvm_tools::host()?;
    let mut build = workspace::cargo("build");
    // With a target named, the flag is not for what runs while building.
    build.args(["--release", "--package=tollgate", "--bins", "--target", &host, "--target-dir"]).arg(folder);
    shell::run(build.env("RUSTFLAGS", flag))?;
    Ok(folder.join(host).join("release/tollgate"))
}
