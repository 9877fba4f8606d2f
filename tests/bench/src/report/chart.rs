//! Charts as SVG: bars side by side, with the range of the rounds. Plain text, so that a diff shows what changed.

use std::fmt::Write as _;

use super::row::Row;
use super::{table, unit};
use crate::figure::Unit;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 130.0;
const BAR: f64 = 18.0;
const TOP: f64 = 40.0;
const GROUP: f64 = 30.0;

/// One chart for each figure of which more or less is better: file name and text.
pub(super) fn all(rows: &[Row]) -> Vec<(String, String)> {
    let charted = |row: &&Row| row.unit.greater_is_better().is_some() && row.unit != Unit::Count && row.cells.len() > 1;
    table::figures(rows)
        .into_iter()
        .filter_map(|figure| {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.figure == figure).filter(charted).collect();
            (!rows.is_empty()).then(|| (file(figure), draw(figure, &rows)))
        })
        .collect()
}

fn file(figure: &str) -> String {
    let name: String = figure.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{name}.svg")
}

fn draw(figure: &str, rows: &[&Row]) -> String {
    let bars: usize = rows.iter().map(|row| row.cells.len()).sum();
    let height = TOP + rows.len() as f64 * GROUP + bars as f64 * BAR + 10.0;
    let better = match rows[0].unit.greater_is_better() {
        Some(true) => "more is better",
        _ => "less is better",
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>\
         <text x=\"{}\" y=\"22\" text-anchor=\"end\" fill=\"#666\">{better}; bars are medians, lines the range</text>\n",
        escape(figure),
        WIDTH - 10.0,
    );
    let mut y = TOP;
    for row in rows {
        y += GROUP - 8.0;
        push(&mut svg, format_args!("<text x=\"10\" y=\"{y}\" fill=\"#333\">{}</text>", escape(&row.case)));
        y += 8.0;
        // Each case has its own scale: one client and 256 are not compared.
        let greatest = row.cells.iter().map(|cell| cell.summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| LEFT + (value / greatest).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
        for cell in &row.cells {
            let (fill, middle) = (colour(cell.contender), y + BAR / 2.0);
            let end = x(cell.summary.median);
            push(
                &mut svg,
                format_args!(
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                     <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{fill}\"/>\
                     <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#000\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{}</text>",
                    LEFT - 6.0,
                    middle + 4.0,
                    escape(cell.contender),
                    y + 2.0,
                    end - LEFT,
                    BAR - 4.0,
                    x(cell.summary.min),
                    x(cell.summary.max),
                    x(cell.summary.max) + 6.0,
                    middle + 4.0,
                    unit::show(row.unit, cell.summary.median),
                ),
            );
            y += BAR;
        }
    }
    svg + "</svg>\n"
}

fn colour(contender: &str) -> &'static str {
    match contender {
        "tollgate" => "#1f77b4",
        "direct" => "#999999",
        _ => "#c9b08a",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn push(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(svg, "{arguments}").expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::super::row::{self, tests::sample};
    use super::*;

    #[test]
    fn the_longest_bar_is_the_greatest_and_none_is_alone() {
        let samples = [
            sample("requests per core", "a < b", "tollgate", 200.0),
            sample("requests per core", "a < b", "haproxy", 100.0),
            sample("alone", "x", "tollgate", 1.0),
        ];
        let charts = all(&row::of(&samples, &["tollgate", "haproxy"]));
        assert_eq!(charts.len(), 1, "a bar alone shows nothing");
        let (name, svg) = &charts[0];
        assert_eq!(name, "requests-per-core.svg");
        assert!(
            svg.contains("a &lt; b") && svg.contains("width=\"520.0\"") && svg.contains("width=\"260.0\""),
            "{svg}"
        );
    }
}
