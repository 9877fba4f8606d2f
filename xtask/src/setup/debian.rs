//! Packages of Debian and Ubuntu, by apt-get. On another distribution their programs are looked for all the same; what is missing
//! is named for the user to install.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Missing, Remedy};
use crate::{privilege, shell};

/// A package, and the sign by which it is known to be there, whoever installed it.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) sign: Sign,
    pub(crate) why: &'static str,
}

/// How a package shows that it is installed.
pub(crate) enum Sign {
    /// A program on the PATH.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A module that the system's Python has.
    PythonModule(&'static str),
}

impl Sign {
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Program(name) => shell::find_program(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
            Self::PythonModule(name) => {
                shell::succeeds(Command::new("python3").args(["-c", &format!("import {name}")]))
            }
        }
    }
}

/// What the tests and the demo call. A C compiler is not here: without one, cargo could not have linked this program.
pub(crate) const TEST: &[Package] = &[
    Package { name: "iproute2", sign: Sign::Program("ip"), why: "tests make network namespaces and veth pairs" },
    Package { name: "util-linux", sign: Sign::Program("unshare"), why: "tests make private mount namespaces" },
    Package { name: "procps", sign: Sign::Program("kill"), why: "a test kills what keeps its world" },
    Package { name: "curl", sign: Sign::Program("curl"), why: "a client in the tests and the demo" },
    Package { name: "python3", sign: Sign::Program("python3"), why: "a client in the tests and the demo" },
    Package { name: "wget", sign: Sign::Program("wget"), why: "another judge: it verifies by GnuTLS" },
    Package { name: "openssl", sign: Sign::Program("openssl"), why: "a strict judge of our certificates in the tests" },
    Package {
        name: "ca-certificates",
        sign: Sign::File("/etc/ssl/certs/ca-certificates.crt"),
        why: "the system's roots, which bundles for clients contain",
    },
];

/// What counts instructions.
pub(crate) const GATE: &[Package] =
    &[Package { name: "valgrind", sign: Sign::Program("valgrind"), why: "callgrind counts what the gate compares" }];

/// What the benchmark calls: load generators, and what they put load on.
pub(crate) const BENCH: &[Package] = &[
    Package { name: "nghttp2-client", sign: Sign::Program("h2load"), why: "h2load makes most of the benchmark's load" },
    Package { name: "wrk", sign: Sign::Program("wrk"), why: "makes load of fresh connections" },
];

/// Those of `packages` that are not there.
pub(crate) fn missing(packages: &'static [Package]) -> impl Iterator<Item = Missing> {
    packages.iter().filter(|package| !package.sign.is_there()).map(|package| Missing {
        name: package.name.to_owned(),
        why: format!("{} (Debian package)", package.why),
        remedy: Remedy::Debian(package.name),
    })
}

/// Installs packages in one call, with fresh lists if the ones here are absent or too old to be of use.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if shell::find_program("apt-get").is_none() {
        bail!(
            "there is no apt-get here; install by your own package manager what Debian calls: {}",
            packages.join(", ")
        );
    }
    shell::step(&format!("Installing Debian packages: {}", packages.join(", ")));
    privilege::announce("packages are installed for the whole machine")?;
    if packages.iter().all(|package| has_candidate(package))
        && shell::run_quietly(&mut install_command(packages)).is_ok()
    {
        return Ok(());
    }
    shell::note("The package lists are absent or out of date");
    update()?;
    shell::run_quietly(&mut install_command(packages))
}

/// The version that apt would install, by the lists that are here now.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = shell::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C")).ok()?;
    candidate_in(&policy).map(str::to_owned)
}

fn has_candidate(package: &str) -> bool {
    candidate(package).is_some()
}

fn candidate_in(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then_some(version)
}

/// Fetches the package lists.
pub(crate) fn update() -> Result<()> {
    privilege::announce("package lists are fetched for the whole machine")?;
    shell::run_quietly(apt_get().arg("update"))
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

fn apt_get() -> Command {
    let mut command = privilege::as_root("apt-get");
    // Another apt may be at work, on a machine that has just started for instance: wait for it.
    command.args(["--quiet=2", "--option=DPkg::Lock::Timeout=300", "--option=Dpkg::Use-Pty=0"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let policy = "curl:\n  Installed: (none)\n  Candidate: 7.88.1-10+deb12u15\n  Version table:\n     7.88.1 500\n";
        assert_eq!(candidate_in(policy), Some("7.88.1-10+deb12u15"));
    }

    #[test]
    fn a_package_that_the_lists_do_not_have_has_no_candidate() {
        assert_eq!(candidate_in("x:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate_in(""), None, "apt-cache prints nothing for a name it never heard of");
    }

    #[test]
    fn only_what_is_not_there_is_missing() {
        const PACKAGES: &[Package] = &[
            Package { name: "dash", sign: Sign::Program("sh"), why: "" },
            Package { name: "absent", sign: Sign::Program("no-such-program-here"), why: "for this test" },
            Package { name: "absent-too", sign: Sign::File("/no/such/file"), why: "" },
            Package { name: "base-files", sign: Sign::File("/etc"), why: "" },
        ];
        let names: Vec<_> = missing(PACKAGES).map(|thing| thing.name).collect();
        assert_eq!(names, ["absent", "absent-too"]);
    }
}
