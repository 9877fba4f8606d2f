//! The clients that nobody here wrote, at pinned versions: what `tests/clients` starts against the agent. Languages come from Debian;
//! SDKs from their registries into `target/clients`, one folder a runtime, made anew when its list in `tests/clients` changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::debian::{self, Package, Sign};
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
    if !lock_of_node().is_ok_and(|lock| is_made(&node(), &lock)) {
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
        .filter_map(|version| Some(Python { version: (*version).to_owned(), program: interpreter(version)? }))
        .collect();
    if !found.is_empty() {
        return found;
    }
    let program = PathBuf::from("python3");
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = shell::output(Command::new(&program).args(["-c", print])).unwrap_or_else(|_| "3".to_owned());
    vec![Python { version: version.trim().to_owned(), program }]
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

/// A virtual environment: one Python and one list of packages, each pinned by version and hash.
struct Environment {
    python: PathBuf,
    packages: PathBuf,
    folder: PathBuf,
}

fn environments(pythons: &[Python]) -> Vec<Environment> {
    let environment = |python: &Python, list: &str, suffix: &str| Environment {
        python: python.program.clone(),
        packages: sources().join("python").join(list),
        folder: folder(&format!("python{}{suffix}", python.version)),
    };
    let with = |python, lists: &[(&str, &str)]| -> Vec<_> {
        lists.iter().map(|(list, suffix)| environment(python, list, suffix)).collect()
    };
    let once = pythons.first().into_iter().flat_map(|python| with(python, PYTHON_ONCE));
    pythons.iter().flat_map(|python| with(python, PYTHON)).chain(once).collect()
}

impl Environment {
    fn is_made(&self) -> bool {
        std::fs::read_to_string(&self.packages).is_ok_and(|list| is_made(&self.folder, &list))
    }

    fn make(&self) -> Result<()> {
        let list = read(&self.packages)?;
        let folder = fresh(&self.folder)?;
        shell::run(Command::new(&self.python).args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--only-binary=:all:",
            "--requirement",
        ]);
        shell::run(pip.arg(&self.packages))?;
        mark_made(&folder, &list)
    }
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
    let folder = fresh(&node())?;
    for file in ["package.json", "package-lock.json"] {
        let from = sources().join("node").join(file);
        std::fs::copy(&from, folder.join(file)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    // No scripts: these come from strangers, and what they would do is not needed.
    let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::run(Command::new("npm").args(options).current_dir(&folder))?;
    mark_made(&folder, &lock_of_node()?)
}

fn lock_of_node() -> Result<String> {
    read(&sources().join("node/package-lock.json"))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The scripts and the lists of packages.
fn sources() -> PathBuf {
    workspace::root().join("tests/clients")
}

fn folder(name: &str) -> PathBuf {
    workspace::target().join("clients").join(name)
}

/// The folder with the Node SDKs' `node_modules`.
fn node() -> PathBuf {
    folder("node")
}

/// The folder whose mark lists the Pythons that have environments.
fn tried() -> PathBuf {
    folder("pythons")
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

fn mark_made(folder: &Path, list: &str) -> Result<()> {
    std::fs::write(mark(folder), list).with_context(|| format!("cannot write to {}", folder.display()))
}

fn is_made(folder: &Path, list: &str) -> bool {
    std::fs::read_to_string(mark(folder)).is_ok_and(|text| text == list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_anew_when_the_list_changes_or_the_last_run_was_cut_short() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        assert!(!is_made(folder.path(), "a==1"), "nothing is installed yet");
        mark_made(folder.path(), "a==1").expect("writable");
        assert!(is_made(folder.path(), "a==1"));
        assert!(!is_made(folder.path(), "a==2"));
        let folder = fresh(folder.path()).expect("can be removed and made");
        assert!(!is_made(&folder, "a==1"));
    }
}
