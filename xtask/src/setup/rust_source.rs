//! The source of Rust's core library. The kernel programs' target has no ready-made one, so `agent/kernel`'s build script has cargo
//! build it. rustup's component fits the pinned compiler; where it cannot be fetched, Debian's compiler and source do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::tool::{Version, version_in};
use super::{Missing, Remedy, debian};
use crate::shell;

/// Debian's compiler with its cargo and its library's source. These follow the browsers' needs, so stable releases get new ones.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The oldest Debian compiler that builds the kernel programs: the workspace's own `rust-version`.
const OLDEST: Version = Version(1, 95, 0);

pub(crate) fn missing() -> Option<Missing> {
    if in_rustup().is_some() || in_debian() {
        return None;
    }
    Some(Missing {
        name: "rust-src".to_owned(),
        why: format!(
            "source of Rust's core library, compiled into the kernel programs (rustup component; if that cannot be fetched, \
             Debian's {})",
            DEBIAN.join(", ")
        ),
        remedy: Remedy::Own(install),
    })
}

fn install() -> Result<()> {
    let by_rustup = shell::find_program("rustup").is_some() && {
        // Behind some firewalls it neither works nor fails.
        let mut rustup = Command::new("timeout");
        shell::run(rustup.args(["300", "rustup", "component", "add", "rust-src"]).current_dir(crate::workspace::root()))
            .is_ok()
    };
    if by_rustup && in_rustup().is_some() {
        return Ok(());
    }
    if shell::find_program("apt-get").is_none() {
        bail!(
            "`rustup component add rust-src` does not work here, and there is no apt-get to bring Debian's rust-web-src"
        );
    }
    shell::note("rustup cannot bring rust-src; taking Debian's compiler and source for the kernel programs");
    if !offers_a_recent_one() {
        debian::update()?;
    }
    if !offers_a_recent_one() {
        bail!(
            "neither rustup nor apt offers Rust's library source of {OLDEST} or newer: make `rustup component add rust-src` work \
             (a proxy? a mirror?), or use Debian 12 or newer with its security updates"
        );
    }
    debian::install(&DEBIAN)?;
    in_debian().then_some(()).context("Debian's packages were installed but their compiler and source were not found")
}

fn in_rustup() -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    let sysroot = shell::output(rustc.args(["--print", "sysroot"]).current_dir(crate::workspace::root())).ok()?;
    Some(library(Path::new(sysroot.trim()))).filter(|source| source.is_file())
}

fn in_debian() -> bool {
    let recent = shell::output(Command::new("/usr/bin/rustc").arg("--version"))
        .ok()
        .and_then(|text| version_in(&text))
        .is_some_and(|version| version >= OLDEST);
    recent && Path::new("/usr/bin/cargo").is_file() && library(Path::new("/usr")).is_file()
}

/// What `agent/kernel/build.rs` looks for.
fn library(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock")
}

fn offers_a_recent_one() -> bool {
    DEBIAN.iter().all(|package| {
        debian::candidate(package).and_then(|version| version_in(&version)).is_some_and(|version| version >= OLDEST)
    })
}
