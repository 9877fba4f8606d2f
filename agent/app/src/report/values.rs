//! The report for machines: CSV and JSON.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use tollgate_ledger::Totals;
use tollgate_ledger::query::{Period, Report};

/// The counts of a row, by their names in both forms.
fn counts(totals: &Totals) -> [(&'static str, u64); 12] {
    [
        ("calls", totals.calls),
        ("errors", totals.errors),
        ("refused", totals.refused),
        ("input_tokens", totals.input),
        ("output_tokens", totals.output),
        ("cache_read_tokens", totals.cached),
        ("cache_write_tokens", totals.cache_write),
        ("reasoning_tokens", totals.reasoning),
        ("unpriced_calls", totals.unpriced),
        ("uncounted_calls", totals.uncounted),
        ("partial_calls", totals.partial),
        ("estimated_calls", totals.estimated),
    ]
}

/// The sum of what is known, exact; nothing where nothing is known of what was used.
fn cost(totals: &Totals) -> Option<String> {
    let unknown = totals.cost.is_zero() && totals.is_lower_bound();
    (!unknown).then(|| totals.cost.normalize().to_string())
}

/// RFC 4180, with a line of titles and no line of totals, so that columns can be summed.
pub(super) fn csv(report: &Report) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let titles = counts(&Totals::default()).map(|(title, _)| title);
    writer.write_record(report.by.iter().map(|dimension| dimension.as_str()).chain(titles).chain(["cost_usd"]))?;
    for row in &report.rows {
        let key = row.key.iter().map(|part| inert(part.as_deref().unwrap_or_default()));
        let numbers = counts(&row.totals).map(|(_, count)| Cow::from(count.to_string()));
        let cost = cost(&row.totals).unwrap_or_default();
        writer.write_record(key.chain(numbers).chain([cost.into()]).map(Cow::into_owned))?;
    }
    Ok(writer.into_inner()?)
}

/// Text that a spreadsheet does not take for a formula, nor a terminal for a command: programs and models are named by
/// others, and a cell that begins with one of these runs when the file is opened (OWASP, "CSV Injection").
pub(super) fn inert(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if !is_formula && !text.contains(char::is_control) {
        return text.into();
    }
    let quote = if is_formula { "'" } else { "" };
    let plain = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    quote.chars().chain(plain).collect::<String>().into()
}

/// One object. Money is a string, because JSON's numbers are binary floating point in most readers.
pub(super) fn json(report: &Report, period: &Period) -> anyhow::Result<Vec<u8>> {
    let rows: Vec<Value> = report
        .rows
        .iter()
        .map(|row| {
            let key =
                report.by.iter().zip(&row.key).map(|(dimension, part)| (dimension.to_string(), json!(part.as_deref())));
            Value::Object(key.chain(numbers(&row.totals)).collect())
        })
        .collect();
    let by: Vec<_> = report.by.iter().map(|dimension| dimension.as_str()).collect();
    let value = json!({
        "since": period.since.map(|at| at.to_string()),
        "until": period.until.map(|at| at.to_string()),
        "by": by,
        "rows": rows,
        "total": numbers(&report.total).collect::<Map<_, _>>(),
        "in_flight": report.in_flight,
    });
    let mut text = serde_json::to_vec_pretty(&value)?;
    text.push(b'\n');
    Ok(text)
}

fn numbers(totals: &Totals) -> impl Iterator<Item = (String, Value)> {
    let counts = counts(totals).into_iter().map(|(name, count)| (name.to_owned(), json!(count)));
    counts.chain([
        ("cost_usd".to_owned(), json!(cost(totals))),
        ("cost_is_complete".to_owned(), json!(!totals.is_lower_bound())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_neither_calculate_nor_steer_a_terminal() {
        for (text, cell) in [
            ("gpt-5", "gpt-5"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\t=1", "\u{fffd}=1"),
            ("a\u{1b}[2J\r\nb", "a\u{fffd}[2J\u{fffd}\u{fffd}b"),
        ] {
            assert_eq!(inert(text), cell);
        }
    }
}
