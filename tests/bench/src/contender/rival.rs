//! What the contenders that others made have in common: where their packages are, their configuration, their version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Where `cargo xtask setup bench` installs, in cargo's target directory.
const FOLDER: &str = "bench/rivals";
/// What the setup writes last into each folder.
const MARK: &str = "installed.txt";

/// A file that setup installed into the folder of this name. Its absence is an error that says how to install it.
pub(super) fn installed(name: &str, file: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let made = own.ancestors().map(|folder| folder.join(FOLDER).join(name)).find(|folder| folder.join(MARK).is_file());
    let Some(folder) = made else {
        bail!("{name} is not installed; `cargo xtask setup bench` does that, or says why not")
    };
    Ok(folder.join(file))
}

/// The same as text, for command lines.
pub(super) fn program(name: &str, file: &str) -> Result<String> {
    installed(name, file)?.into_os_string().into_string().ok().context("the path of the target directory is not UTF-8")
}

/// A template with `{name}` replaced by its value, for each of these.
pub(super) fn fill(template: &str, values: &[(&str, &dyn std::fmt::Display)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &value.to_string()))
}

/// The first line that a program prints when asked for its version, on whichever output.
pub(super) fn version(program: impl AsRef<Path>, option: &str) -> Result<String> {
    let program = program.as_ref();
    let said =
        Command::new(program).arg(option).output().with_context(|| format!("cannot start {}", program.display()))?;
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(line.with_context(|| format!("{} does not tell its version", program.display()))?.to_owned())
}

/// The version of a package in the virtual environment of this name.
pub(super) fn python_version(name: &str, package: &str) -> Result<String> {
    let script = format!("import importlib.metadata; print(importlib.metadata.version({package:?}))");
    let said = Command::new(installed(name, "bin/python")?)
        .args(["-c", &script])
        .output()
        .with_context(|| format!("cannot ask the version of {package}"))?;
    Ok(format!("{package} {}", String::from_utf8_lossy(&said.stdout).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_and_other_braces_stay() {
        let text = fill("bind {address}; a: {b: {host}}", &[("address", &"127.0.0.1:1"), ("host", &"example.org")]);
        assert_eq!(text, "bind 127.0.0.1:1; a: {b: example.org}");
    }

    #[test]
    fn what_is_not_installed_says_how_to_install_it() {
        let error = installed("no-such-rival", "bin/x").expect_err("it does not exist");
        assert!(error.to_string().contains("cargo xtask setup bench"), "{error}");
    }

    #[test]
    fn a_version_is_the_first_line_of_either_output() {
        assert!(version("/usr/bin/env", "--version").expect("coreutils").contains("env"));
        assert!(version("/no/such/program", "-v").is_err());
    }
}
