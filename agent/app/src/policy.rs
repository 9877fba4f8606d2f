//! `tollgate policy`: what the policy makes of a call, whether it does what its owner expects, and what is spent.

mod budgets;
mod call;
mod cases;
mod explain;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

pub(crate) use self::budgets::{PAGE, page};
use self::call::CallArgs;
use crate::cli::{ConfigArgs, LedgerArgs};

const EXPLAIN_HELP: &str = "\
Examples:
  tollgate policy explain --config tollgate.yaml --unit search-api.service --model gpt-5
  tollgate policy explain --config tollgate.yaml --user alice --provider anthropic --model claude-opus-4-5 --stream
  sudo tollgate policy explain --config tollgate.yaml --pid 4711 --model gpt-5     a process that runs here
  tollgate policy explain --config tollgate.yaml --at 2026-11-28T23:00 --output json | jq .decision

What is not said is not there, except: the user is you, and the call is a chat with openai. Budgets and limits are named, not
asked: `tollgate policy budgets` tells what is left.

Exit code: 0, also when the call would be refused; 64 for a wrong command line or configuration, 66 when there is no such process.";

const TEST_HELP: &str = "\
A file of cases:
  cases:
    - name: research may use the large models
      call: { namespace: research, provider: anthropic, model: claude-opus-4-5, stream: true }
      expect: { decision: allow, team: research, budgets: [research-month] }
    - name: nobody works at night
      call: { unit: ci.service, model: gpt-5-mini, at: 2026-11-28T23:00:00+01:00 }
      expect: { decision: deny, rule: ci-small-models }

A call has the keys of `match`, and `labels`, `stream`, `max_output_tokens` and `at`. Expected may be `decision`, `rule`, `team`,
`clamp` (a number or `none`), `budgets` and `limits`; what is not named may be anything.

Example: tollgate policy test --config tollgate.yaml cases.yaml

Exit code: 0 when all hold, 1 when one does not, 64 for a wrong file.";

const BUDGETS_HELP: &str = "\
Asks the running agent, at `admin.listen`. Where none runs, the ledger tells.

Examples:
  sudo tollgate policy budgets --config /etc/tollgate/tollgate.yaml
  sudo tollgate policy budgets --config tollgate.yaml --output json | jq '.budgets[] | select(.left == \"0\")'

Exit code: 0; 66 when neither an agent nor a ledger is there, 77 when the ledger may not be read.";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say what becomes of a call: its team, the rule that decides, and why each other does not
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Box<ExplainArgs>),
    /// Run your own cases: calls, and what you expect to become of them
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Show what is spent of each budget, the fullest first
    #[command(after_help = BUDGETS_HELP)]
    Budgets(BudgetsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    call: CallArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The cases
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BudgetsArgs {
    #[command(flatten)]
    source: LedgerArgs,
    /// How many groups to show
    #[arg(short = 'n', long = "lines", value_name = "NUMBER", default_value_t = 50)]
    lines: usize,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For the eye
    #[default]
    Text,
    /// For programs
    Json,
}

/// Runs the command and gives the code to end with.
pub(crate) fn policy(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Explain(args) => explain::explain(args),
        PolicyCommand::Test(args) => cases::test(args),
        PolicyCommand::Budgets(args) => budgets::budgets(args),
    }
}
