//! The report as Markdown, for docs and pull requests.

use std::fmt::Write as _;

use super::row::Row;
use super::targets::{self, Verdict};
use super::{Report, table};
use crate::figure::Effort;
use crate::stats::Summary;

pub(super) fn of(report: &Report, rows: &[Row], charts: &[&str]) -> String {
    let mut text = String::from("# Benchmark\n\n");
    let effort = if report.effort == Effort::Quick { "Quick" } else { "Full" };
    line(&mut text, format_args!("{effort} run of {} s. {}.\n", report.seconds, report.machine.line()));
    line(&mut text, format_args!("{}\n", noise(report)));
    line(
        &mut text,
        format_args!("Medians of the rounds, ± half the range. In brackets: Tollgate's as a multiple of it.\n"),
    );
    text.push_str("| contender | version | |\n|---|---|---|\n");
    for one in &report.contenders {
        line(
            &mut text,
            format_args!("| {} | {} | {} |", one.name, escape(&one.version), escape(&one.marks.join("; "))),
        );
    }
    targets_of(&mut text, rows);
    for figure in table::figures(rows) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.figure == figure).collect();
        figure_of(&mut text, report, figure, &rows);
    }
    if !report.failures.is_empty() {
        text.push_str("\n## Not measured\n\n");
        for one in &report.failures {
            let reason = escape(&one.reason);
            line(&mut text, format_args!("- {}, {}: {reason}", one.contender, one.figure));
        }
    }
    text.push('\n');
    for chart in charts {
        line(&mut text, format_args!("![{}](charts/{chart})", chart.trim_end_matches(".svg")));
    }
    text
}

/// How noisy the machine was, in a sentence.
pub(super) fn noise(report: &Report) -> String {
    let of = |pick: fn(&crate::measure::Noise) -> f64| {
        let numbers: Vec<f64> = report.noise.iter().map(pick).collect();
        Summary::of(&numbers).unwrap_or(Summary { median: 0.0, min: 0.0, max: 0.0, count: 0 })
    };
    let (load, contender) = (of(|noise| noise.spin_ms[0]), of(|noise| noise.spin_ms[1]));
    format!(
        "Noise: the same work took {:.1} ms ±{:.0}% on the load's processor and {:.1} ms ±{:.0}% on the contender's; load \
         average {:.1} to {:.1}; other processes kept at most {:.2} processors busy, and the hypervisor took at most {:.1}%.",
        load.median,
        load.spread() * 100.0,
        contender.median,
        contender.spread() * 100.0,
        of(|noise| noise.load).min,
        of(|noise| noise.load).max,
        of(|noise| noise.others).max,
        of(|noise| noise.stolen).max * 100.0,
    )
}

fn targets_of(text: &mut String, rows: &[Row]) {
    text.push_str("\n## Targets\n\n| target | found | |\n|---|---|---|\n");
    for outcome in targets::judge(rows) {
        let verdict = match outcome.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**not met**",
            Verdict::Unknown => "unknown",
        };
        line(text, format_args!("| {} | {} | {verdict} |", escape(&outcome.target), escape(&outcome.found)));
    }
}

fn figure_of(text: &mut String, report: &Report, figure: &str, rows: &[&Row]) {
    let there = |name: &str| rows.iter().any(|row| row.of(name).is_some());
    let names: Vec<&str> = report.columns().into_iter().filter(|name| there(name)).collect();
    line(text, format_args!("\n## {figure}\n\n| | {} |", names.join(" | ")));
    line(text, format_args!("|---|{}", "--:|".repeat(names.len())));
    for row in rows {
        let cells: Vec<String> = names.iter().map(|name| bracketed(&table::cell(row, name, "\n"))).collect();
        line(text, format_args!("| {} | {} |", escape(&row.case), cells.join(" | ")));
    }
}

fn bracketed(cell: &str) -> String {
    match cell.split_once('\n') {
        Some((number, ratio)) => format!("{number} ({ratio})"),
        None => cell.to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_in_its_column() {
        assert_eq!(bracketed("20.0/s\n1.50×"), "20.0/s (1.50×)");
        assert_eq!(bracketed("20.0/s"), "20.0/s");
        assert_eq!(escape("a | b\nc"), "a \\| b c");
    }
}
