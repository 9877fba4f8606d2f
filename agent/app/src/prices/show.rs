use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use tollgate_llm::price::file::{Day, Entry, File, LongPrompt, Rates};
use tollgate_llm::price::{Kind, Match};

use super::{ShowArgs, files};
use crate::exit::{Coded, USAGE};
use crate::settings;

/// How many names are suggested.
const SUGGESTIONS: usize = 5;

pub(super) fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.config)?;
    let at = match &args.at {
        None => SystemTime::now(),
        Some(day) => day.parse::<Day>().map(Day::time).map_err(|reason| {
            Coded::new(USAGE, format!("--at: `{day}` is not a day: {reason}; write it as 2026-10-30"))
        })?,
    };
    let (files, prices) = (files(&config)?, settings::prices(&config)?);
    let known = providers(&files);
    let asked: Vec<&str> = match &args.provider {
        Some(provider) => vec![provider],
        None => known.clone(),
    };
    let find = |provider: &&str| {
        let matches = prices.find(provider, args.region.as_deref(), &args.model, at);
        matches.last().filter(|found| found.has_rates)?;
        Some(((*provider).to_owned(), matches))
    };
    let found: Vec<(String, Vec<Match<'_>>)> = asked.iter().filter_map(find).collect();
    // A model's own maker and those who serve it each have a price of their own; some go by another's list.
    let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(provider, matches)| {
        args.provider.is_some() || matches.iter().any(|found| found.provider == *provider)
    });
    let mut out = std::io::stdout().lock();
    for (number, (provider, matches)) in own.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        describe(&mut out, &files, provider, matches, at)?;
        let same =
            |(_, other): &&(String, Vec<Match<'_>>)| other.last().is_some_and(|other| other.provider == *provider);
        let borrowers: Vec<&str> = others.iter().filter(same).map(|(name, _)| name.as_str()).collect();
        if !borrowers.is_empty() {
            writeln!(out, "also for     {}, in the standard tier", borrowers.join(", "))?;
        }
    }
    if !own.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let place = args.provider.as_ref().map(|provider| format!(" of {provider}")).unwrap_or_default();
    eprintln!("tollgate: no price is known for `{}`{place}; calls of it are counted without a cost", args.model);
    if let Some(provider) = args.provider.as_deref().filter(|provider| !known.contains(provider)) {
        eprintln!("no list has the provider `{provider}`; those that are known: {}", known.join(", "));
    }
    let near = suggestions(&files, args.provider.as_deref(), &args.model);
    if !near.is_empty() {
        eprintln!("known names that look alike: {}", near.join(", "));
    }
    eprintln!("A file in `prices.files` adds prices; docs/prices.md has an example.");
    Ok(ExitCode::FAILURE)
}

/// Those that any list has models of, or that go by the lists of others.
pub(super) fn providers(files: &[(String, File)]) -> Vec<&str> {
    let entries = files.iter().flat_map(|(_, file)| file.prices.iter().map(|entry| entry.provider.as_str()));
    let settings = files.iter().flat_map(|(_, file)| file.providers.iter().map(|entry| entry.provider.as_str()));
    let mut names: Vec<&str> = entries.chain(settings).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names like the one that was asked for, the likeliest first.
fn suggestions(files: &[(String, File)], provider: Option<&str>, model: &str) -> Vec<String> {
    let model = model.to_lowercase();
    let entries = files.iter().flat_map(|(_, file)| &file.prices);
    let entries = entries.filter(|entry| provider.is_none_or(|provider| provider == entry.provider));
    let names = entries.flat_map(|entry| std::iter::once(&entry.model).chain(&entry.names));
    let mut scored: Vec<(f64, &String)> = names
        .filter(|name| !name.contains(['*', '#']))
        .map(|name| (strsim::jaro_winkler(&model, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut near: Vec<String> = Vec::new();
    for (_, name) in scored {
        if !near.contains(name) && near.len() < SUGGESTIONS {
            near.push(name.clone());
        }
    }
    near
}

fn describe(
    out: &mut impl Write,
    files: &[(String, File)],
    provider: &str,
    matches: &[Match<'_>],
    at: SystemTime,
) -> std::io::Result<()> {
    for found in matches {
        let file = &files[found.layer].1;
        let entry = &file.prices[found.entry];
        let source = entry.source.as_ref().unwrap_or(&file.source);
        let date = entry.date.unwrap_or(file.date);
        if !found.has_rates {
            writeln!(out, "changed by   {} ({source}, {date}), in {}", entry.model, found.origin)?;
            write_changes(out, entry)?;
            continue;
        }
        writeln!(out, "model        {} of {provider}", entry.model)?;
        let how = if found.is_exact { "by its name" } else { "by the pattern or spelling" };
        let list = if found.provider == *provider { String::new() } else { format!(" for {}", found.provider) };
        writeln!(out, "matched      {how} `{}` in {}{list}", found.pattern, found.origin)?;
        writeln!(out, "from         {source}, {date}")?;
        let page =
            file.providers.iter().find(|entry| entry.provider == found.provider).and_then(|entry| entry.page.as_ref());
        if let Some(page) = page {
            writeln!(out, "published    {page}")?;
        }
        let (rates, tiers) = entry.at(at);
        writeln!(out, "on           {}", Day::of(at))?;
        write_rates(out, "  ", rates)?;
        write_tiers(out, tiers)?;
        // Another provider's tiers are not this one's.
        let is_own = found.provider == *provider;
        for variant in entry.variants.iter().filter(|_| is_own) {
            let since = variant.from.map(|from| format!(", since {from}")).unwrap_or_default();
            let until = variant.until.map(|until| format!(", until {until}")).unwrap_or_default();
            writeln!(out, "  {}{since}{until}", variant.tier.as_str())?;
            write_rates(out, "    ", &variant.rates)?;
            write_tiers(out, &variant.tiers)?;
        }
        for period in &entry.periods {
            let from = period.from.map(|from| format!(" from {from}")).unwrap_or_default();
            let hours = period.hours.map(|hours| format!(" at {hours} UTC")).unwrap_or_default();
            writeln!(out, "  other rates{from}{hours}")?;
            write_rates(out, "    ", &period.rates)?;
        }
        write_changes(out, entry)?;
    }
    Ok(())
}

fn write_changes(out: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
    if let Some(factor) = entry.multiply {
        writeln!(out, "  × {factor}")?;
    }
    for pointer in &entry.pointers {
        let million = pointer.per_million.map(|rate| format!("${rate} per 1M"));
        let each = pointer.each.map(|rate| format!("${rate} each"));
        writeln!(out, "  {}  {}", pointer.pointer, million.or(each).unwrap_or_default())?;
    }
    Ok(())
}

fn write_rates(out: &mut impl Write, indent: &str, rates: &Rates) -> std::io::Result<()> {
    let width = Kind::ALL.iter().map(|kind| kind.as_str().len()).max().unwrap_or_default();
    for (kind, rate) in rates.iter() {
        writeln!(
            out,
            "{indent}{:<width$}  ${rate} per {}",
            kind.as_str(),
            kind.unit().trim_start_matches("a ").trim_start_matches("an ")
        )?;
    }
    Ok(())
}

fn write_tiers(out: &mut impl Write, tiers: &[LongPrompt]) -> std::io::Result<()> {
    for tier in tiers {
        writeln!(out, "  above {} tokens of input, for all of them and the answer's", tier.context_over)?;
        write_rates(out, "    ", &tier.rates)?;
    }
    Ok(())
}
