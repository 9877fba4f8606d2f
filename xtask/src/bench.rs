//! `cargo xtask bench`: builds the agent and the benchmark, and runs it as root; or counts instructions (`--gate`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::setup::{self, Part};
use crate::{gate, privilege, shell, trained, workspace};

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Args {
    /// Less than three minutes instead of twenty-five: fewer rounds, cases and contenders
    #[arg(long)]
    quick: bool,
    /// Only these figures, by comma
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders, by comma
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// At most so many rounds of each figure
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// List the figures and contenders there are
    #[arg(long)]
    list: bool,
    /// Where the results go; target/bench unless set
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Measure the agent that `cargo xtask build --trained` makes, as it is shipped. It is made first, which takes a quarter of an hour
    #[arg(long, conflicts_with_all = ["list", "gate"])]
    trained: bool,
    /// Count instructions and compare them with the baseline instead: what CI does, where seconds tell nothing
    #[arg(long, conflicts_with_all = ["quick", "only", "contenders", "rounds", "list", "out"])]
    gate: bool,
    /// With --gate: write a new baseline
    #[arg(long, requires = "gate")]
    renew: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.gate {
        let tally = gate::run(args.renew)?;
        println!("total: {tally}");
        ensure!(tally.failed == 0, "more instructions than the baseline has");
        return Ok(());
    }
    let trained = if args.trained { Some(trained::build()?) } else { None };
    setup::ensure(&[Part::Build, Part::Test, Part::Bench])?;
    shell::step("Building the agent and the benchmark, optimised");
    let mut build = workspace::cargo("build");
    build.args(["--release", "--package=tollgate", "--package=tollgate-bench", "--bins"]);
    shell::run(&mut build)?;
    let program = workspace::target().join("release/bench");
    if args.list {
        return shell::run(Command::new(program).arg("--list"));
    }
    privilege::announce("the benchmark loads kernel programs and makes network namespaces")?;
    let mut bench = privilege::as_root(program);
    if let Some(agent) = trained {
        bench.env("TOLLGATE_BIN", agent);
    }
    bench.args(args.quick.then_some("--quick"));
    for (option, names) in [("--only", &args.only), ("--contenders", &args.contenders)] {
        bench.args((!names.is_empty()).then(|| format!("{option}={}", names.join(","))));
    }
    bench.args(args.rounds.map(|rounds| format!("--rounds={rounds}")));
    bench.arg("--out").arg(args.out.clone().unwrap_or_else(|| workspace::target().join("bench")));
    shell::run(&mut bench)
}
