//! Counts calls.

mod known;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::Histogram;
use rust_decimal::Decimal;
use tollgate_ledger::{Outcome, Record};
use tollgate_llm::{PriceStatus, Usage, UsageSource};

use self::known::Known;
use crate::labels::{OTHER, Values};

/// `gen_ai.client.token.usage`, in tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// `gen_ai.client.operation.duration`, in seconds.
const DURATION: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// `gen_ai.server.time_to_first_token`, in seconds.
const FIRST_TOKEN: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// `gen_ai.server.time_per_output_token`, in seconds, and one below, for models that are faster than the conventions foresee.
const PER_TOKEN: [f64; 14] = [0.001, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// Values of one label that are kept apart.
const VALUES: usize = 100;
/// Combinations of values that are kept apart; what is beyond is counted under `other` programs and users.
const SERIES: usize = 1_000;
/// Combinations that this may add, before everything goes under `other`.
const FOLDED: usize = 200;
/// Endings kept apart in one combination. There are some fifty that make sense.
const ENDINGS: usize = 64;

/// What is counted of calls, by who called what.
#[derive(Debug)]
pub(super) struct Calls {
    prefix: String,
    providers: Values,
    models: Values,
    programs: Values,
    users: Values,
    series: RwLock<HashMap<Labels, Arc<Mutex<Series>>>>,
    known: Known,
    folded: AtomicU64,
    /// By status, over all calls, because a missing price is mended by provider and model, which have a metric of their own.
    price_lookups: [AtomicU64; PriceStatus::ALL.len()],
}

/// Named as OpenTelemetry names them, and the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    gen_ai_provider_name: Arc<str>,
    gen_ai_operation_name: &'static str,
    gen_ai_request_model: Arc<str>,
    gen_ai_response_model: Arc<str>,
    program: Arc<str>,
    user: Arc<str>,
}

#[derive(Debug, Default)]
struct Series {
    input: Option<Histogram>,
    output: Option<Histogram>,
    first_token: Option<Histogram>,
    per_token: Option<Histogram>,
    /// By error type; empty for none.
    durations: BTreeMap<&'static str, Histogram>,
    endings: BTreeMap<Ending, u64>,
    cache_read: u64,
    cache_write: u64,
    reasoning: u64,
    /// Exact until it is written out.
    cost: Decimal,
    unpriced: u64,
    uncounted: u64,
    partial: u64,
    estimated: u64,
    /// What is billed by something else than tokens, and parts of those; none that is zero.
    units: BTreeMap<&'static str, u64>,
    request_bytes: u64,
    response_bytes: u64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Ending {
    outcome: &'static str,
    error_type: &'static str,
    status: Option<u16>,
}

impl Calls {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            providers: Values::new(VALUES),
            models: Values::new(VALUES),
            programs: Values::new(VALUES),
            users: Values::new(VALUES),
            series: RwLock::default(),
            known: Known::new(),
            folded: AtomicU64::new(0),
            price_lookups: Default::default(),
        }
    }

    pub(super) fn record(&self, record: &Record) {
        let series = self.known.get(record).unwrap_or_else(|| self.find(record));
        series.lock().add(record);
        if let Some(place) =
            record.price_status.and_then(|status| PriceStatus::ALL.iter().position(|&one| one == status))
        {
            self.price_lookups[place].fetch_add(1, Relaxed);
        }
    }

    fn labels(&self, record: &Record) -> Labels {
        let answered = has_answered(record);
        let model = |model: &Option<Arc<str>>| match model.as_deref() {
            None => "".into(),
            Some(model) if answered => self.models.bound(model),
            Some(model) => self.models.known(model),
        };
        Labels {
            gen_ai_provider_name: self.providers.bound(&record.provider),
            gen_ai_operation_name: record.operation.as_str(),
            gen_ai_request_model: model(&record.request_model),
            gen_ai_response_model: model(&record.response_model),
            program: self.programs.bound(&record.caller.program),
            user: self.users.bound(&record.caller.user),
        }
    }

    /// The series for a record's labels, or a coarser one when there are too many.
    fn find(&self, record: &Record) -> Arc<Mutex<Series>> {
        let labels = self.labels(record);
        // Mostly it is there, and a shared lock is enough, also when everything new goes under `other`.
        let all = self.series.read();
        let place = labels.clone().place(&all);
        let is_folded = place != labels;
        if is_folded {
            self.folded.fetch_add(1, Relaxed);
        }
        let known = all.get(&place).map(Arc::clone);
        drop(all);
        let series = known.unwrap_or_else(|| {
            let mut all = self.series.write();
            let place = labels.place(&all);
            Arc::clone(all.entry(place).or_default())
        });
        // What has a place keeps it, and so does what found none for a value. Of models that nobody has answered for, neither is sure.
        if !is_folded && has_answered(record) {
            self.known.remember(record, &series);
        }
        series
    }

    /// The series as they are now. The list is copied, so that nobody waits while they are written.
    fn snapshot(&self) -> Vec<(Labels, Arc<Mutex<Series>>)> {
        self.series.read().iter().map(|(labels, series)| (labels.clone(), Arc::clone(series))).collect()
    }
}

/// A model takes one of the places only when a provider seems to have it, answering or too busy to: invented names would else
/// take them all.
fn has_answered(record: &Record) -> bool {
    let busy = |status: StatusCode| status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    record.is_billable() || record.status.is_some_and(busy)
}

impl Labels {
    /// These, as long as there is room for them among all the others.
    fn place(self, all: &HashMap<Self, Arc<Mutex<Series>>>) -> Self {
        if all.len() < SERIES || all.contains_key(&self) {
            return self;
        }
        let other = || Arc::clone(&OTHER);
        let folded = Self { program: other(), user: other(), ..self };
        if all.len() < SERIES + FOLDED || all.contains_key(&folded) {
            return folded;
        }
        Self {
            gen_ai_provider_name: other(),
            gen_ai_operation_name: "other",
            gen_ai_request_model: other(),
            gen_ai_response_model: other(),
            ..folded
        }
    }
}

impl Series {
    fn add(&mut self, record: &Record) {
        let error_type = record.error_type().unwrap_or_default();
        self.end(record, error_type);
        self.durations
            .entry(error_type)
            .or_insert_with(|| Histogram::new(DURATION))
            .observe(record.duration.as_secs_f64());
        // Of answers in one piece the first byte comes with the last token, so only streams tell.
        let first = record.time_to_first_token.or(record.time_to_first_byte);
        if let (Some(true), Some(first), true) = (record.stream, first, record.is_billable()) {
            histogram(&mut self.first_token, &FIRST_TOKEN).observe(first.as_secs_f64());
            if let Some(each) = per_token(record, first) {
                histogram(&mut self.per_token, &PER_TOKEN).observe(each);
            }
        }
        if let Some(usage) = &record.usage {
            histogram(&mut self.input, &TOKENS).observe(usage.input as f64);
            histogram(&mut self.output, &TOKENS).observe(usage.output as f64);
            add(&mut self.cache_read, usage.cache_read);
            add(&mut self.cache_write, usage.cache_write);
            add(&mut self.reasoning, usage.reasoning);
            self.unpriced += u64::from(record.cost.is_none());
            self.partial += u64::from(record.usage_source == UsageSource::Partial);
            self.estimated += u64::from(record.usage_source == UsageSource::Estimated);
            for (unit, count) in units(usage) {
                add(self.units.entry(unit).or_default(), count);
            }
        } else {
            self.uncounted += u64::from(record.is_billable());
        }
        self.cost = self.cost.saturating_add(record.cost.unwrap_or_default());
        add(&mut self.request_bytes, record.request_bytes);
        add(&mut self.response_bytes, record.response_bytes);
    }

    fn end(&mut self, record: &Record, error_type: &'static str) {
        let status = record.status.map(|status| status.as_u16());
        let mut ending = Ending { outcome: record.outcome.kind(), error_type, status };
        if self.endings.len() >= ENDINGS && !self.endings.contains_key(&ending) {
            ending.status = None;
        }
        *self.endings.entry(ending).or_default() += 1;
    }
}

/// Seconds from one token to the next, once the first was there. An answer that was cut off or counted by us does not tell.
fn per_token(record: &Record, first: Duration) -> Option<f64> {
    let told = record.outcome == Outcome::Completed && record.usage_source == UsageSource::Provider;
    let tokens = record.usage.filter(|_| told)?.output.checked_sub(1).filter(|&tokens| tokens > 0)?;
    Some(record.duration.checked_sub(first)?.as_secs_f64() / tokens as f64)
}

/// What was used beside plain tokens, as far as it was.
fn units(usage: &Usage) -> impl Iterator<Item = (&'static str, u64)> {
    let units = [
        ("cache_write_1h_tokens", usage.cache_write_1h),
        ("input_audio_tokens", usage.input_audio),
        ("output_audio_tokens", usage.output_audio),
        ("input_image_tokens", usage.input_image),
        ("output_image_tokens", usage.output_image),
        ("input_tool_tokens", usage.input_tool),
        ("web_searches", usage.web_searches),
        ("server_tools", usage.server_tools),
        ("images", usage.images),
        ("audio_milliseconds", usage.audio_ms),
        ("characters", usage.characters),
        ("search_units", usage.search_units),
    ];
    units.into_iter().filter(|&(_, count)| count > 0)
}

/// Made when it is first needed: most series never see tokens, or a stream.
fn histogram<'a>(place: &'a mut Option<Histogram>, buckets: &[f64]) -> &'a Histogram {
    place.get_or_insert_with(|| Histogram::new(buckets.iter().copied()))
}

/// A provider may report any number, so sums stop at the largest.
fn add(sum: &mut u64, value: u64) {
    *sum = sum.saturating_add(value);
}
