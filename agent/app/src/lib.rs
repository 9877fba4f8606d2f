//! The `tollgate` command: puts the parts together, and stands between them and the process.

#![forbid(unsafe_code)]

mod agent;
mod audit;
mod books;
mod ca;
mod cli;
mod control;
mod doctor;
mod enforce;
mod exec;
mod exit;
mod logs;
mod observe;
mod pods;
mod policy;
mod prices;
mod reload;
mod report;
mod run;
mod seeds;
mod settings;
mod tail;
mod top;
mod version;

use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};

/// Runs the command line that the process was given, and gives the code to exit with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            // A closed terminal is no reason for another code.
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Exec(args) => exec::exec(&args),
        Command::Audit(command) => audit::audit(&command),
        Command::Ca(command) => ca::ca(&command),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Prices(command) => prices::prices(&command),
        Command::Report(args) => report::report(&args),
        Command::Top(args) => top::top(&args),
        Command::Tail(args) => tail::tail(&args),
        Command::Policy(command) => policy::policy(&command),
        Command::Config(command) => settings::config(&command),
        Command::Version => version::version(),
        Command::ExecChild(args) => exec::become_child(&args).map(|never| match never {}),
    };
    result.unwrap_or_else(|error| exit::tell(&error))
}
