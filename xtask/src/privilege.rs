//! Root: who has it, why a step needs it, and sudo for that step alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Whether this process may do what root may.
pub(crate) fn is_root() -> bool {
    // The kernel gives a process's folder the process's effective user.
    std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// Says why the next step needs root, and makes sure that it can be had. Silent for root.
pub(crate) fn announce(why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    shell::note(&format!("Root is needed: {why}. Using sudo for this step alone."));
    if shell::find_program("sudo").is_none() {
        bail!("root is needed ({why}) and there is no sudo: run this command as root");
    }
    Ok(())
}

/// A command that runs as root. Call [`announce`] first.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    let mut words = sudo().into_iter().chain([program.as_ref().to_owned()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The words before a command that make it root's: none for root. The caller's environment is kept, and PATH is given again because
/// sudo puts its own in its place, without the tools in the caller's home.
pub(crate) fn sudo() -> Vec<OsString> {
    if is_root() {
        return Vec::new();
    }
    let mut path = OsString::from("PATH=");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    vec!["sudo".into(), "--preserve-env".into(), "env".into(), path]
}
