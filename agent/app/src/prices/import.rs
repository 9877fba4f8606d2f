use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use tollgate_llm::price::check;
use tollgate_llm::price::file::Day;
use tollgate_llm::price::import::{Format, Imported};

use super::{ImportArgs, ImportFormat};
use crate::exit::{Coded, NO_INPUT, USAGE};

/// Largest list that is read: twenty times the largest there is.
const LIMIT: u64 = 64 << 20;

/// How many names stand with a reason.
const NAMED: usize = 4;

pub(super) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let name = if args.file == Path::new("-") { "stdin".into() } else { args.file.display().to_string() };
    let text = read(&args.file).map_err(|error| {
        Coded::new(NO_INPUT, format!("cannot read {name}: {error}; check the path, or give `-` for stdin"))
    })?;
    let wrong = |error: &dyn std::fmt::Display| Coded::new(USAGE, format!("{name}: {error}"));
    let format = match args.format {
        Some(ImportFormat::LiteLlm) => Format::LiteLlm,
        Some(ImportFormat::ModelsDev) => Format::ModelsDev,
        Some(ImportFormat::GenaiPrices) => Format::GenaiPrices,
        None => Format::guess(&text).map_err(|error| wrong(&error))?,
    };
    let date = match &args.date {
        None => Day::of(SystemTime::now()),
        Some(day) => day.parse().map_err(|reason| {
            Coded::new(USAGE, format!("--date: `{day}` is not a day: {reason}; write it as 2026-10-30"))
        })?,
    };
    let source = match (&args.source, args.file.file_name()) {
        (Some(source), _) => source.clone(),
        (None, Some(file)) if name != "stdin" => format!("{format}, {}", file.display()),
        (None, _) => format.to_string(),
    };
    let mut imported = format.import(&text, &source, date).map_err(|error| wrong(&error))?;
    keep_wanted(args, &mut imported)?;
    if let Some(complaint) = check(&imported.file).first() {
        let model = &imported.file.prices[complaint.index].model;
        return Err(wrong(&format_args!(
            "`{model}`: {}; leave it out with --provider, and tell us",
            complaint.message
        ))
        .into());
    }
    match &args.output {
        None => io::stdout().lock().write_all(imported.file.to_json().as_bytes())?,
        Some(path) => {
            write(path, &imported.file.to_json()).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    tell(&imported, args.output.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(LIMIT + 1).read_to_string(&mut text)
    } else {
        File::open(path)?.take(LIMIT + 1).read_to_string(&mut text)
    };
    if read? as u64 > LIMIT { Err(io::Error::other(format!("it is larger than {LIMIT} bytes"))) } else { Ok(text) }
}

fn keep_wanted(args: &ImportArgs, imported: &mut Imported) -> anyhow::Result<()> {
    if args.provider.is_empty() {
        return Ok(());
    }
    let file = &mut imported.file;
    let mut known: Vec<String> = file.prices.iter().map(|entry| entry.provider.clone()).collect();
    known.sort_unstable();
    known.dedup();
    if let Some(unknown) = args.provider.iter().find(|provider| !known.contains(provider)) {
        let message = format!("the list has no prices of `{unknown}`; it has some of {}", known.join(", "));
        return Err(Coded::new(USAGE, message).into());
    }
    file.prices.retain(|entry| args.provider.contains(&entry.provider));
    file.providers.retain(|entry| args.provider.contains(&entry.provider));
    Ok(())
}

/// Replaces a file at once: an agent that starts meanwhile reads the old one or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// What became of the list, for whoever is to trust it.
fn tell(imported: &Imported, output: Option<&Path>) {
    let place = output.map(|path| format!(" into {}", path.display())).unwrap_or_default();
    eprintln!("{} prices{place}", imported.file.prices.len());
    for (reason, names) in &imported.skipped {
        let more = if names.len() > NAMED { ", …" } else { "" };
        eprintln!("left out {}: {reason} ({}{more})", names.len(), names[..names.len().min(NAMED)].join(", "));
    }
    if let Some(path) = output {
        eprintln!("It counts once `prices.files` of the configuration names {}.", path.display());
    }
}
