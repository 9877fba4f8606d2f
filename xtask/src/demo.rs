//! `cargo xtask demo`: builds the agent and the demonstration, and runs it as root.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Part};
use crate::{privilege, shell, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised, as it is shipped; takes longer to build
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Part::Build, Part::Test])?;
    shell::step("Building the agent and the demonstration");
    let mut build = workspace::cargo("build");
    build.args(["--package=tollgate", "--package=tollgate-e2e", "--bins"]);
    if args.release {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    privilege::announce("the demonstration loads kernel programs and makes network namespaces")?;
    let profile = if args.release { "release" } else { "debug" };
    let mut demo: Command = privilege::as_root(workspace::target().join(profile).join("demo"));
    shell::run(&mut demo)
}
