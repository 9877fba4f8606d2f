//! `tollgate tail`: calls as they end, a line each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use jiff::tz::TimeZone;
use tollgate_ledger::query::{Cursor, timestamp, workload};
use tollgate_ledger::{Line, dollars, name, thousands};

use crate::books;
use crate::cli::TailArgs;

/// How often the ledger is looked at. Its writer commits about as often.
const INTERVAL: Duration = Duration::from_millis(250);

/// How many of the last calls are shown where nothing is said.
const LINES: usize = 10;

/// Characters of a name that are shown.
const NAME: usize = 40;

pub(crate) fn tail(args: &TailArgs) -> anyhow::Result<ExitCode> {
    let zone = books::zone(args.select.utc);
    let filter = books::filter(&args.select, None, &zone)?;
    let mut reader = books::open(&args.select.source)?;
    let last = args.lines.or(args.select.since.is_none().then_some(LINES));
    let mut cursor = Cursor::new(filter);
    print(&reader.last(&mut cursor, last).map_err(books::told)?, args.json, &zone)?;
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(INTERVAL);
        if reader.is_replaced() {
            match reader.reopen() {
                Ok(()) => cursor.rewind(),
                // The agent is about to fill it.
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(books::told(error)),
            }
        }
        print(&reader.next(&mut cursor).map_err(books::told)?, args.json, &zone)?;
    }
}

fn print(lines: &[Line<'_>], json: bool, zone: &TimeZone) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if json {
            // As what it is, so that a closed pipe is known for one.
            serde_json::to_writer(&mut out, line).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        } else {
            writeln!(out, "{}", text(line, zone))?;
        }
    }
    // The reader of a pipe sees each batch at once, and its absence is noticed.
    out.flush()?;
    Ok(())
}

/// When, who, what, how much, how long, and what went wrong.
fn text(line: &Line<'_>, zone: &TimeZone) -> String {
    let at = timestamp(line.started).to_zoned(zone.clone());
    let model = line.request_model.as_deref().or(line.response_model.as_deref()).unwrap_or(&line.operation);
    let mut text = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut add = |args: std::fmt::Arguments<'_>| text.write_fmt(args).expect("a string takes whatever comes");
    add(format_args!("  {}", name(&line.user, NAME)));
    if let Some(team) = line.team.as_deref() {
        add(format_args!(" [{}]", name(team, NAME)));
    }
    let workload = workload(&line.program, line.unit.as_deref(), line.container.as_deref());
    add(format_args!("  {}", name(&workload, NAME)));
    add(format_args!("  {} {}", name(&line.provider, NAME), name(model, NAME)));
    if let (Some(input), Some(output)) = (line.input_tokens, line.output_tokens) {
        add(format_args!("  {} in", thousands(input)));
        if let Some(cached) = line.cache_read_tokens.filter(|cached| *cached > 0) {
            add(format_args!(" ({} cached)", thousands(cached)));
        }
        add(format_args!(", {} out", thousands(output)));
    } else {
        add(format_args!("  no token count"));
    }
    match line.cost_usd.as_deref().and_then(|cost| cost.parse().ok()) {
        Some(cost) => add(format_args!("  {}", dollars(cost))),
        None if line.input_tokens.is_some() => add(format_args!("  price unknown")),
        None => {}
    }
    if matches!(&*line.usage_source, "partial" | "estimated") {
        add(format_args!(" ({})", line.usage_source));
    }
    add(format_args!("  {}", seconds(line.duration_ms)));
    if let Some(first) = line.time_to_first_token_ms {
        add(format_args!(" (first {})", seconds(first)));
    }
    match (line.status, line.error_type.as_deref()) {
        (Some(status), Some(error)) => add(format_args!("  {status} {}", name(error, NAME))),
        (None, Some(error)) => add(format_args!("  {}", name(error, NAME))),
        (Some(status), None) if status != 200 => add(format_args!("  {status}")),
        _ => {}
    }
    if let Some(rule) = line.rule.as_deref() {
        add(format_args!("  by {}", name(rule, NAME)));
    }
    text
}

fn seconds(milliseconds: f64) -> String {
    if milliseconds < 1_000.0 { format!("{milliseconds:.0} ms") } else { format!("{:.1} s", milliseconds / 1_000.0) }
}
