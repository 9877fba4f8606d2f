//! The clients that nobody here wrote, at pinned versions: what `tests/clients` starts against the agent. Languages come from Debian;
//! SDKs from their registries into `target/clients`, one folder a runtime, made anew when the list here changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::debian::{self, Package, Sign};
use crate::setup::{Missing, Remedy};
use crate::{shell, workspace};

/// Languages, by Debian package.
const LANGUAGES: &[Package] = &[
    Package { name: "golang-go", sign: Sign::Program("go"), why: "the Go client, standard library alone" },
    Package {
        name: "default-jdk-headless",
        sign: Sign::Program("javac"),
        why: "the Java client, standard library alone",
    },
    Package { name: "nodejs", sign: Sign::Program("node"), why: "the vendors' SDKs for Node" },
    Package { name: "npm", sign: Sign::Program("npm"), why: "brings the vendors' SDKs for Node" },
    Package {
        name: "python3-venv",
        sign: Sign::PythonModule("ensurepip"),
        why: "keeps the vendors' SDKs for Python apart",
    },
];

/// The vendors' SDKs for Python.
const PYTHON: &[&str] = &["openai==3.54.0", "anthropic==2.12.0", "google-genai==3.4.0"];

/// The vendors' SDKs for Node, and a command-line client.
const NODE: &[&str] =
    &["openai@6.49.0", "@anthropic-ai/sdk@1.12.0", "@google/genai@2.32.0", "@anthropic-ai/claude-code@2.1.197"];

/// What `tests/clients` needs and is not there.
pub(crate) fn missing() -> Vec<Missing> {
    let mut missing: Vec<_> = debian::missing(LANGUAGES).collect();
    if !is_made(&python(), PYTHON) {
        missing.push(Missing {
            name: "Python SDKs".to_owned(),
            why: format!("{} (package registry, into target/clients)", PYTHON.join(", ")),
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

/// The virtual environment of the Python SDKs.
fn python() -> PathBuf {
    workspace::target().join("clients/python")
}

/// The folder with the Node SDKs' `node_modules`.
fn node() -> PathBuf {
    workspace::target().join("clients/node")
}

fn make_python() -> Result<()> {
    let folder = fresh(&python())?;
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    shell::run(
        Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON),
    )?;
    mark_made(&folder, PYTHON)
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
