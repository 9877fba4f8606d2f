//! Root for the tests that need it and no others: for a user who is not root, cargo hands each test executable to
//! `xtask run-test`, which puts sudo before it or not, by its package.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use super::{CLIENTS, E2E};
use crate::{privilege, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The executable and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The cargo setting that makes this process run the tests.
pub(crate) fn setting() -> Result<String> {
    let own = std::env::current_exe().context("this executable has no path")?;
    let own = own.to_str().context("the path of the target folder is not UTF-8")?;
    // A JSON list of strings is a TOML array.
    Ok(format!("target.'cfg(all())'.runner = {}", serde_json::json!([own, "run-test"])))
}

/// Becomes the test executable.
pub(crate) fn run(args: &Args) -> ExitCode {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let words = command_line(&package, &args.command);
    let Some((program, rest)) = words.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(rest).exec();
    shell::failure(&format!("cannot start {}: {error}", program.to_string_lossy()));
    ExitCode::FAILURE
}

fn command_line(package: &str, command: &[OsString]) -> Vec<OsString> {
    let before = if E2E.contains(&package) || CLIENTS.contains(&package) { privilege::sudo() } else { Vec::new() };
    before.into_iter().chain(command.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_need_no_root_are_started_as_they_are() {
        let command: Vec<OsString> = vec!["/t/debug/deps/llm-1".into(), "--nocapture".into()];
        assert_eq!(command_line("tollgate-llm", &command), command);
    }

    #[test]
    fn tests_that_need_root_get_sudo_unless_this_is_root() {
        let words = command_line("tollgate-kernel", &["/t/debug/deps/kernel-1".into()]);
        let by_sudo = words.first().is_some_and(|word| word == "sudo");
        assert_eq!(by_sudo, !privilege::is_root());
        assert_eq!(words.last().and_then(|word| word.to_str()), Some("/t/debug/deps/kernel-1"));
    }
}
