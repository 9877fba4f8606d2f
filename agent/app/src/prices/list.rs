use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use tollgate_llm::price::Kind;
use tollgate_llm::price::file::{Entry, File, LongPrompt, Rates};

use super::{ListArgs, ListFormat, files};
use crate::exit::{Coded, USAGE};
use crate::settings;

pub(super) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let files = files(&settings::load(&args.config)?)?;
    let wanted = |entry: &&Entry| args.provider.as_ref().is_none_or(|provider| *provider == entry.provider);
    let entries: Vec<(&str, &File, &Entry)> = files
        .iter()
        .flat_map(|(name, file)| file.prices.iter().filter(wanted).map(move |entry| (name.as_str(), file, entry)))
        .collect();
    if entries.is_empty() {
        let provider = args.provider.as_deref().unwrap_or_default();
        let known: Vec<&str> = super::show::providers(&files);
        let message = format!("no list has prices of `{provider}`; those that are known: {}", known.join(", "));
        return Err(Coded::new(USAGE, message).into());
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        ListFormat::Table => writeln!(out, "{}", table(&entries))?,
        ListFormat::Csv => {
            // In between, because the CSV writer's errors hide that a pipe was closed.
            let mut text = Vec::new();
            csv(&mut text, &entries)?;
            out.write_all(&text)?;
        }
        ListFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&json(&entries))?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(entries: &[(&str, &File, &Entry)]) -> Table {
    let now = SystemTime::now();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "provider",
        "model",
        "input",
        "output",
        "cache read",
        "cache write",
        "other $",
        "varies by",
        "list",
    ]);
    for (name, _, entry) in entries {
        let (rates, tiers) = entry.at(now);
        let rate = |wanted: Kind| {
            let found = rates.iter().find(|(kind, _)| *kind == wanted);
            found.map(|(_, rate)| rate.to_string()).unwrap_or_default()
        };
        let shown = [Kind::Input, Kind::Output, Kind::CacheRead, Kind::CacheWrite];
        let other: Vec<String> = rates
            .iter()
            .filter(|(kind, _)| !shown.contains(kind))
            .map(|(kind, rate)| format!("{kind} {rate}"))
            .chain(entry.multiply.map(|factor| format!("× {factor}")))
            .collect();
        let [input, output, read, write] = shown.map(rate);
        let varies = varies(entry, tiers);
        table.add_row([
            &entry.provider,
            &entry.model,
            &input,
            &output,
            &read,
            &write,
            &other.join(", "),
            &varies,
            *name,
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What else the price depends on, in a few words.
fn varies(entry: &Entry, tiers: &[LongPrompt]) -> String {
    let mut by = Vec::new();
    by.extend((!tiers.is_empty()).then(|| "length".to_owned()));
    by.extend(entry.variants.iter().map(|variant| variant.tier.as_str().to_owned()));
    by.extend((!entry.periods.is_empty() || entry.from.is_some() || entry.until.is_some()).then(|| "time".to_owned()));
    by.extend((!entry.regions.is_empty() || !entry.except_regions.is_empty()).then(|| "region".to_owned()));
    by.join(", ")
}

/// A line a rate: everything there is, in a form for other programs.
fn csv(out: &mut impl Write, entries: &[(&str, &File, &Entry)]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "list",
        "provider",
        "model",
        "names",
        "kind",
        "usd",
        "unit",
        "context_over",
        "service_tier",
        "from",
        "until",
        "hours_utc",
        "regions",
        "source",
        "date",
    ])?;
    for (name, file, entry) in entries {
        let day = |day: Option<tollgate_llm::price::file::Day>| day.map(|day| day.to_string()).unwrap_or_default();
        let mut write = |rates: &Rates, over: u64, tier: &str, from: String, until: String, hours: String| {
            rates.iter().try_for_each(|(kind, rate)| {
                let over = if over == 0 { String::new() } else { over.to_string() };
                let regions = entry.regions.join(" ");
                let names = entry.names.join(" ");
                let source = entry.source.as_ref().unwrap_or(&file.source);
                let date = entry.date.unwrap_or(file.date).to_string();
                csv.write_record([
                    *name,
                    &entry.provider,
                    &entry.model,
                    &names,
                    kind.as_str(),
                    &rate.to_string(),
                    kind.unit(),
                    &over,
                    tier,
                    &from,
                    &until,
                    &hours,
                    &regions,
                    source,
                    &date,
                ])
            })
        };
        let (from, until) = (day(entry.from), day(entry.until));
        write(&entry.rates, 0, "standard", from.clone(), until.clone(), String::new())?;
        for tier in &entry.tiers {
            write(&tier.rates, tier.context_over, "standard", from.clone(), until.clone(), String::new())?;
        }
        for period in &entry.periods {
            let hours = period.hours.map(|hours| hours.to_string()).unwrap_or_default();
            write(&period.rates, 0, "standard", day(period.from), day(period.until), hours.clone())?;
            for tier in &period.tiers {
                write(&tier.rates, tier.context_over, "standard", day(period.from), day(period.until), hours.clone())?;
            }
        }
        for variant in &entry.variants {
            let tier = variant.tier.as_str();
            write(&variant.rates, 0, tier, day(variant.from), day(variant.until), String::new())?;
            for long in &variant.tiers {
                write(&long.rates, long.context_over, tier, day(variant.from), day(variant.until), String::new())?;
            }
        }
    }
    csv.flush()?;
    Ok(())
}

fn json(entries: &[(&str, &File, &Entry)]) -> Value {
    entries
        .iter()
        .map(|(name, file, entry)| {
            let mut value = serde_json::to_value(entry).unwrap_or_default();
            value["list"] = json!(name);
            value["source"] = json!(entry.source.as_ref().unwrap_or(&file.source));
            value["date"] = json!(entry.date.unwrap_or(file.date).to_string());
            value
        })
        .collect()
}
