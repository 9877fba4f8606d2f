//! Every task a developer or CI runs, one file each. `cargo xtask --help` lists them.
//!
//! A task says what it does before it does it, asks for root only for the step that needs it, and prints the commands it runs,
//! so that anyone can run them by hand.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod check;
mod clients;
mod demo;
mod gate;
mod privilege;
mod setup;
mod shell;
mod test;
mod trained;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Every task of this project behind one door",
    after_help = "New here?\n  cargo xtask demo     see it work: installs what is missing, builds, runs (some minutes the first time)\n  \
                  cargo xtask test     build and run every test\n\nRoot is needed to load kernel programs and to make network namespaces. \
                  As another user, a task says so and uses sudo for that step alone."
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need, after saying what and why; does nothing where all is there
    Setup(setup::Args),
    /// Build everything, the kernel programs included
    Build(build::Args),
    /// Run the tests: all of them, or some suites
    Test(test::Args),
    /// Formatting, lints, dependency rules, documentation, links: what CI checks beside the tests
    Check,
    /// Show it: an unmodified client, its streamed answer, tokens and cost, and what a crash of the agent does to it
    Demo(demo::Args),
    /// Measure it beside what others would pick: throughput, latency, streams, memory; or count instructions (--gate)
    Bench(bench::Args),
    /// What `cargo test` calls in place of a test executable when the user is not root
    #[command(hide = true)]
    RunTest(test::runner::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::Build(args) => build::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Check => check::run(),
        Task::Demo(args) => demo::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::RunTest(args) => return test::runner::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
