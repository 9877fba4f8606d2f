//! `cargo xtask build`: every crate, and the kernel programs, which `agent/kernel`'s build script makes.

use anyhow::Result;

use crate::{setup, shell, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised, as it is shipped: target/release/tollgate
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[setup::Part::Build])?;
    shell::step("Building the agent and its kernel programs");
    let mut command = workspace::cargo("build");
    command.arg("--workspace");
    if args.release {
        command.arg("--release");
    }
    shell::run(&mut command)?;
    let profile = if args.release { "release" } else { "debug" };
    shell::note(&format!("The agent is {}", workspace::target().join(profile).join("tollgate").display()));
    Ok(())
}
