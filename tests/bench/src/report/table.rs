//! The report on a terminal, or in a pipe.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::row::Row;
use super::targets::{self, Verdict};
use super::{Report, unit};

/// What the ratios are of.
const OURS: &str = "tollgate";

pub(super) fn show(report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let style = Style::new(out.is_terminal());
    writeln!(out, "\n{}", style.bold("Tollgate's benchmark"))?;
    writeln!(out, "{}\n{}", report.machine.line(), super::markdown::noise(report))?;
    let rows = report.rows();
    for figure in figures(&rows) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.figure == figure).collect();
        writeln!(out, "\n{}", style.bold(figure))?;
        writeln!(out, "{}", table(report, &rows))?;
    }
    writeln!(out, "\nBelow each number: Tollgate's as a multiple of it.")?;
    for entrant in &report.contenders {
        let marks = if entrant.marks.is_empty() { String::new() } else { format!(" — {}", entrant.marks.join("; ")) };
        writeln!(out, "  {}: {}{marks}", entrant.name, entrant.version)?;
    }
    for failure in &report.failures {
        let what = format!("{}: no {}", failure.contender, failure.figure);
        writeln!(out, "{} {}", style.red(&what), failure.reason.trim().replace('\n', " | "))?;
    }
    writeln!(out, "\n{}", style.bold("Targets"))?;
    for outcome in targets::judge(&rows) {
        let verdict = match outcome.verdict {
            Verdict::Met => style.green("met     "),
            Verdict::Missed => style.red("not met "),
            Verdict::Unknown => "unknown ".to_owned(),
        };
        writeln!(out, "  {verdict} {}: {}", outcome.target, outcome.found)?;
    }
    Ok(())
}

/// The figures' names, each once, in their order.
pub(super) fn figures(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.figure).collect();
    names.dedup();
    names
}

/// A number and, of others than ours, below it our own as its multiple.
pub(super) fn cell(row: &Row, contender: &str, between: &str) -> String {
    let Some(summary) = row.of(contender) else { return "–".into() };
    let number = unit::with_spread(row.unit, summary);
    match row.ratio(OURS, contender).filter(|_| contender != OURS && row.unit.greater_is_better().is_some()) {
        Some(ratio) if ratio > 0.0 => format!("{number}{between}{}×", unit::digits(ratio)),
        _ => number,
    }
}

fn table(report: &Report, rows: &[&Row]) -> Table {
    let there = |name: &str| rows.iter().any(|row| row.of(name).is_some());
    let names: Vec<&str> = report.columns().into_iter().filter(|name| there(name)).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let marked = |name: &&str| {
        let marks = report.contenders.iter().any(|one| one.name == *name && !one.marks.is_empty());
        if marks { format!("{name}*") } else { (*name).to_owned() }
    };
    table.set_header(std::iter::once(String::new()).chain(names.iter().map(marked)));
    for row in rows {
        let cells = names.iter().map(|name| cell(row, name, "\n"));
        table.add_row(std::iter::once(row.case.clone()).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Colours, where there is a terminal whose user did not refuse them (<https://no-color.org>).
struct Style {
    coloured: bool,
}

impl Style {
    fn new(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: terminal && !refused }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn green(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn red(&self, text: &str) -> String {
        self.paint("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{self, tests::sample};
    use super::*;

    #[test]
    fn a_cell_tells_our_multiple_of_it() {
        let samples = [sample("f", "c", OURS, 30.0), sample("f", "c", "haproxy", 20.0)];
        let rows = row::of(&samples, &[OURS, "haproxy"]);
        assert_eq!(cell(&rows[0], "haproxy", " "), "20.0/s 1.50×");
        assert_eq!(cell(&rows[0], OURS, " "), "30.0/s");
        assert_eq!(cell(&rows[0], "envoy", " "), "–");
    }

    #[test]
    fn a_pipe_gets_no_colours() {
        assert_eq!(Style { coloured: false }.red("x"), "x");
        assert_eq!(Style { coloured: true }.red("x"), "\x1b[31mx\x1b[0m");
        assert!(!Style::new(false).coloured);
    }
}
