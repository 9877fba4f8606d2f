//! `llvm-profdata`, which merges what a watched program has counted. It must be of the compiler's own LLVM: rustup's component is; where
//! it cannot be fetched, Debian's package of that version is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Missing, Remedy, debian};
use crate::{shell, workspace};

pub(crate) fn missing() -> Option<Missing> {
    if profdata().is_some() {
        return None;
    }
    Some(Missing {
        name: "llvm-tools".to_owned(),
        why: "llvm-profdata, which merges what a watched program has counted (rustup component; if that cannot be fetched, Debian's llvm)"
            .to_owned(),
        remedy: Remedy::Own(install),
    })
}

/// Where it is.
pub(crate) fn profdata() -> Option<PathBuf> {
    let compiler = Compiler::asked()?;
    let own = compiler.sysroot.join("lib/rustlib").join(&compiler.host).join("bin/llvm-profdata");
    let debians = Path::new("/usr/lib").join(package(&compiler.llvm)).join("bin/llvm-profdata");
    [own, debians].into_iter().find(|file| file.is_file())
}

/// The compiler's own platform, `x86_64-unknown-linux-gnu` for one.
pub(crate) fn host() -> Result<String> {
    Ok(Compiler::asked().context("rustc does not say for which platform it compiles")?.host)
}

fn install() -> Result<()> {
    if shell::find_program("rustup").is_some() {
        // Behind some firewalls it neither works nor fails.
        let mut rustup = Command::new("timeout");
        let added =
            shell::run(rustup.args(["300", "rustup", "component", "add", "llvm-tools"]).current_dir(workspace::root()));
        if added.is_ok() && profdata().is_some() {
            return Ok(());
        }
    }
    let compiler = Compiler::asked().context("rustc does not say of which LLVM it is")?;
    let package = package(&compiler.llvm);
    if shell::find_program("apt-get").is_none() {
        bail!(
            "`rustup component add llvm-tools` does not work here, and there is no apt-get to bring Debian's {package}"
        );
    }
    debian::install(&[&package])?;
    profdata()
        .with_context(|| format!("Debian's {package} was installed, but its llvm-profdata was not found"))
        .map(drop)
}

/// Debian's package of an LLVM, which is also the name of its folder.
fn package(llvm: &str) -> String {
    format!("llvm-{llvm}")
}

/// What `rustc` says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    sysroot: PathBuf,
    host: String,
    /// The first part of the version: its data has one format for as long.
    llvm: String,
}

impl Compiler {
    fn asked() -> Option<Self> {
        let ask = |arguments: &[&str]| {
            shell::output(Command::new("rustc").args(arguments).current_dir(workspace::root())).ok()
        };
        Self::said(&ask(&["--print", "sysroot"])?, &ask(&["-vV"])?)
    }

    fn said(sysroot: &str, version: &str) -> Option<Self> {
        let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let llvm = field("LLVM version")?.split('.').next()?.trim();
        Some(Self { sysroot: sysroot.trim().into(), host: field("host")?.trim().into(), llvm: llvm.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_its_platform_and_its_llvm() {
        let version = "rustc 1.95.0 (59807616e 2026-04-14)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let told = Compiler::said("/rust\n", version);
        let wanted = Compiler { sysroot: "/rust".into(), host: "x86_64-unknown-linux-gnu".into(), llvm: "22".into() };
        assert_eq!(told, Some(wanted));
        assert_eq!(Compiler::said("/rust", "nonsense"), None);
    }
}
