//! What a caller is told whom a budget or limit refuses. It says how much there is in all, and nothing of what others used.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use crate::group::OTHERS;
use crate::spend::amount;
use crate::spend::meter::Shortage;
use crate::window::{Bounds, readable};
use crate::{Amount, Budget, Count, Limit, Measure, Quota, Refused, Unit, What};

/// When to try again where that depends on others' calls.
const SHORTLY: Duration = Duration::from_secs(1);

/// A budget has no room.
pub(crate) fn of_budget(
    budget: &Budget,
    group: &str,
    shortage: Shortage,
    bounds: Bounds,
    now: Timestamp,
    contact: Option<&str>,
) -> Refused {
    let name = &budget.name;
    let much = format!("{} {}{}", sum(budget.amount), per_window(budget.window.unit), of_group(group));
    let resets = resets(budget, bounds);
    let (message, retry_after) = if shortage.is_never {
        let message = format!(
            "Budget \"{name}\" can never let this call pass: the call may take more than there is in all, {much}. Ask for a \
             smaller largest answer (such as max_tokens), or send less."
        );
        (message, None)
    } else {
        let end = until(bounds, now);
        if shortage.is_set_aside {
            let message = format!(
                "Budget \"{name}\" has no room for this call while others are on their way: it allows {much}. Try again \
                 shortly.{resets}"
            );
            (message, Some(end.map_or(SHORTLY, |end| end.min(SHORTLY))))
        } else {
            (format!("Budget \"{name}\" has no room for this call: it allows {much}.{resets}"), end)
        }
    };
    refused(
        What::Budget,
        name,
        message,
        budget.message.as_deref(),
        budget.contact.as_deref().or(contact),
        retry_after,
        None,
    )
}

/// A budget of money refuses what has no price.
pub(crate) fn of_unpriced(budget: &Budget, contact: Option<&str>) -> Refused {
    let message = format!("Budget \"{}\" refuses calls whose price is not known, and this one's is not.", budget.name);
    let contact = budget.contact.as_deref().or(contact);
    let refused = refused(What::Budget, &budget.name, message, budget.message.as_deref(), contact, None, None);
    Refused { status: StatusCode::FORBIDDEN, ..refused }
}

/// An answer on its way has used a budget up.
pub(crate) fn of_answer(
    budget: &Budget,
    group: &str,
    bounds: Bounds,
    now: Timestamp,
    contact: Option<&str>,
) -> Refused {
    let message = format!(
        "Budget \"{}\" is spent, and this answer ends here: it allows {} {}{}.{}",
        budget.name,
        sum(budget.amount),
        per_window(budget.window.unit),
        of_group(group),
        resets(budget, bounds)
    );
    let contact = budget.contact.as_deref().or(contact);
    refused(What::Budget, &budget.name, message, budget.message.as_deref(), contact, until(bounds, now), None)
}

/// Why a limit refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There is no room, or others wait for it.
    Room(Option<Shortage>),
    /// There is none in the line either.
    Line,
}

/// A limit has no room.
pub(crate) fn of_limit(limit: &Limit, group: &str, full: Full, waited: Duration, contact: Option<&str>) -> Refused {
    let name = &limit.name;
    let much = format!("{}{}", rate(limit), of_group(group));
    let shortage = if let Full::Room(shortage) = full { shortage } else { None };
    let is_never = shortage.is_some_and(|shortage| shortage.is_never);
    let room_in = shortage.and_then(|shortage| shortage.room_in).map(Duration::from_nanos);
    let mut retry_after = Some(room_in.unwrap_or(SHORTLY));
    let mut message = if is_never {
        retry_after = None;
        let smaller = match limit.measure {
            Measure::Tokens(_) if limit.amount > 0 => {
                " Ask for a smaller largest answer (such as max_tokens), or send less."
            }
            _ => "",
        };
        format!("Limit \"{name}\" can never let this call pass: it needs more than there is in all, {much}.{smaller}")
    } else if full == Full::Line {
        format!("Limit \"{name}\" is reached, and too many calls wait for it: it allows {much}. Try again shortly.")
    } else if let Some(room_in) = room_in {
        format!("Limit \"{name}\" is reached: it allows {much}. Try again in {}.", seconds(room_in))
    } else if shortage.is_none() {
        format!("Limit \"{name}\" is reached, and other calls wait for it: it allows {much}. Try again shortly.")
    } else {
        format!("Limit \"{name}\" is reached: it allows {much}. Try again when a call has ended.")
    };
    if !waited.is_zero() && !is_never {
        write!(message, " This call has waited {} already.", seconds(waited)).expect("a string takes what is written");
    }
    let contact = limit.contact.as_deref().or(contact);
    refused(What::Limit, name, message, limit.message.as_deref(), contact, retry_after, quota(limit, shortage))
}

fn refused(
    what: What,
    name: &Arc<str>,
    mut message: String,
    also: Option<&str>,
    contact: Option<&str>,
    retry_after: Option<Duration>,
    quota: Option<Quota>,
) -> Refused {
    if let Some(also) = also {
        message.push(' ');
        message.push_str(also);
    }
    if let Some(contact) = contact {
        write!(message, " Ask {contact}.").expect("a string takes what is written");
    }
    let status = StatusCode::TOO_MANY_REQUESTS;
    Refused { what, name: Arc::clone(name), status, message, retry_after, quota, notices: Vec::new() }
}

fn quota(limit: &Limit, shortage: Option<Shortage>) -> Option<Quota> {
    let is_tokens = match limit.measure {
        Measure::Requests => false,
        Measure::Tokens(_) => true,
        Measure::Concurrent | Measure::Streams => return None,
    };
    let shortage = shortage?;
    let reset = Duration::from_nanos(shortage.whole_in);
    Some(Quota { is_tokens, limit: limit.amount, remaining: shortage.remaining, reset })
}

fn resets(budget: &Budget, bounds: Bounds) -> String {
    readable(bounds.end, &budget.window.zone).map(|end| format!(" It resets at {end}.")).unwrap_or_default()
}

fn until(bounds: Bounds, now: Timestamp) -> Option<Duration> {
    let end = Timestamp::from_second(bounds.end).ok()?;
    Duration::try_from(now.duration_until(end)).ok()
}

fn of_group(group: &str) -> String {
    match group {
        "" => String::new(),
        OTHERS => " for all that have no share of their own".to_owned(),
        group => format!(" for {group}"),
    }
}

fn sum(amount: Amount) -> String {
    match amount {
        Amount::Money(_) => format!("${}", amount::decimal(amount::limit(amount), amount)),
        Amount::Tokens(tokens, count) => format!("{tokens} {}", words(count)),
    }
}

fn words(count: Count) -> &'static str {
    match count {
        Count::Total => "tokens",
        Count::Input => "input tokens",
        Count::Output => "output tokens",
    }
}

fn per_window(unit: Unit) -> &'static str {
    match unit {
        Unit::Hour => "an hour",
        Unit::Day => "a day",
        Unit::Week => "a week",
        Unit::Month => "a month",
    }
}

fn rate(limit: &Limit) -> String {
    let amount = limit.amount;
    let things = match limit.measure {
        Measure::Requests => "requests",
        Measure::Tokens(count) => words(count),
        Measure::Concurrent => return format!("{amount} calls at a time"),
        Measure::Streams => return format!("{amount} streams at a time"),
    };
    match (limit.period.as_secs(), limit.period.subsec_nanos()) {
        (1, 0) => format!("{amount} {things} a second"),
        (60, 0) => format!("{amount} {things} a minute"),
        (3600, 0) => format!("{amount} {things} an hour"),
        (86_400, 0) => format!("{amount} {things} a day"),
        _ => format!("{amount} {things} in {}", seconds(limit.period)),
    }
}

/// Rounded up, so that nobody comes too early.
fn seconds(duration: Duration) -> String {
    // From a minute on, nobody counts parts of a second.
    let unit = if duration.as_secs() < 60 { 1_000_000 } else { 1_000_000_000 };
    let milliseconds = duration.as_nanos().div_ceil(unit) * (unit / 1_000_000);
    match (milliseconds / 1000, milliseconds % 1000) {
        (1, 0) => "1 second".to_owned(),
        (whole, 0) => format!("{whole} seconds"),
        (whole, part) => format!("{} seconds", format!("{whole}.{part:03}").trim_end_matches('0')),
    }
}
