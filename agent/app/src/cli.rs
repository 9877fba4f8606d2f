//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exec::ChildArgs;

/// An AI gateway that nobody has to call.
///
/// Connections to LLM providers are steered into a local proxy by the kernel. It opens their TLS, counts tokens and money,
/// and passes every byte through unchanged. Programs keep their base URL, their SDK and their key, and are not told.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 120, arg_required_else_help = true)]
#[command(after_help = "Try it: sudo tollgate exec -- curl https://api.openai.com/v1/models\n\
                        Docs:   docs/README.md in the source tree")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Meter every program on this node, until stopped
    ///
    /// Attaches to the root of the cgroup v2 tree, or to `intercept.cgroup`. SIGTERM drains: nothing new is taken over, streams
    /// in flight finish within `drain.timeout`, and the exit code is 0. A second SIGTERM ends at once. When the agent is gone,
    /// however it went, programs reach their providers directly.
    #[command(after_help = "Metrics, health and status: http://127.0.0.1:9464/")]
    Run(RunArgs),
    /// Meter one command and its children, and end with what it used
    ///
    /// The command runs as the user who called sudo, with that user's environment, terminal, signals and exit code, in a cgroup
    /// of its own. It trusts an authority that lives in memory and only as long as the command.
    #[command(
        after_help = "Examples:\n  sudo tollgate exec -- claude\n  sudo tollgate exec -- python3 app.py > answer.txt"
    )]
    Exec(ExecArgs),
    /// Make or show the certificate authority of `tollgate run`
    #[command(subcommand)]
    Ca(CaCommand),
    /// Look for whatever would keep Tollgate from working here, and say what to do about it
    #[command(after_help = "Exit code: 0 when nothing is in the way, 1 otherwise.")]
    Doctor(ConfigArgs),
    /// Show the version, and what it was built from
    Version,
    #[command(hide = true)]
    ExecChild(ChildArgs),
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; every key of it is optional [default: none]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Do not print the table at the end
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The command to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make the authority, once; it is kept in `ca.directory`, its key readable by root alone
    Init(CaInitArgs),
    /// Show the authority: its file, fingerprint, end, and the hosts it may sign for
    Show(CaShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CaInitArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Replace an authority that is there; programs that trust the old one must be told again
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CaShowArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print the certificate alone, in PEM
    #[arg(long)]
    pub(crate) pem: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_after_the_dashes_are_the_commands_own() {
        let cli = Cli::try_parse_from(["tollgate", "exec", "--", "claude", "--help", "-q"]).expect("parses");
        let Command::Exec(args) = cli.command else { panic!("exec was asked for") };
        assert_eq!(args.command, ["claude", "--help", "-q"]);
        assert!(!args.quiet);
    }
}
