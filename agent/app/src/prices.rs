//! `tollgate prices`: what models cost, and why that is thought.

mod import;
mod list;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use tollgate_config::Config;
use tollgate_llm::price::{bundled_files, file::File};

use crate::cli::ConfigArgs;
use crate::settings;

const SHOW_HELP: &str = "\
Examples:
  tollgate prices show claude-sonnet-4-5
  tollgate prices show us.anthropic.claude-opus-4-5-20251101-v1:0 --provider aws.bedrock
  tollgate prices show deepseek-chat --at 2025-05-05

Exit code: 0 when a price is known, 1 otherwise.";

const IMPORT_HELP: &str = "\
Examples:
  tollgate prices import model_prices_and_context_window.json --output /etc/tollgate/litellm.yaml
  curl -s https://models.dev/api.json | tollgate prices import - --provider alibaba > alibaba.yaml

The result goes into `prices.files` of the configuration. What cannot be said exactly is left out, with the reason on stderr:
half a price would be a wrong one.";

#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// List the prices that are known, the ones that count first
    List(ListArgs),
    /// Show what a model costs, from where and when the price is, and which name matched
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Make a file of prices out of another list: LiteLLM's, models.dev's or genai-prices'
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this provider's
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value = "table")]
    format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// For reading: one line a model, its usual rates
    Table,
    /// One line a rate, all of them
    Csv,
    /// An array of entries, as price files have them
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The model's name, as a request or an answer has it
    #[arg(value_name = "MODEL")]
    model: String,
    /// Only at this provider [default: wherever it is known]
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// In this region of the provider
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// On that day, in UTC [default: now]
    #[arg(long, value_name = "DATE")]
    at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The list; `-` for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose list it is [default: by its looks]
    #[arg(long, value_enum)]
    format: Option<ImportFormat>,
    /// Only these providers' prices; may be given more than once
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// Where the list is from, to be shown with every price [default: its kind and name]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The day on which it was right [default: today]
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// Where to write [default: stdout]; a file that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportFormat {
    /// LiteLLM's `model_prices_and_context_window.json`
    #[value(name = "litellm")]
    LiteLlm,
    /// The `api.json` of models.dev
    #[value(name = "models.dev")]
    ModelsDev,
    /// The `data.json` of genai-prices
    GenaiPrices,
}

/// Runs the command and gives the code to end with.
pub(crate) fn prices(command: &PricesCommand) -> anyhow::Result<ExitCode> {
    match command {
        PricesCommand::List(args) => list::list(args),
        PricesCommand::Show(args) => show::show(args),
        PricesCommand::Import(args) => import::import(args),
    }
}

/// All files with their names, the one that counts first first: as [`tollgate_llm::Prices`] has its layers.
fn files(config: &Config) -> anyhow::Result<Vec<(String, File)>> {
    let mut files = settings::price_files(config)?;
    files.reverse();
    files.extend(bundled_files().map(|(name, file)| (name.to_owned(), file)));
    Ok(files)
}
