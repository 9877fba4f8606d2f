//! The report for finance: the columns of FOCUS 1.2 (focus.finops.org), one row for each charge period, model, caller
//! and meter. What FOCUS has no word for is in columns that begin with `x_`, as it asks.

mod meter;
mod split;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Unit, Zoned, ZonedRound};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use tollgate_ledger::Line;
use tollgate_ledger::query::{Charge, Dimension, Filter, Reader, timestamp};
use tollgate_llm::Prices;

use self::meter::{METERS, REQUESTS, quantities};
use super::values::inert;
use crate::books;

const COLUMNS: [&str; 46] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_CostStatus",
    "x_ServiceTier",
    "x_UsageSource",
    "x_Calls",
    "x_CostCenter",
    "x_Team",
];

/// How much is known of the cost in a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// The row has its cost.
    Known,
    /// The cost of these calls is known as a whole only; it is in the row of the meter `Requests`.
    InRequests,
    /// The row has the cost of some of its calls.
    Incomplete,
    /// The tokens are known, their price is not.
    Unpriced,
    /// The provider answered, and told no tokens.
    Uncounted,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::InRequests => "in_requests",
            Self::Incomplete => "incomplete",
            Self::Unpriced => "unpriced",
            Self::Uncounted => "uncounted",
        }
    }
}

/// What makes a row of its own.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Key {
    period: Timestamp,
    provider: String,
    model: String,
    region: Option<String>,
    /// Names and values, already JSON.
    tags: String,
    team: Option<String>,
    cost_center: Option<String>,
    credential: Option<String>,
    tier: String,
    source: String,
    status: Status,
    meter: usize,
}

#[derive(Default, Clone, Copy)]
struct Sum {
    calls: u64,
    quantity: Decimal,
    cost: Decimal,
}

/// Whether `--by` asks for hours; anything else but days is not for this form to group by.
pub(super) fn is_hourly(by: &[Dimension]) -> Result<bool, String> {
    match by.iter().find(|dimension| !dimension.is_time()) {
        Some(other) => Err(format!(
            "--by {other}: the rows of --format focus hold every property already; only --by day or --by hour says how long a charge period is"
        )),
        None => Ok(by.contains(&Dimension::Hour)),
    }
}

/// The export, as CSV with a line of titles.
pub(super) fn focus(reader: &Reader, prices: &Prices, filter: &Filter, hourly: bool) -> anyhow::Result<Vec<u8>> {
    let mut rows: BTreeMap<Key, Sum> = BTreeMap::new();
    reader.each(filter, |charge| add(&mut rows, prices, charge, hourly)).map_err(books::told)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for (key, sum) in &rows {
        let row = row(key, sum, hourly)?;
        writer.write_record(COLUMNS.map(|column| row.get(column).map_or("", String::as_str)))?;
    }
    Ok(writer.into_inner()?)
}

fn add(rows: &mut BTreeMap<Key, Sum>, prices: &Prices, charge: &Charge<'_>, hourly: bool) {
    let line = charge.line;
    let cost = line.cost_usd.as_deref().and_then(|cost| cost.parse::<Decimal>().ok());
    let missing = charge.unpriced > 0 || charge.uncounted > 0;
    let quantities = quantities(line);
    let split = cost.filter(|_| !charge.is_sum).and_then(|cost| split::split(prices, line, cost));
    let (status, whole) = match cost {
        // Of a sum that holds only errors.
        Some(cost) if cost.is_zero() && quantities.is_empty() && !missing => return,
        // A price for the request itself, if there is one.
        Some(_) if let Some(split) = &split => {
            let request = split.iter().find(|(meter, _)| *meter == REQUESTS);
            (Status::Known, request.map(|(_, cost)| (Status::Known, 1, *cost)))
        }
        Some(cost) if !missing => (Status::InRequests, Some((Status::Known, charge.calls, cost))),
        Some(cost) if !cost.is_zero() => (Status::InRequests, Some((Status::Incomplete, charge.calls, cost))),
        _ if charge.unpriced > 0 => (Status::Unpriced, None),
        _ if charge.uncounted > 0 => (Status::Uncounted, Some((Status::Uncounted, charge.uncounted, Decimal::ZERO))),
        // Nobody is charged for it.
        _ => return,
    };
    let costs: BTreeMap<_, _> = split.unwrap_or_default().into_iter().collect();
    let parts = quantities
        .into_iter()
        .map(|(meter, quantity)| (meter, status, quantity, costs.get(&meter).copied().unwrap_or_default()));
    let whole = whole.map(|(status, quantity, cost)| (REQUESTS, status, quantity, cost));
    let key = key(line, status, hourly);
    for (meter, status, quantity, cost) in parts.chain(whole) {
        let sum = rows.entry(Key { status, meter, ..key.clone() }).or_default();
        sum.calls = sum.calls.saturating_add(charge.calls);
        sum.quantity = sum.quantity.saturating_add(quantity.into());
        sum.cost = sum.cost.saturating_add(cost);
    }
}

fn key(line: &Line<'_>, status: Status, hourly: bool) -> Key {
    let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let model = line.request_model.as_deref().or(line.response_model.as_deref()).unwrap_or_default();
    let tags = [
        ("program", Some(&*line.program)),
        ("user", Some(&*line.user)),
        ("unit", line.unit.as_deref()),
        ("container", line.container.as_deref()),
        ("namespace", line.namespace.as_deref()),
        ("service_account", line.service_account.as_deref()),
        ("team", line.team.as_deref()),
        ("cost_center", line.cost_center.as_deref()),
        ("end_user", line.end_user.as_deref()),
        ("operation", Some(&*line.operation)),
        ("host", Some(&*line.host)),
    ];
    let tags: Map<_, _> =
        tags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect();
    Key {
        period: begin(timestamp(line.started), if hourly { Unit::Hour } else { Unit::Day }),
        provider: line.provider.to_string(),
        model: model.into(),
        region: owned(&line.region),
        tags: Value::Object(tags).to_string(),
        team: owned(&line.team),
        cost_center: owned(&line.cost_center),
        credential: owned(&line.credential),
        tier: line.service_tier.as_deref().unwrap_or("standard").into(),
        source: line.usage_source.to_string(),
        status,
        meter: REQUESTS,
    }
}

/// The beginning of the hour or day, in UTC, as FOCUS has it.
fn begin(at: Timestamp, unit: Unit) -> Timestamp {
    let round = ZonedRound::new().smallest(unit).mode(jiff::RoundMode::Trunc);
    at.to_zoned(TimeZone::UTC).round(round).map_or(at, |begin| begin.timestamp())
}

fn row(key: &Key, sum: &Sum, hourly: bool) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let meter = &METERS[key.meter];
    let begins = key.period.to_zoned(TimeZone::UTC);
    let ends = begins.checked_add(if hourly { 1.hour() } else { 1.day() })?;
    let month = begins.first_of_month()?.start_of_day()?;
    let next_month = month.checked_add(1.month())?;
    let instant = |at: &Zoned| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let quantity = meter.priced(sum.quantity);
    // Not known is not nothing: FOCUS would have a number here, and an empty cell is the lesser evil.
    let known = !matches!(key.status, Status::Unpriced | Status::Uncounted);
    let cost = if known { sum.cost.normalize().to_string() } else { String::new() };
    // Several rates may be in a row, as of long and short prompts; then no one price explains the cost.
    let price = (key.status == Status::Known && !quantity.is_zero())
        .then(|| (sum.cost / quantity).round_dp(12).normalize())
        .filter(|price| price * quantity == sum.cost)
        .map_or_else(String::new, |price| price.to_string());
    let text = |text: &str| inert(text).into_owned();
    let provider = text(&key.provider);
    let model = text(&key.model);
    let region = text(key.region.as_deref().unwrap_or_default());
    let credential = text(key.credential.as_deref().unwrap_or_default());
    let kind = if credential.is_empty() { "" } else { "Credential" };
    let description = format!("{} of {} at {}", meter.name, key.model, key.provider);
    Ok(BTreeMap::from([
        ("BilledCost", cost.clone()),
        ("BillingAccountId", provider.clone()),
        ("BillingAccountName", provider.clone()),
        ("BillingCurrency", "USD".into()),
        ("BillingPeriodEnd", instant(&next_month)),
        ("BillingPeriodStart", instant(&month)),
        ("ChargeCategory", "Usage".into()),
        ("ChargeDescription", text(&description)),
        ("ChargeFrequency", "Usage-Based".into()),
        ("ChargePeriodEnd", instant(&ends)),
        ("ChargePeriodStart", instant(&begins)),
        ("ConsumedQuantity", sum.quantity.normalize().to_string()),
        ("ConsumedUnit", meter.consumed.into()),
        ("ContractedCost", cost.clone()),
        ("ContractedUnitPrice", price.clone()),
        ("EffectiveCost", cost.clone()),
        ("InvoiceIssuerName", provider.clone()),
        ("ListCost", cost),
        ("ListUnitPrice", price),
        ("PricingCategory", "Standard".into()),
        ("PricingCurrency", "USD".into()),
        ("PricingQuantity", quantity.to_string()),
        ("PricingUnit", meter.priced.into()),
        ("ProviderName", provider.clone()),
        ("PublisherName", provider.clone()),
        ("RegionId", region.clone()),
        ("RegionName", region),
        ("ResourceId", model.clone()),
        ("ResourceName", model),
        ("ResourceType", "Model".into()),
        ("ServiceCategory", "AI and Machine Learning".into()),
        ("ServiceName", provider),
        ("ServiceSubcategory", "Generative AI".into()),
        ("SkuId", text(&format!("{}/{}", key.provider, key.model))),
        ("SkuMeter", meter.name.into()),
        ("SubAccountId", credential.clone()),
        ("SubAccountName", credential),
        ("SubAccountType", kind.into()),
        ("Tags", key.tags.clone()),
        ("x_CostStatus", key.status.as_str().into()),
        ("x_ServiceTier", text(&key.tier)),
        ("x_UsageSource", text(&key.source)),
        ("x_Calls", sum.calls.to_string()),
        ("x_CostCenter", text(key.cost_center.as_deref().unwrap_or_default())),
        ("x_Team", text(key.team.as_deref().unwrap_or_default())),
    ]))
}
