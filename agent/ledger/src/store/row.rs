//! An exchange in the form that the journal and the file share. It borrows everything: the request path allocates nothing.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use rust_decimal::Decimal;
use tollgate_llm::{PriceStatus, Usage, UsageSource};
use tollgate_workload::Caller;

use super::charges::Charges;
use super::schema::COUNTS;
use crate::outcome::Outcome;
use crate::record::{Attribution, Id, Opened, Record};

/// The largest count of one exchange that is kept, so that sums do not overflow. No model reads so much.
const LARGEST_COUNT: u64 = 1_000_000_000_000;
/// The largest cost of one exchange that is kept, in dollars; for the same reason.
const LARGEST_COST: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// Bytes of a text that are kept. Callers and providers choose some of them.
const LONGEST: usize = 1024;

/// The texts of an exchange that others have in common with it, in the journal's order: who called, what, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    Program,
    Executable,
    User,
    Cgroup,
    Unit,
    Container,
    Provider,
    Region,
    Host,
    Operation,
    RequestModel,
    Credential,
    ResponseModel,
    Source,
    Tier,
    PriceFrom,
    PriceStatus,
    Outcome,
    Reason,
    ErrorType,
    // Since version 3 of the journal.
    Team,
    CostCenter,
    EndUser,
    UserAgent,
    Rule,
    PodUid,
    Pod,
    Namespace,
    ServiceAccount,
}

/// How many of [`Label`] there are.
pub(super) const LABELS: usize = Label::ServiceAccount as usize + 1;

/// A text for each [`Label`], and the caller's user id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Labels<'a> {
    pub(super) uid: u32,
    pub(super) texts: [Option<&'a str>; LABELS],
}

/// An exchange, ended or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) id: Id,
    /// Microseconds since 1970.
    pub(super) started: i64,
    pub(super) pid: u32,
    pub(super) labels: Labels<'a>,
    /// What budgets were charged: what was set aside while it has not ended.
    pub(super) charges: Charges<'a>,
    /// What is known once it has ended.
    pub(super) end: Option<End<'a>>,
}

/// How an exchange ended. Durations in microseconds.
#[expect(clippy::struct_excessive_bools, reason = "each is a column, and any may meet any other")]
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct End<'a> {
    pub(super) duration: i64,
    pub(super) first_byte: Option<i64>,
    pub(super) first_token: Option<i64>,
    /// In the order of [`COUNTS`].
    pub(super) counts: Option<[i64; COUNTS.len()]>,
    /// As the columns `cost_nano` and `cost_atto`.
    pub(super) cost: Option<(i64, i64)>,
    pub(super) status: Option<u16>,
    pub(super) is_error: bool,
    pub(super) is_refused: bool,
    pub(super) is_billable: bool,
    pub(super) is_lost: bool,
    pub(super) stream: Option<bool>,
    pub(super) request_bytes: i64,
    pub(super) response_bytes: i64,
    pub(super) request_id: Option<&'a str>,
}

impl<'a> Labels<'a> {
    pub(super) fn get(&self, name: Label) -> Option<&'a str> {
        self.texts[name as usize]
    }

    fn set(&mut self, name: Label, text: impl Into<Option<&'a str>>) {
        self.texts[name as usize] = text.into().map(clipped);
    }

    fn of(caller: &'a Caller, executable: Option<&'a str>) -> Self {
        let mut labels = Self { uid: caller.uid, ..Self::default() };
        labels.set(Label::Program, &*caller.program);
        labels.set(Label::Executable, executable);
        labels.set(Label::User, &*caller.user);
        labels.set(Label::Cgroup, caller.cgroup.as_deref());
        labels.set(Label::Unit, caller.unit.as_deref());
        labels.set(Label::Container, caller.container.as_deref());
        if let Some(pod) = caller.pod.as_deref() {
            labels.set(Label::PodUid, &*pod.uid);
            labels.set(Label::Pod, pod.name.as_deref());
            labels.set(Label::Namespace, pod.namespace.as_deref());
            labels.set(Label::ServiceAccount, pod.service_account.as_deref());
        }
        labels
    }

    fn attribute(&mut self, attribution: &'a Attribution) {
        self.set(Label::Team, attribution.team.as_deref());
        self.set(Label::CostCenter, attribution.cost_center.as_deref());
        self.set(Label::EndUser, attribution.end_user.as_deref());
        self.set(Label::UserAgent, attribution.user_agent.as_deref());
    }
}

/// The executable's path as text, for [`Row::opened`] and [`Row::settled`].
pub(super) fn executable(caller: &Caller) -> Option<Cow<'_, str>> {
    caller.executable.as_deref().map(|path| path.to_string_lossy())
}

impl<'a> Row<'a> {
    pub(super) fn opened(opened: &'a Opened, executable: Option<&'a str>) -> Self {
        let mut labels = Labels::of(&opened.caller, executable);
        labels.set(Label::Provider, &*opened.provider);
        labels.set(Label::Region, opened.region.as_deref());
        labels.set(Label::Host, &*opened.host);
        labels.set(Label::Operation, opened.operation.as_str());
        labels.set(Label::RequestModel, opened.request_model.as_deref());
        labels.set(Label::Credential, opened.credential.as_deref());
        labels.attribute(&opened.attribution);
        let charges = Charges::Told(&opened.charges);
        Self { id: opened.id, started: micros_of(opened.started), pid: opened.caller.pid, labels, charges, end: None }
    }

    pub(super) fn settled(record: &'a Record, executable: Option<&'a str>) -> Self {
        let error_type = record.error_type();
        let mut labels = Labels::of(&record.caller, executable);
        labels.set(Label::Provider, &*record.provider);
        labels.set(Label::Region, record.region.as_deref());
        labels.set(Label::Host, &*record.host);
        labels.set(Label::Operation, record.operation.as_str());
        labels.set(Label::RequestModel, record.request_model.as_deref());
        labels.set(Label::Credential, record.credential.as_deref());
        labels.set(Label::ResponseModel, record.response_model.as_deref());
        labels.set(Label::Source, record.usage_source.as_str());
        labels.set(Label::Tier, record.usage.as_ref().map(|usage| usage.tier.as_str()));
        labels.set(Label::PriceFrom, record.price_from.as_deref());
        labels.set(Label::PriceStatus, record.price_status.map(PriceStatus::as_str));
        labels.set(Label::Outcome, record.outcome.kind());
        labels.set(Label::Reason, record.outcome.reason());
        labels.set(Label::ErrorType, error_type);
        labels.attribute(&record.attribution);
        labels.set(Label::Rule, record.rule.as_deref());
        let end = End {
            duration: micros(record.duration),
            first_byte: record.time_to_first_byte.map(micros),
            first_token: record.time_to_first_token.map(micros),
            counts: record.usage.as_ref().map(counts),
            cost: record.cost.map(money),
            status: record.status.map(|status| status.as_u16()),
            is_error: record.outcome != Outcome::ClientGone && error_type.is_some(),
            is_refused: matches!(record.outcome, Outcome::Refused(_)),
            is_billable: record.is_billable(),
            is_lost: false,
            stream: record.stream,
            request_bytes: whole(record.request_bytes),
            response_bytes: whole(record.response_bytes),
            request_id: record.request_id.as_deref().map(clipped),
        };
        let (started, charges) = (micros_of(record.started), Charges::Told(&record.charges));
        Self { id: record.id, started, pid: record.caller.pid, labels, charges, end: Some(end) }
    }

    /// The row of an exchange whose agent died before it ended, last heard of at `until`. What was set aside for it stays charged.
    pub(super) fn lost(mut self, until: SystemTime) -> Self {
        if self.end.is_none() {
            self.labels.set(Label::Source, UsageSource::Partial.as_str());
            self.labels.set(Label::Outcome, Outcome::Stopped.kind());
            self.labels.set(Label::ErrorType, Outcome::Stopped.kind());
            self.end = Some(End {
                duration: micros_of(until).saturating_sub(self.started).max(0),
                is_error: true,
                // Whether the provider had begun to answer, nobody knows; it may charge for it.
                is_billable: true,
                is_lost: true,
                ..End::default()
            });
        }
        self
    }
}

/// The beginning of a text that is too long.
pub(super) fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
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
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::chat;

    #[test]
    fn what_did_not_end_is_lost_at_some_time() {
        let record = chat();
        let lost = Row { end: None, ..Row::settled(&record, None) }.lost(SystemTime::now());
        assert!(lost.end.is_some_and(|end| end.is_lost && end.duration > 0));
        assert_eq!(lost.labels.get(Label::Source), Some("partial"));
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let long: Arc<str> = "é".repeat(LONGEST).into();
        let record = Record { request_model: Some(Arc::clone(&long)), ..chat() };
        assert_eq!(Row::settled(&record, None).labels.get(Label::RequestModel), Some(&long[..LONGEST]));
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
