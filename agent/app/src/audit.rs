//! The audit: what is written into it, and `tollgate audit verify`.

mod entries;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tollgate_audit::{Audit, AuditError, Entry, Noted, Report, Settings, What, verify};
use tollgate_config::Config;
use tollgate_ledger::thousands;

pub(crate) use self::entries::{policy, trust_refused, window_word};
use crate::cli::ConfigArgs;
use crate::exit::{Coded, DATA, NO_INPUT, NO_PERMISSION};
use crate::settings;

/// What can be done with the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look whether each line is as it was written, and none is missing between them
    ///
    /// Each line holds the SHA-256 of the one before, over the borders of files too. What was changed, removed or moved is found at the
    /// first line that does not go with the one before. Lines at the end can be removed unseen, and whoever may write there can write all
    /// anew: note the end now and then in another place, as the log does when an agent stops, and give it with --noted.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
}

const VERIFY_HELP: &str = "\
Examples:
  tollgate audit verify
  tollgate audit verify /var/log/tollgate --noted 4711:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  jq -c 'select(.what == \"refused\") | [.time, .who.user, .who.program, .name]' /var/log/tollgate/audit.jsonl

A line that a crash or a full disk tore is told, and is no error: the line behind it says so, and is in the chain.

Exit code: 0 when all is as it was written, 65 when not, 66 when there is no audit, 77 when it may not be read, 64 for a wrong command line.";

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The folder of the audit, or one file of it [default: what the configuration says]
    #[arg(value_name = "DIR")]
    path: Option<PathBuf>,
    /// A line that must be there, by its number and hash
    #[arg(long, value_name = "LINE:HASH")]
    noted: Option<Noted>,
}

/// Starts it, where one is kept. It must be closed after the runtime has ended.
pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Arc<Audit>>> {
    let Some(directory) = config.audit.directory.clone() else { return Ok(None) };
    let settings = Settings { directory, max_size: config.audit.max_size, keep: config.audit.keep as usize };
    let audit = Audit::start(settings).context("the audit's thread cannot be started")?;
    Ok(Some(Arc::new(audit)))
}

/// An entry of the agent's own, in words of ours.
pub(crate) fn note(audit: Option<&Audit>, what: What, detail: impl Into<Arc<str>>) {
    if let Some(audit) = audit {
        audit.note(Entry { detail: Some(detail.into()), ..Entry::new(what) });
    }
}

pub(crate) fn audit(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify(args) = command;
    let path = if let Some(path) = &args.path {
        path.clone()
    } else {
        let off = "audit.directory is off, so no audit is kept; name a folder";
        settings::load(&args.config)?.audit.directory.ok_or_else(|| Coded::new(NO_INPUT, off))?
    };
    let report = verify(&path, args.noted.clone()).map_err(|error| told(&error))?;
    std::io::stdout().lock().write_all(summary(&report).as_bytes())?;
    if let Some(at) = &report.broken {
        return Err(Coded::new(DATA, format!("{}:{}: {}", at.file.display(), at.line, at.why)).into());
    }
    if let Some(noted) = args.noted.as_ref().filter(|_| report.is_as_noted == Some(false)) {
        let what = "is not there as it was noted: lines were removed, or all was written anew";
        return Err(Coded::new(DATA, format!("line {} {what}", noted.line)).into());
    }
    Ok(ExitCode::SUCCESS)
}

fn told(error: &AuditError) -> anyhow::Error {
    let (code, next) = if error.is_missing() {
        (NO_INPUT, "; `tollgate run` begins one, and a DIR behind `verify` names another")
    } else if error.is_denied() {
        (NO_PERMISSION, "; it is for its owner alone. Try it with sudo")
    } else {
        (1, "")
    };
    Coded::new(code, format!("{error}{next}")).into()
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    let mut add = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a string takes whatever comes");
    let number = |number: u64, one: &str| format!("{} {one}{}", thousands(number), if number == 1 { "" } else { "s" });
    let state = if report.broken.is_some() { "read up to what is wrong" } else { "each goes with the one before" };
    add(format_args!("{} in {}: {state}", number(report.lines, "line"), number(report.files, "file")));
    if let Some(first) = report.first.filter(|first| *first > 1) {
        add(format_args!("the first is line {first}; those before it are gone with old files"));
    }
    if let Some((line, hash)) = &report.last {
        add(format_args!("the last is line {line}:{hash}"));
    }
    if report.torn > 0 {
        add(format_args!("{} torn by a crash or a full disk, as the audit says itself", number(report.torn, "line")));
    }
    if report.is_unfinished {
        add(format_args!("the last line has no end yet: it is being written, or was torn by a crash"));
    }
    if report.dropped > 0 {
        add(format_args!("{} had no room while it could not be written", number(report.dropped, "decision")));
    }
    text
}
