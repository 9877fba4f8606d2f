//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tollgate_ledger::query::Dimension;

use crate::audit::AuditCommand;
use crate::exec::ChildArgs;
use crate::policy::PolicyCommand;
use crate::prices::PricesCommand;

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
    /// Add up what was used, by provider and model or whatever else is asked
    ///
    /// Reads the ledger that `tollgate run` and `tollgate exec` write, and may do so while they write. Sums are exact. What has no known price or no
    /// token count is told as such, never as $0.
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// Watch calls as they happen: in flight, tokens a second, dollars an hour
    #[command(after_help = TOP_HELP)]
    Top(TopArgs),
    /// Print calls as they end, a line each
    #[command(after_help = TAIL_HELP)]
    Tail(TailArgs),
    /// Show that the audit is what the agent wrote
    ///
    /// The audit is one JSON line for each decision that matters: refusals, clamps, budgets that run out, what rules on trial would have done,
    /// reloads, and whom the certificate authority could not serve. It says who, what and by which rule, and nothing of what a call says.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List what models cost, show where a price is from, or read another price list
    #[command(subcommand)]
    Prices(PricesCommand),
    /// Say what becomes of a call, run your own cases, and show what is spent of each budget
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Check a configuration, or print its JSON Schema
    #[command(subcommand)]
    Config(ConfigCommand),
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

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read a configuration and the files that it names, and say what is wrong or probably not meant
    #[command(
        after_help = "Example: tollgate config check tollgate.yaml\n\nExit code: 0 when it can be used, 64 when not."
    )]
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration, for editors and for whatever makes such files
    #[command(after_help = "Example: tollgate config schema > tollgate.schema.json\n\n\
        An editor with YAML's language server then helps in a file that begins with\n  \
        # yaml-language-server: $schema=tollgate.schema.json")]
    Schema,
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

const REPORT_HELP: &str = "\
Examples:
  tollgate report                                         everything, by provider and model
  tollgate report --by user --since month                 this month, by user
  tollgate report --by team,model --since month           this month, by the policy's teams
  tollgate report --by day,workload --since 7d            a week, day by day and program by program
  tollgate report --since 2026-11-01 --until 2026-12-01 --format csv --output november.csv
  tollgate report --model 'claude-*' --by program --format json | jq .total.cost_usd
  tollgate report --format focus --since 2026-11 --output focus.csv      for the FinOps tool

Times are spans back from now (30m, 24h, 7d, 2w), days (2026-11-01), months (2026-11), times (2026-11-01T09:30, or with an
offset), or now, today, yesterday, hour, week, month, year: the beginning of it. --until is the first moment left out.

Exit code: 0 also when nothing was used; 66 when there is no ledger, 77 when it may not be read, 64 for a wrong command line.";

const TOP_HELP: &str = "\
Keys: c cost, t tokens, n calls, e errors, f in flight, l first token, m model: sort; w workloads, b both, p pause, q quit.
Example for scripts: tollgate top --once";

const TAIL_HELP: &str = "\
Examples:
  tollgate tail --follow
  tollgate tail --since today --json | jq -r 'select(.error_type) | [.started, .program, .error_type] | @tsv'
The JSON lines are those of the agent's log.";

/// Where the ledger is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The ledger [default: what the configuration says]
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
}

/// Which calls.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    pub(crate) source: LedgerArgs,
    /// From then on; such as 24h, 7d, today, month, 2026-11-01
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Only these providers; may be given more than once, and hold * and ?
    #[arg(long, value_name = "GLOB")]
    pub(crate) provider: Vec<String>,
    /// Only these models
    #[arg(long, value_name = "GLOB")]
    pub(crate) model: Vec<String>,
    /// Only these programs
    #[arg(long, value_name = "GLOB")]
    pub(crate) program: Vec<String>,
    /// Only these users
    #[arg(long, value_name = "GLOB")]
    pub(crate) user: Vec<String>,
    /// Only these teams, as the policy names them
    #[arg(long, value_name = "GLOB")]
    pub(crate) team: Vec<String>,
    /// Only these cost centres
    #[arg(long, value_name = "GLOB")]
    pub(crate) cost_center: Vec<String>,
    /// Only what requests say to be for these
    #[arg(long, value_name = "GLOB")]
    pub(crate) end_user: Vec<String>,
    /// Only these SDKs
    #[arg(long, value_name = "GLOB")]
    pub(crate) user_agent: Vec<String>,
    /// Only these Kubernetes pods
    #[arg(long, value_name = "GLOB")]
    pub(crate) pod: Vec<String>,
    /// Only these Kubernetes namespaces
    #[arg(long, value_name = "GLOB")]
    pub(crate) namespace: Vec<String>,
    /// Only these Kubernetes service accounts
    #[arg(long, value_name = "GLOB")]
    pub(crate) service_account: Vec<String>,
    /// Days and times in UTC rather than local ones
    #[arg(long)]
    pub(crate) utc: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// What to group by, one or several: workload, program, user, unit, container, pod, namespace, service-account, team,
    /// cost-center, end-user, user-agent, credential, provider, model, operation, region, host, day, hour
    /// [default: provider,model]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) by: Vec<Dimension>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Up to then, and without it
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For the eye
    #[default]
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
    /// For finance: the columns of FOCUS 1.2, as CSV; one row a day (or hour, with --by hour), model, caller and kind of token
    Focus,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) source: LedgerArgs,
    /// Print one frame as plain text, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// How often to look
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    /// What rates are taken over
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// How many of the last calls to begin with [default: 10, or all with --since]
    #[arg(short = 'n', long = "lines", value_name = "NUMBER")]
    pub(crate) lines: Option<usize>,
    /// Go on with calls as they end
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// One JSON object a line, with all that is known
    #[arg(long)]
    pub(crate) json: bool,
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
