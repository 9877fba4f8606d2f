//! The screen, drawn into a buffer: the same for a terminal and for `--once`.

use jiff::Zoned;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, Widget as _};
use rust_decimal::Decimal;
use tollgate_ledger::name;

use super::board::{Board, Order, Row, View};

/// Characters of a name that are shown.
const NAME: usize = 60;

/// What the keys have set.
pub(super) struct Screen {
    pub(super) view: View,
    pub(super) order: Order,
    pub(super) paused: bool,
    pub(super) colour: bool,
    /// Whether there is someone to press keys.
    pub(super) keys: bool,
    /// What could not be done, in place of the keys.
    pub(super) trouble: Option<String>,
}

impl Screen {
    /// Draws all of it into `area`.
    pub(super) fn draw(&self, board: &Board, now: &Zoned, area: Rect, buffer: &mut Buffer) {
        let (rows, total) = board.rows(self.view, self.order, now.timestamp());
        let seconds = board.seconds(now.timestamp());
        let [head, second, _gap, body, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(u16::from(self.keys)),
        ])
        .areas(area);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Line::styled(headline(&total, seconds), bold).render(head, buffer);
        let paused = if self.paused { "   paused" } else { "" };
        let told = format!("calls that ended in the last {seconds:.0} s, {}{paused}", now.strftime("%H:%M:%S %Z"));
        Line::raw(told).render(second, buffer);
        self.table(&rows, seconds, body, buffer);
        let keys = match &self.trouble {
            Some(trouble) => name(trouble, 200),
            None => "q quit  w view  sort: c cost t tokens n calls e errors f fly l p95 m model".into(),
        };
        Paragraph::new(keys).render(foot, buffer);
    }

    fn table(&self, rows: &[Row], seconds: f64, area: Rect, buffer: &mut Buffer) {
        let titles = [
            ("WORKLOAD", None),
            ("MODEL", Some(Order::Name)),
            ("FLY", Some(Order::InFlight)),
            ("CALLS", Some(Order::Calls)),
            ("IN/s", Some(Order::Tokens)),
            ("OUT/s", Some(Order::Tokens)),
            ("$/h", Some(Order::Cost)),
            ("P50", Some(Order::FirstToken)),
            ("P95", Some(Order::FirstToken)),
            ("ERR", Some(Order::Errors)),
        ];
        let header = titles.iter().enumerate().map(|(column, (title, order))| {
            let chosen = *order == Some(self.order);
            let style = if chosen { Style::new().add_modifier(Modifier::UNDERLINED) } else { Style::new() };
            Cell::new(aligned(Span::styled(*title, style), column))
        });
        let header = TableRow::new(header).style(Style::new().add_modifier(Modifier::BOLD));
        let widths = self.names(rows, area.width).into_iter().chain(NUMBERS).map(Constraint::Length);
        let body = rows.iter().map(|row| {
            let texts = cells(row, seconds);
            let cells = texts.into_iter().enumerate().map(|(column, text)| {
                let alarming = self.colour && column == titles.len() - 1 && row.errors > 0;
                let style = if alarming { Style::new().fg(Color::Red) } else { Style::new() };
                Cell::new(aligned(Span::styled(text, style), column))
            });
            TableRow::new(cells)
        });
        if rows.is_empty() {
            Paragraph::new("nothing is in flight, and nothing ended lately").render(area, buffer);
        } else {
            Table::new(body, widths).header(header).column_spacing(1).render(area, buffer);
        }
    }
}

/// Columns of the numbers.
const NUMBERS: [u16; 8] = [4, 5, 5, 5, 8, 5, 5, 4];

impl Screen {
    /// Columns for workload and model: what the numbers leave, to each what it needs, and more to the model if there is
    /// not enough.
    fn names(&self, rows: &[Row], width: u16) -> [u16; 2] {
        let longest = |named: fn(&Row) -> &str, title: &str| {
            let widths = rows.iter().map(|row| Span::raw(name(named(row), NAME)).width());
            widths.chain([title.len()]).max().unwrap_or(0)
        };
        let space = usize::from(width.saturating_sub(NUMBERS.iter().sum::<u16>() + 9));
        let (workload, model) = (longest(|row| &row.workload, "WORKLOAD"), longest(|row| &row.model, "MODEL"));
        let (workload, model) = match self.view {
            View::Workloads => (space, 0),
            View::Models => (0, space),
            View::Both if workload + model <= space => (space - model, model),
            View::Both => {
                let model = model.min((space * 11 / 20).max(space.saturating_sub(workload)));
                (space - model, model)
            }
        };
        [workload, model].map(|width| u16::try_from(width).unwrap_or(u16::MAX))
    }
}

fn aligned(span: Span<'_>, column: usize) -> Line<'_> {
    Line::from(span).alignment(if column < 2 { Alignment::Left } else { Alignment::Right })
}

fn headline(total: &Row, seconds: f64) -> String {
    let first = total
        .first_token
        .map_or_else(String::new, |(p50, p95)| format!("   first token {} p50, {} p95", time(p50), time(p95)));
    format!(
        "{} in flight   {} in/s   {} out/s   {}/h   {} errors{first}",
        total.in_flight,
        compact(total.input as f64 / seconds),
        compact(total.output as f64 / seconds),
        money(total, seconds),
        total.errors,
    )
}

fn cells(row: &Row, seconds: f64) -> [String; 10] {
    let named = |text: &str| name(text, NAME);
    let first = |pick: fn((f64, f64)) -> f64| row.first_token.map_or_else(|| "-".into(), |both| time(pick(both)));
    [
        named(&row.workload),
        named(&row.model),
        row.in_flight.to_string(),
        compact(row.calls as f64),
        compact(row.input as f64 / seconds),
        compact(row.output as f64 / seconds),
        money(row, seconds),
        first(|(p50, _)| p50),
        first(|(_, p95)| p95),
        compact(row.errors as f64),
    ]
}

/// Dollars an hour at this rate, with the marks of the report: `≥` for a part, `~` for an estimate, `?` for unknown.
fn money(row: &Row, seconds: f64) -> String {
    if row.cost.is_zero() && row.incomplete {
        return "?".into();
    }
    let span = Decimal::try_from(seconds).unwrap_or(Decimal::ONE);
    let hour =
        row.cost.checked_mul(Decimal::from(3_600)).and_then(|cost| cost.checked_div(span)).unwrap_or(Decimal::MAX);
    let marks = [(row.incomplete, "≥"), (row.estimated, "~")].map(|(is, mark)| if is { mark } else { "" }).concat();
    let text = if hour < Decimal::from(100) { format!("{hour:.2}") } else { compact_decimal(hour) };
    format!("{marks}${text}")
}

fn compact_decimal(number: Decimal) -> String {
    compact(f64::try_from(number).unwrap_or(f64::MAX))
}

/// At most five characters: `999`, `9.9`, `12.3k`, `1.2M`.
pub(super) fn compact(number: f64) -> String {
    match number {
        0.0 => "0".into(),
        number if number < 9.95 && number.fract() != 0.0 => format!("{number:.1}"),
        number if number < 999.5 => format!("{number:.0}"),
        number if number < 99_950.0 => format!("{:.1}k", number / 1e3),
        number if number < 999_500.0 => format!("{:.0}k", number / 1e3),
        number if number < 99_950_000.0 => format!("{:.1}M", number / 1e6),
        number if number < 999_500_000.0 => format!("{:.0}M", number / 1e6),
        number if number < 1e12 => format!("{:.0}G", number / 1e9),
        _ => "lots".into(),
    }
}

fn time(milliseconds: f64) -> String {
    match milliseconds {
        short if short < 999.5 => format!("{short:.0}ms"),
        middle if middle < 99_950.0 => format!("{:.1}s", middle / 1e3),
        long => format!("{:.0}s", long / 1e3),
    }
}

/// The buffer as plain text, without what is blank at the ends of lines and at its own.
pub(super) fn plain(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let lines: Vec<String> = buffer
        .content()
        .chunks(width)
        .map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_ledger::query::Flight;

    use super::*;

    fn flight(program: &str, model: &str) -> Flight {
        Flight {
            started: std::time::SystemTime::now(),
            provider: "anthropic".into(),
            model: Some(model.into()),
            operation: "chat".into(),
            program: program.into(),
            user: "alice".into(),
            unit: None,
            container: None,
            team: None,
        }
    }

    fn drawn(board: &Board, view: View, (columns, rows): (u16, u16)) -> String {
        let screen = Screen { view, order: Order::Cost, paused: false, colour: true, keys: true, trouble: None };
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        screen.draw(board, &Zoned::now(), buffer.area, &mut buffer);
        plain(&buffer)
    }

    #[test]
    fn eighty_columns_hold_everything_and_any_size_is_drawn() {
        let mut board = Board::new(Duration::from_mins(1));
        board.fly(&[flight("python3.13", "claude-opus-4-5"), flight("\u{1b}[2J", &"x".repeat(5_000))]);
        let told = drawn(&board, View::Models, (80, 24));
        for expected in
            ["2 in flight", "claude-opus-4-5", "FLY", "CALLS", "IN/s", "OUT/s", "$/h", "P50", "P95", "ERR", "q quit"]
        {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        board.fly(&[flight("python3.13", "claude-opus-4-5")]);
        let told = drawn(&board, View::Both, (80, 24));
        assert!(told.contains("python3.13") && told.contains("claude-opus-4-5"), "{told}");
        for size in [(0, 0), (1, 1), (3, 200), (200, 3), (79, 5), (500, 100)] {
            for view in [View::Both, View::Workloads, View::Models] {
                assert!(!drawn(&board, view, size).contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn numbers_fit_their_columns() {
        for (number, text) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (5.0, "5"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (99_949.0, "99.9k"),
            (99_951.0, "100k"),
            (1_234_567.0, "1.2M"),
            (5e9, "5G"),
            (1e15, "lots"),
        ] {
            assert_eq!(compact(number), text);
        }
        assert_eq!((time(250.0).as_str(), time(1_234.0).as_str(), time(100_000.0).as_str()), ("250ms", "1.2s", "100s"));
    }
}
