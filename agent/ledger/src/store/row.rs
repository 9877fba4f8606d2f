//! An exchange in the form that the journal and the file share.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tollgate_llm::{Usage, UsageSource};
use tollgate_workload::Caller;

use super::schema::COUNTS;
use crate::outcome::Outcome;
use crate::record::{Id, Opened, Record};

/// The largest count of one exchange that is kept, so that sums do not overflow. No model reads so much.
const LARGEST_COUNT: u64 = 1_000_000_000_000;
/// The largest cost of one exchange that is kept, in dollars; for the same reason.
const LARGEST_COST: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// Bytes of a text that are kept. Callers and providers choose some of them.
const LONGEST: usize = 1024;

/// One word that is ours.
pub(super) type Word = Cow<'static, str>;

/// An exchange, ended or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub(super) id: Id,
    /// Microseconds since 1970.
    pub(super) started: i64,
    pub(super) provider: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Text>,
    pub(super) host: Text,
    pub(super) operation: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_model: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<Text>,
    pub(super) caller: Shared<Caller>,
    /// What is known once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<Box<End>>,
}

/// How an exchange ended. Durations in microseconds.
#[expect(clippy::struct_excessive_bools, reason = "each is a column, and any may meet any other")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) duration: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_byte: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_token: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) response_model: Option<Text>,
    /// In the order of [`COUNTS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<[i64; COUNTS.len()]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<Word>,
    pub(super) source: Word,
    /// As the columns `cost_nano` and `cost_atto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cost: Option<(i64, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) price_from: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) price_status: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    pub(super) outcome: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error_type: Option<Word>,
    pub(super) is_error: bool,
    pub(super) is_refused: bool,
    pub(super) is_billable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_lost: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<bool>,
    pub(super) request_bytes: i64,
    pub(super) response_bytes: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<Text>,
}

impl From<&Opened> for Row {
    fn from(opened: &Opened) -> Self {
        Self {
            id: opened.id,
            started: micros_of(opened.started),
            provider: Text::new(&opened.provider),
            region: opened.region.as_ref().map(Text::new),
            host: Text::new(&opened.host),
            operation: opened.operation.as_str().into(),
            request_model: opened.request_model.as_ref().map(Text::new),
            credential: opened.credential.as_ref().map(Text::new),
            caller: Shared(Arc::clone(&opened.caller)),
            end: None,
        }
    }
}

impl From<&Record> for Row {
    fn from(record: &Record) -> Self {
        let end = End {
            duration: micros(record.duration),
            first_byte: record.time_to_first_byte.map(micros),
            first_token: record.time_to_first_token.map(micros),
            response_model: record.response_model.as_ref().map(Text::new),
            counts: record.usage.as_ref().map(counts),
            tier: record.usage.map(|usage| usage.tier.as_str().into()),
            source: record.usage_source.as_str().into(),
            cost: record.cost.map(money),
            price_from: record.price_from.as_ref().map(Text::new),
            price_status: record.price_status.map(|status| status.as_str().into()),
            status: record.status.map(|status| status.as_u16()),
            outcome: record.outcome.kind().into(),
            reason: record.outcome.reason().map(Into::into),
            error_type: record.error_type().map(Into::into),
            is_error: record.is_error(),
            is_refused: matches!(record.outcome, Outcome::Refused(_)),
            is_billable: record.is_billable(),
            is_lost: false,
            stream: record.stream,
            request_bytes: whole(record.request_bytes),
            response_bytes: whole(record.response_bytes),
            request_id: record.request_id.as_ref().map(Text::new),
        };
        Self {
            id: record.id,
            started: micros_of(record.started),
            provider: Text::new(&record.provider),
            region: record.region.as_ref().map(Text::new),
            host: Text::new(&record.host),
            operation: record.operation.as_str().into(),
            request_model: record.request_model.as_ref().map(Text::new),
            credential: record.credential.as_ref().map(Text::new),
            caller: Shared(Arc::clone(&record.caller)),
            end: Some(Box::new(end)),
        }
    }
}

impl Row {
    /// The row of an exchange whose agent died before it ended, last heard of at `until`.
    pub(super) fn lost(mut self, until: SystemTime) -> Self {
        self.end.get_or_insert_with(|| {
            Box::new(End {
                duration: micros_of(until).saturating_sub(self.started).max(0),
                first_byte: None,
                first_token: None,
                response_model: None,
                counts: None,
                tier: None,
                source: UsageSource::Partial.as_str().into(),
                cost: None,
                price_from: None,
                price_status: None,
                status: None,
                outcome: Outcome::Stopped.kind().into(),
                reason: None,
                error_type: Some(Outcome::Stopped.kind().into()),
                is_error: true,
                is_refused: false,
                // Whether the provider had begun to answer, nobody knows; it may charge for it.
                is_billable: true,
                is_lost: true,
                stream: None,
                request_bytes: 0,
                response_bytes: 0,
                request_id: None,
            })
        });
        self
    }
}

/// Text from outside, of bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Text(Arc<str>);

impl Text {
    fn new(text: &Arc<str>) -> Self {
        if text.len() <= LONGEST { Self(Arc::clone(text)) } else { Self(clipped(text).into()) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The beginning of a text that is too long.
pub(super) fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self(clipped(&text).into()))
    }
}

/// The caller, shared with the connection that it came by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shared<T>(pub(super) Arc<T>);

#[derive(Serialize, Deserialize)]
struct FlatCaller<'a> {
    #[serde(borrow)]
    program: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    executable: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    uid: u32,
    pid: u32,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    cgroup: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    unit: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    container: Option<Cow<'a, str>>,
}

impl Serialize for Shared<Caller> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let caller = &*self.0;
        FlatCaller {
            program: Cow::Borrowed(&caller.program),
            executable: caller.executable.as_deref().map(|path| path.to_string_lossy()),
            user: Cow::Borrowed(&caller.user),
            uid: caller.uid,
            pid: caller.pid,
            cgroup: caller.cgroup.as_deref().map(Cow::Borrowed),
            unit: caller.unit.as_deref().map(Cow::Borrowed),
            container: caller.container.as_deref().map(Cow::Borrowed),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared<Caller> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = FlatCaller::deserialize(deserializer)?;
        Ok(Self(Arc::new(Caller {
            program: flat.program.into(),
            executable: flat.executable.map(|path| PathBuf::from(&*path)),
            user: flat.user.into(),
            uid: flat.uid,
            pid: flat.pid,
            cgroup: flat.cgroup.map(Into::into),
            unit: flat.unit.map(Into::into),
            container: flat.container.map(Into::into),
        })))
    }
}

fn write_id<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    Id::parse(&text).ok_or_else(|| serde::de::Error::custom("no id"))
}

pub(super) fn micros_of(time: SystemTime) -> i64 {
    // A clock before 1970 is a broken one; its rows stand at the beginning.
    time.duration_since(SystemTime::UNIX_EPOCH).map(micros).unwrap_or_default()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn whole(bytes: u64) -> i64 {
    bytes.min(1 << 50).cast_signed()
}

fn counts(usage: &Usage) -> [i64; COUNTS.len()] {
    let Usage {
        input,
        output,
        cache_read,
        cache_write,
        cache_write_1h,
        reasoning,
        input_audio,
        cache_read_audio,
        cache_read_image,
        output_audio,
        output_image,
        input_image,
        input_tool,
        web_searches,
        server_tools,
        images,
        audio_ms,
        characters,
        search_units,
        tier: _,
    } = *usage;
    [
        input,
        output,
        cache_read,
        cache_write,
        cache_write_1h,
        reasoning,
        input_audio,
        cache_read_audio,
        cache_read_image,
        output_audio,
        output_image,
        input_image,
        input_tool,
        web_searches,
        server_tools,
        images,
        audio_ms,
        characters,
        search_units,
    ]
    .map(|count| count.min(LARGEST_COUNT).cast_signed())
}

/// Dollars as nano- and attodollars, exact to 10⁻¹⁸.
fn money(cost: Decimal) -> (i64, i64) {
    const NANO: i128 = 1_000_000_000;
    let cost = cost.clamp(Decimal::ZERO, LARGEST_COST).round_dp(18);
    let atto = cost.mantissa() * 10_i128.pow(18 - cost.scale());
    ((atto / NANO) as i64, (atto % NANO) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::chat;

    #[test]
    fn a_row_reads_back_from_its_json() {
        let row = Row::from(&Record { request_id: Some("req_1".into()), region: Some("eu".into()), ..chat() });
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
        let lost = Row { end: None, ..row }.lost(SystemTime::now());
        assert!(lost.end.as_ref().is_some_and(|end| end.is_lost && end.duration > 0 && end.source == "partial"));
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let long: Arc<str> = "é".repeat(LONGEST).into();
        let row = Row::from(&Record { request_model: Some(Arc::clone(&long)), ..chat() });
        assert_eq!(row.request_model.unwrap().as_str(), &long[..LONGEST]);
    }

    proptest! {
        #[test]
        fn money_is_exact_to_the_attodollar(mantissa in 0..=1_000_000_000_000_000_000_000_000_i128, scale in 0..=18_u32) {
            let cost = Decimal::from_i128_with_scale(mantissa, scale);
            let (nano, atto) = money(cost);
            let back = Decimal::new(nano, 9) + Decimal::new(atto, 18);
            prop_assert_eq!(back, cost.min(LARGEST_COST));
        }
    }
}
