//! Writes what is counted of calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::registry::Unit;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use tollgate_llm::PriceStatus;

use super::super::text::{amounts, counters, histograms};
use super::{Calls, Ending, Labels, Series};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    #[prometheus(flatten)]
    labels: Labels,
    gen_ai_token_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    #[prometheus(flatten)]
    labels: Labels,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndingLabels {
    #[prometheus(flatten)]
    labels: Labels,
    #[prometheus(flatten)]
    ending: Ending,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnitLabels {
    #[prometheus(flatten)]
    labels: Labels,
    unit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnknownLabels {
    #[prometheus(flatten)]
    labels: Labels,
    reason: &'static str,
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.snapshot();
        Self::write_standard(&mut encoder, &all)?;
        self.write_own(&mut encoder, &all)
    }
}

/// The series of one scrape.
type Snapshot = [(Labels, Arc<Mutex<Series>>)];
/// Takes one number out of a series.
type Value = fn(&Series) -> u64;

impl Calls {
    /// The metrics that OpenTelemetry names.
    fn write_standard(encoder: &mut DescriptorEncoder<'_>, all: &Snapshot) -> fmt::Result {
        let series = all.iter().flat_map(|(labels, series)| {
            let series = series.lock();
            let kinds = [("input", series.input.clone()), ("output", series.output.clone())];
            kinds.into_iter().filter_map(|(gen_ai_token_type, histogram)| {
                Some((TokenLabels { labels: labels.clone(), gen_ai_token_type }, histogram?))
            })
        });
        let help = "Tokens of each call. Input holds cached tokens, output holds reasoning.";
        histograms(encoder, "gen_ai_client_token_usage", help, None, series)?;

        let series = all.iter().flat_map(|(labels, series)| {
            let durations = series.lock().durations.clone();
            durations
                .into_iter()
                .map(|(error_type, histogram)| (DurationLabels { labels: labels.clone(), error_type }, histogram))
        });
        let help = "Time from the head of a request to the end of its response.";
        histograms(encoder, "gen_ai_client_operation_duration", help, Some(&Unit::Seconds), series)?;

        let series =
            all.iter().filter_map(|(labels, series)| Some((labels.clone(), series.lock().first_token.clone()?)));
        let help = "Time from the head of a request to the first token of a streamed answer.";
        histograms(encoder, "gen_ai_server_time_to_first_token", help, Some(&Unit::Seconds), series)?;

        let series = all.iter().filter_map(|(labels, series)| Some((labels.clone(), series.lock().per_token.clone()?)));
        let help = "Time from one token to the next in a streamed answer, after the first.";
        histograms(encoder, "gen_ai_server_time_per_output_token", help, Some(&Unit::Seconds), series)
    }

    /// The agent's own.
    fn write_own(&self, encoder: &mut DescriptorEncoder<'_>, all: &Snapshot) -> fmt::Result {
        let prefix = &self.prefix;
        let series = all.iter().flat_map(|(labels, series)| {
            let endings = series.lock().endings.clone();
            endings.into_iter().map(|(ending, count)| (EndingLabels { labels: labels.clone(), ending }, count))
        });
        counters(encoder, &format!("{prefix}_requests"), "Calls, by how they ended.", series)?;

        let cost = all.iter().map(|(labels, series)| (labels.clone(), dollars(series.lock().cost)));
        let help = "US dollars, over the calls whose price is known.";
        amounts(encoder, &format!("{prefix}_cost_usd"), help, cost)?;

        let unknown = all.iter().flat_map(|(labels, series)| {
            let series = series.lock();
            let counts = [
                ("unpriced", series.unpriced),
                ("uncounted", series.uncounted),
                ("partial", series.partial),
                ("estimated", series.estimated),
            ];
            counts.map(|(reason, count)| (UnknownLabels { labels: labels.clone(), reason }, count))
        });
        let help = "Calls whose cost is not, or not wholly, in the dollars: no price, no token count, cut short, or estimated.";
        counters(encoder, &format!("{prefix}_cost_unknown_requests"), help, unknown.filter(|(_, count)| *count > 0))?;

        let families: [(&str, &str, Value); 5] = [
            ("cache_read_tokens", "Input tokens that the provider had in its cache.", |series| series.cache_read),
            ("cache_write_tokens", "Input tokens that the provider put into its cache.", |series| series.cache_write),
            ("reasoning_tokens", "Output tokens spent on reasoning.", |series| series.reasoning),
            ("request_body_bytes", "Bytes of requests' bodies, as sent.", |series| series.request_bytes),
            ("response_body_bytes", "Bytes of responses' bodies, as sent.", |series| series.response_bytes),
        ];
        for (name, help, value) in families {
            let series = all.iter().map(|(labels, series)| (labels.clone(), value(&series.lock())));
            counters(encoder, &format!("{prefix}_{name}"), help, series)?;
        }
        let units = all.iter().flat_map(|(labels, series)| {
            let units = series.lock().units.clone();
            units.into_iter().map(|(unit, count)| (UnitLabels { labels: labels.clone(), unit }, count))
        });
        let help = "What was used beside plain text tokens, and billed at rates of its own.";
        counters(encoder, &format!("{prefix}_usage_units"), help, units)?;
        let lookups = PriceStatus::ALL.iter().zip(&self.price_lookups);
        let lookups = lookups.map(|(status, count)| ([("status", status.as_str())], count.load(Relaxed)));
        let help = "Looks for a price, by what they came to.";
        counters(encoder, &format!("{prefix}_price_lookups"), help, lookups)?;
        let folded = [([("", ""); 0], self.folded.load(Relaxed))];
        let help = "Calls counted under program and user `other`, because there are too many combinations of labels.";
        counters(encoder, &format!("{prefix}_folded_requests"), help, folded)
    }
}

/// Floating point begins here: it is what the format has.
fn dollars(amount: Decimal) -> f64 {
    amount.to_f64().unwrap_or(f64::MAX)
}
