//! The report as a person reads it: plain text, no wider than the terminal.

use comfy_table::{Cell, CellAlignment, Table, presets};
use ratatui::text::Span;
use tollgate_ledger::query::Report;
use tollgate_ledger::{Totals, name, thousands};

/// Characters of a name that are shown, and to how few it may shrink.
const NAME: usize = 60;
const SHORTEST: usize = 8;

/// A column of numbers: its title, and how it is told.
type Column = (&'static str, fn(&Totals) -> String);

const COLUMNS: [Column; 7] = [
    ("Calls", |totals| thousands(totals.calls)),
    ("Errors", |totals| thousands(totals.errors)),
    ("Input", |totals| thousands(totals.input)),
    ("Output", |totals| thousands(totals.output)),
    ("Cached", |totals| thousands(totals.cached)),
    ("Reasoning", |totals| thousands(totals.reasoning)),
    ("Cost", Totals::cost_text),
];

/// What is left out first where there is no room for all.
const DISPENSABLE: [&str; 3] = ["Reasoning", "Cached", "Errors"];

/// The table with its notes; `width` is the terminal's, if it is for one.
pub(super) fn table(report: &Report, width: Option<usize>) -> String {
    let mut columns = COLUMNS.to_vec();
    let mut omitted = Vec::new();
    let mut dispensable = DISPENSABLE.into_iter();
    let mut longest = NAME;
    let mut text = draw(report, &columns, longest);
    while width.is_some_and(|width| measure(&text) > width) {
        if let Some(title) = dispensable.next() {
            columns.retain(|column| column.0 != title);
            omitted.push(title.to_lowercase());
        } else if longest > SHORTEST {
            longest -= 1;
        } else {
            break;
        }
        text = draw(report, &columns, longest);
    }
    for note in notes(report, &omitted) {
        text.push('\n');
        text.push_str(&note);
    }
    text
}

fn measure(text: &str) -> usize {
    text.lines().map(|line| Span::raw(line.trim_end()).width()).max().unwrap_or(0)
}

fn draw(report: &Report, columns: &[Column], longest: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let titles = report.by.iter().map(|dimension| Cell::new(title(dimension.as_str())));
    table.set_header(titles.chain(columns.iter().map(|(title, _)| right((*title).into()))));
    let numbers = |totals: &Totals| columns.iter().map(|(_, told)| right(told(totals))).collect::<Vec<_>>();
    for row in &report.rows {
        let key = row.key.iter().map(|part| Cell::new(name(part.as_deref().unwrap_or("-"), longest)));
        table.add_row(key.chain(numbers(&row.totals)));
    }
    if !report.by.is_empty() {
        let rest = std::iter::repeat_n(Cell::new(""), report.by.len() - 1);
        table.add_row(std::iter::once(Cell::new("Total")).chain(rest).chain(numbers(&report.total)));
    }
    table.trim_fmt()
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn notes(report: &Report, omitted: &[String]) -> Vec<String> {
    let mut notes = report.total.footnotes();
    if report.total.refused > 0 {
        let verb = if report.total.refused == 1 { "was" } else { "were" };
        let refused = thousands(report.total.refused);
        notes.push(format!("  of the errors, {refused} {verb} refused here and reached no provider"));
    }
    if report.in_flight > 0 {
        notes.push(format!("  {} more in flight, not in it yet", thousands(report.in_flight)));
    }
    if !omitted.is_empty() {
        notes.push(format!("  left out, as the terminal is narrow: {}", omitted.join(", ")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use tollgate_ledger::query::{Dimension, Row};

    use super::*;

    fn report() -> Report {
        let totals = Totals { calls: 1_000, input: 1_234_567, output: 7_654, ..Totals::default() };
        let row = |program: &str, model: &str| Row {
            key: vec![Some(program.into()), Some(model.into()), None],
            totals: totals.clone(),
        };
        Report {
            by: vec![Dimension::Program, Dimension::Model, Dimension::Region],
            rows: vec![
                row("python3.13", "claude-opus-4-5-20251101"),
                row("\u{1b}[2J\n漢字漢字漢字漢字漢字漢字", &"m".repeat(1_000)),
            ],
            total: totals.clone(),
            in_flight: 2,
        }
    }

    #[test]
    fn it_is_no_wider_than_the_terminal_and_says_what_it_left_out() {
        for width in [70, 80, 100, 200] {
            let text = table(&report(), Some(width));
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("  ")).collect();
            assert_eq!(lines.len(), 4, "{text}");
            assert!(lines.iter().all(|line| Span::raw(line.trim_end()).width() <= width), "{width}: {text}");
            assert_eq!(text.contains("left out, as the terminal is narrow"), width < 200, "{text}");
            assert!(!text.contains('\u{1b}') && text.contains("2 more in flight"), "{text}");
        }
        assert!(table(&report(), Some(1)).contains("Cost"), "what does not fit is shown all the same");
        assert!(table(&report(), None).contains("Reasoning"));
    }
}
