//! Folders of packages from their registries, in cargo's target directory: each with a mark of what was installed, made anew when that
//! changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// A virtual environment: one Python and one list of packages, each pinned by version and hash.
pub(crate) struct Environment {
    /// The interpreter that it is made with.
    pub(crate) python: PathBuf,
    /// The list, in pip's format.
    pub(crate) packages: PathBuf,
    /// Where it is.
    pub(crate) folder: PathBuf,
}

impl Environment {
    /// Whether it holds what the list names.
    pub(crate) fn is_made(&self) -> bool {
        std::fs::read_to_string(&self.packages).is_ok_and(|list| is_made(&self.folder, &list))
    }

    /// Makes it anew.
    pub(crate) fn make(&self) -> Result<()> {
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

/// A `node_modules`, of a folder with `package.json` and `package-lock.json`.
pub(crate) struct Modules {
    /// The folder with the two files.
    pub(crate) sources: PathBuf,
    /// Where it is.
    pub(crate) folder: PathBuf,
}

impl Modules {
    /// Whether it holds what the lock names.
    pub(crate) fn is_made(&self) -> bool {
        self.lock().is_ok_and(|lock| is_made(&self.folder, &lock))
    }

    /// Makes it anew.
    pub(crate) fn make(&self) -> Result<()> {
        let folder = fresh(&self.folder)?;
        for file in ["package.json", "package-lock.json"] {
            let from = self.sources.join(file);
            std::fs::copy(&from, folder.join(file)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        // No scripts: these come from strangers, and what they would do is not needed.
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        shell::run(Command::new("npm").args(options).current_dir(&folder))?;
        mark_made(&folder, &self.lock()?)
    }

    fn lock(&self) -> Result<String> {
        read(&self.sources.join("package-lock.json"))
    }
}

/// A Python of this version, such as 3.12, on the PATH or under pyenv.
pub(crate) fn python(version: &str) -> Option<PathBuf> {
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

/// The folder, empty.
pub(crate) fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// Writes down what was installed into the folder: the last file, so that an interrupted or older folder has none, or another.
pub(crate) fn mark_made(folder: &Path, list: &str) -> Result<()> {
    std::fs::write(mark(folder), list).with_context(|| format!("cannot write to {}", folder.display()))
}

/// Whether exactly this was installed into the folder.
pub(crate) fn is_made(folder: &Path, list: &str) -> bool {
    std::fs::read_to_string(mark(folder)).is_ok_and(|text| text == list)
}

fn mark(folder: &Path) -> PathBuf {
    folder.join("installed.txt")
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
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
