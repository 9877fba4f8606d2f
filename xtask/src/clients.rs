//! The clients that nobody here wrote, at pinned versions: what `tests/clients` starts against the agent. Languages come from Debian;
//! SDKs from their registries into `target/clients`, one folder a runtime, made anew when its list in `tests/clients` changes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::setup::debian::{self, Package, Sign};
use crate::setup::folder::{self, Environment, Modules, fresh, is_made, mark_made};
use crate::setup::{Missing, Remedy};
use crate::{shell, workspace};

/// Languages, by Debian package. Node itself is among the npm packages, at the version that the tests are written for.
const LANGUAGES: &[Package] = &[
    Package { name: "golang-go", sign: Sign::Program("go"), why: "the Go client, standard library alone" },
    Package {
        name: "default-jdk-headless",
        sign: Sign::Program("javac"),
        why: "the Java client, standard library alone",
    },
    Package { name: "npm", sign: Sign::Program("npm"), why: "brings Node and the vendors' SDKs for it" },
    Package {
        name: "python3-venv",
        sign: Sign::PythonModule("ensurepip"),
        why: "keeps the vendors' SDKs for Python apart",
    },
];

/// The Pythons that are tried where they are installed: Debian's, and the first with strict certificate checks.
const PYTHONS: &[&str] = &["3.11", "3.13"];

/// The vendors' SDKs for Python, by the list in `tests/clients/python` and the end of the folder's name. Two versions of one package
/// need a folder each.
const PYTHON: &[(&str, &str)] = &[("sdks.txt", ""), ("openai2.txt", "-openai2")];

/// Those that are large, and tried with one Python: how they open connections is the others' way.
const PYTHON_ONCE: &[(&str, &str)] = &[("clouds.txt", "-clouds")];

/// What `tests/clients` needs and is not there.
pub(crate) fn missing() -> Vec<Missing> {
    let mut missing: Vec<_> = debian::missing(LANGUAGES).collect();
    let pythons = interpreters();
    let versions: Vec<_> = pythons.iter().map(|python| python.version.as_str()).collect();
    if !environments(&pythons).iter().all(Environment::is_made) || !is_made(&tried(), &versions.join("\n")) {
        missing.push(Missing {
            name: "Python SDKs".to_owned(),
            why: format!(
                "openai, anthropic, google-genai, boto3, cohere, mistralai and ollama for Python {} (package registry, into target/clients)",
                versions.join(" and ")
            ),
            remedy: Remedy::Own(make_python),
        });
    }
    if !node().is_made() {
        missing.push(Missing {
            name: "Node SDKs".to_owned(),
            why: "Node 20, openai, @anthropic-ai/sdk, @google/genai and claude-code (package registry, into target/clients)".to_owned(),
            remedy: Remedy::Own(make_node),
        });
    }
    missing
}

/// A Python that the clients are tried with.
struct Python {
    version: String,
    program: PathBuf,
}

/// Those of [`PYTHONS`] that are on the PATH or under pyenv; where there is none, whatever `python3` is.
fn interpreters() -> Vec<Python> {
    let found: Vec<_> = PYTHONS
        .iter()
        .filter_map(|version| Some(Python { version: (*version).to_owned(), program: folder::python(version)? }))
        .collect();
    if !found.is_empty() {
        return found;
    }
    let program = PathBuf::from("python3");
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = shell::output(Command::new(&program).args(["-c", print])).unwrap_or_else(|_| "3".to_owned());
    vec![Python { version: version.trim().to_owned(), program }]
}

fn environments(pythons: &[Python]) -> Vec<Environment> {
    let environment = |python: &Python, list: &str, suffix: &str| Environment {
        python: python.program.clone(),
        packages: sources().join("python").join(list),
        folder: target(&format!("python{}{suffix}", python.version)),
    };
    let with = |python, lists: &[(&str, &str)]| -> Vec<_> {
        lists.iter().map(|(list, suffix)| environment(python, list, suffix)).collect()
    };
    let once = pythons.first().into_iter().flat_map(|python| with(python, PYTHON_ONCE));
    pythons.iter().flat_map(|python| with(python, PYTHON)).chain(once).collect()
}

fn make_python() -> Result<()> {
    let pythons = interpreters();
    for environment in environments(&pythons).iter().filter(|environment| !environment.is_made()) {
        environment.make()?;
    }
    // Last, so that the tests know which Pythons this machine has, from one whose setup was cut short.
    let versions: Vec<_> = pythons.into_iter().map(|python| python.version).collect();
    mark_made(&fresh(&tried())?, &versions.join("\n"))
}

fn make_node() -> Result<()> {
    node().make()
}

/// The scripts and the lists of packages.
fn sources() -> PathBuf {
    workspace::root().join("tests/clients")
}

fn target(name: &str) -> PathBuf {
    workspace::target().join("clients").join(name)
}

/// The folder with the Node SDKs' `node_modules`.
fn node() -> Modules {
    Modules { sources: sources().join("node"), folder: target("node") }
}

/// The folder whose mark lists the Pythons that have environments.
fn tried() -> PathBuf {
    target("pythons")
}
