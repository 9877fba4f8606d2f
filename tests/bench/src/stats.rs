//! Medians, percentiles, spread.

use serde::Serialize;

/// A few numbers in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many.
    pub count: usize,
}

impl Summary {
    /// Of these numbers; none of none.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: median(&sorted), min, max, count: sorted.len() })
    }

    /// Half the distance between the extremes, as a part of the median: the ± of the tables.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / 2.0 / self.median.abs() }
    }
}

/// The middle of sorted numbers: the mean of the two in the middle where there is no single one. NaN of none.
pub fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len() % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The smallest of sorted numbers that `part` (0 to 1) of them do not exceed: nearest rank. NaN of none.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    #[expect(clippy::cast_sign_loss, reason = "it is 1 at least")]
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1]
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are whole numbers and halves, which floats hold exactly")]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 9.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_numbers_that_were_measured() {
        let numbers: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(percentile(&numbers, 0.5), 500.0);
        assert_eq!(percentile(&numbers, 0.99), 990.0);
        assert_eq!(percentile(&numbers, 0.999), 999.0);
        assert_eq!(percentile(&numbers, 1.0), 1000.0);
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_spread_is_half_of_the_range() {
        let summary = Summary::of(&[110.0, 90.0, 100.0]).expect("there are some");
        assert_eq!((summary.median, summary.min, summary.max, summary.count), (100.0, 90.0, 110.0, 3));
        assert!((summary.spread() - 0.1).abs() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
    }
}
