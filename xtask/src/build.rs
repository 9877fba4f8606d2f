//! `cargo xtask build`: every crate, and the kernel programs, which `agent/kernel`'s build script makes.

use anyhow::Result;

use crate::{setup, shell, trained, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised: target/release/tollgate
    #[arg(long)]
    release: bool,
    /// Optimised for what it does, as it is shipped: the agent is built, watched under the benchmark's load, and built again from what was
    /// seen. A quarter of an hour, and root for the load: target/trained/tollgate
    #[arg(long, conflicts_with = "release")]
    trained: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.trained {
        let agent = trained::build()?;
        shell::note(&format!("The agent is {}", agent.display()));
        return Ok(());
    }
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
