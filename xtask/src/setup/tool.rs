//! Tools that cargo installs from source.

use std::fmt;
use std::process::Command;

use anyhow::Result;

use super::{Missing, Remedy};
use crate::{shell, workspace};

/// Links the kernel programs. 0.10 uses the LLVM library that comes with the compiler (22, as rustc 1.95 and 1.96 have), so no LLVM
/// packages are needed; newer ones want a system LLVM.
pub(crate) const BPF_LINKER: Tool = Tool {
    name: "bpf-linker",
    version: Version(0, 10, 3),
    why: "links the kernel programs",
    takes: "about three minutes",
    install: || BPF_LINKER.install(),
};

/// Holds the dependency rules of `deny.toml`.
pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: Version(0, 20, 2),
    why: "checks licences, banned and duplicate dependencies",
    takes: "about three minutes",
    install: || CARGO_DENY.install(),
};

/// Builds and runs the fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: Version(0, 13, 2),
    why: "builds and runs the fuzz targets",
    takes: "about a minute",
    install: || CARGO_FUZZ.install(),
};

/// A program in the crate registry that has the name of its crate.
pub(crate) struct Tool {
    name: &'static str,
    /// What is installed, and the oldest that is taken as it is.
    version: Version,
    why: &'static str,
    takes: &'static str,
    install: fn() -> Result<()>,
}

impl Tool {
    pub(crate) fn missing(&self) -> Option<Missing> {
        if self.installed().is_some_and(|version| version >= self.version) {
            return None;
        }
        Some(Missing {
            name: self.name.to_owned(),
            why: format!("{} ({}, compiled from the crate registry: {})", self.why, self.version, self.takes),
            remedy: Remedy::Own(self.install),
        })
    }

    fn installed(&self) -> Option<Version> {
        let program = shell::find_program(self.name)?;
        version_in(&shell::output(Command::new(program).arg("--version")).ok()?)
    }

    fn install(&self) -> Result<()> {
        let version = self.version.to_string();
        shell::run(workspace::cargo("install").args([self.name, "--version", &version, "--locked"]))
    }
}

/// A version's three numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The first version in what `--version` prints, or in a package's version.
pub(crate) fn version_in(text: &str) -> Option<Version> {
    text.split(|c: char| c.is_whitespace() || c == '~' || c == '+' || c == '-').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Some(Version(major, minor, patch)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_and_packages_write_them() {
        assert_eq!(version_in("bpf-linker 0.10.3\n"), Some(Version(0, 10, 3)));
        assert_eq!(
            version_in("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some(Version(1, 96, 0))
        );
        assert_eq!(version_in("1.96.0+dfsg1-1~deb12u2"), Some(Version(1, 96, 0)));
        assert_eq!(version_in("rustc 1.97.0-nightly (4d1f98451 2026-05-15)"), Some(Version(1, 97, 0)));
        assert_eq!(version_in("something else"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(Version(0, 10, 3) > Version(0, 9, 15));
        assert!(Version(1, 0, 0) > Version(0, 99, 99));
    }

    #[test]
    fn a_tool_that_is_nowhere_is_missing() {
        let tool = Tool {
            name: "no-such-tool-here",
            version: Version(1, 2, 3),
            why: "tests",
            takes: "no time",
            install: || Ok(()),
        };
        let missing = tool.missing().expect("it is nowhere");
        assert!(missing.why.contains("1.2.3") && missing.why.contains("no time"), "{}", missing.why);
    }
}
