//! The step between us and the command that `exec` runs: enters the cgroup, becomes the calling user, and is replaced.
//!
//! A process of its own, because all three change the process they are done in, and doing them between `fork` and `exec`
//! would need `unsafe`. It starts with an empty environment, since it is still root and the user's may name libraries to
//! load; the command's environment comes through a pipe, since it holds keys and arguments are public.

use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use nix::unistd::{Gid, Uid, initgroups, setgid, setgroups, setuid};

use super::user::{CallingUser, parse_environ};
use crate::exit::{CANNOT_EXECUTE, Coded, NOT_FOUND};

/// What the hidden `exec-child` command is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// The cgroup to enter.
    #[arg(long)]
    cgroup: PathBuf,
    /// The user to become.
    #[arg(long)]
    uid: u32,
    /// The user's primary group.
    #[arg(long)]
    gid: u32,
    /// The user's name, for supplementary groups.
    #[arg(long)]
    user: Option<String>,
    /// The file descriptor from which the command's environment is read.
    #[arg(long)]
    environment: i32,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// The command line that makes us do this step.
pub(crate) fn command_line(
    user: &CallingUser,
    cgroup: &Path,
    environment: BorrowedFd<'_>,
    command: &[OsString],
) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec!["exec-child".into(), "--cgroup".into(), cgroup.into()];
    line.extend(["--environment".into(), environment.as_raw_fd().to_string().into()]);
    line.extend(["--uid".into(), user.uid.to_string().into(), "--gid".into(), user.gid.to_string().into()]);
    if let Some(name) = &user.name {
        line.extend(["--user".into(), name.into()]);
    }
    line.push("--".into());
    line.extend_from_slice(command);
    line
}

/// Does the step. Returns only if it failed.
pub(crate) fn become_child(args: &ChildArgs) -> anyhow::Result<std::convert::Infallible> {
    let procs = args.cgroup.join("cgroup.procs");
    std::fs::write(&procs, "0").with_context(|| format!("cannot enter the cgroup through {}", procs.display()))?;
    // Opened by its path in `/proc`, while we may still do so.
    let environment = std::fs::read(format!("/proc/self/fd/{}", args.environment))
        .map(|bytes| parse_environ(&bytes))
        .context("cannot read the command's environment")?;
    // The command inherits nothing of ours.
    nix::unistd::close(args.environment).context("cannot close the pipe")?;
    become_user(args)?;
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    // `exec` of the standard library also undoes what its runtime did to signals.
    let error = Command::new(program).args(arguments).env_clear().envs(environment).exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE };
    Err(Coded::new(code, format!("{}: {error}", program.display())).into())
}

fn become_user(args: &ChildArgs) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::from_raw(args.uid), Gid::from_raw(args.gid));
    if uid == Uid::current() {
        return Ok(());
    }
    match &args.user {
        Some(name) => initgroups(&CString::new(name.as_str())?, gid).context("cannot take on the user's groups")?,
        None => setgroups(&[]).context("cannot drop our groups")?,
    }
    setgid(gid).context("cannot take on the user's group")?;
    setuid(uid).context("cannot become the calling user")
}
