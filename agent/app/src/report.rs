//! `tollgate report`: what was used, by whatever is asked.

mod focus;
mod table;
mod values;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tollgate_ledger::query::{Dimension, Question};

use crate::cli::{ReportArgs, ReportFormat, SelectArgs};
use crate::exit::{Coded, USAGE};
use crate::{books, settings};

pub(crate) fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let zone = books::zone(args.select.utc);
    let filter = books::filter(&args.select, args.until.as_deref(), &zone)?;
    let period = filter.period.clone();
    let text = if args.format == ReportFormat::Focus {
        let hourly = focus::is_hourly(&args.by).map_err(|told| Coded::new(USAGE, told))?;
        let reader = books::open(&args.select.source)?;
        let prices = settings::prices(&settings::load(&args.select.source.config)?)?;
        focus::focus(&reader, &prices, &filter, hourly)?
    } else {
        let by = if args.by.is_empty() { vec![Dimension::Provider, Dimension::Model] } else { args.by.clone() };
        let report = books::open(&args.select.source)?.report(&Question { by, filter, zone })?;
        match args.format {
            ReportFormat::Csv => values::csv(&report)?,
            ReportFormat::Json => values::json(&report, &period)?,
            ReportFormat::Table | ReportFormat::Focus if report.total.calls == 0 => {
                writeln!(std::io::stderr(), "{}", nothing(report.in_flight, &args.select)).ok();
                return Ok(ExitCode::SUCCESS);
            }
            ReportFormat::Table | ReportFormat::Focus => {
                let width = args.output.is_none().then(terminal_width).flatten();
                let mut text = table::table(&report, width).into_bytes();
                text.push(b'\n');
                text
            }
        }
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, &text)
                .with_context(|| format!("the report cannot be written to {}", path.display()))?;
        }
        None => std::io::stdout().lock().write_all(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing(in_flight: u64, select: &SelectArgs) -> String {
    match (in_flight, books::is_narrowed(select)) {
        (0, true) => "no calls like these were made; try a longer time or fewer filters".into(),
        (0, false) => "no calls were made yet; `tollgate run` writes them down as they end".into(),
        (number, _) => format!("no calls like these have ended yet; {number} in flight (see `tollgate top`)"),
    }
}

/// Columns of the terminal that stdout is, if it is one.
fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0)
}
