//! Numbers as people read them.

use crate::figure::Unit;
use crate::stats::Summary;

/// A number with its unit: `34.1 µs`.
pub(super) fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond | Unit::PerCoreSecond | Unit::Rate => format!("{}/s", scaled(value, 1000.0, &["", " k", " M"])),
        Unit::BytesPerSecond | Unit::BytesPerCoreSecond => {
            format!("{}/s", scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB"]))
        }
        Unit::Bytes => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB"]),
        Unit::Seconds if value == 0.0 => "0 µs".into(),
        Unit::Seconds => scaled(value * 1e9, 1000.0, &[" ns", " µs", " ms", " s"]),
        Unit::Count => format!("{value:.0}"),
        Unit::Cores => format!("{value:.2}"),
    }
}

/// A median with its spread: `34.1 µs ±2%`.
pub(super) fn with_spread(unit: Unit, summary: &Summary) -> String {
    let median = show(unit, summary.median);
    if summary.count < 2 || matches!(unit, Unit::Count) {
        median
    } else {
        format!("{median} ±{:.0}%", summary.spread() * 100.0)
    }
}

/// Three digits that count, as people compare.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn scaled(value: f64, step: f64, names: &[&str]) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= step * 0.9995 && at + 1 < names.len() {
        value /= step;
        at += 1;
    }
    format!("{}{}", digits(value), names[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_fitting_unit() {
        assert_eq!(show(Unit::PerSecond, 29311.5), "29.3 k/s");
        assert_eq!(show(Unit::PerSecond, 44.0), "44.0/s");
        assert_eq!(show(Unit::Seconds, 34.11e-6), "34.1 µs");
        assert_eq!(show(Unit::Seconds, -5e-7), "-500 ns");
        assert_eq!(show(Unit::Seconds, 0.0), "0 µs");
        assert_eq!(show(Unit::Bytes, 30.0 * 1024.0 * 1024.0), "30.0 MiB");
        assert_eq!(show(Unit::BytesPerSecond, 1.5 * 1024.0 * 1024.0 * 1024.0), "1.50 GiB/s");
        assert_eq!(show(Unit::Count, 3.0), "3");
        assert_eq!(show(Unit::Seconds, 0.999_9), "1.00 s");
    }

    #[test]
    fn one_round_has_no_spread() {
        let one = Summary::of(&[5.0]).expect("there is one");
        assert_eq!(with_spread(Unit::Cores, &one), "5.00");
        let two = Summary::of(&[0.9, 1.1]).expect("there are two");
        assert_eq!(with_spread(Unit::Cores, &two), "1.00 ±10%");
    }
}
