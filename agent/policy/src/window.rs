//! Aligned windows: hours, days, weeks and months as the calendar of a time zone has them.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::{Unit, Window};

#[cfg(test)]
mod tests;

/// One window, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// When it begins.
    pub(crate) start: i64,
    /// When the next one does.
    pub(crate) end: i64,
}

impl Window {
    /// When the window that a moment is in began.
    pub fn began(&self, moment: Timestamp) -> Timestamp {
        Timestamp::from_second(self.at(moment.as_second()).start).unwrap_or(Timestamp::MIN)
    }

    /// The window that a moment is in. Calendar arithmetic, so not for each call.
    pub(crate) fn at(&self, moment: i64) -> Bounds {
        let now = Timestamp::from_second(moment).unwrap_or(if moment < 0 { Timestamp::MIN } else { Timestamp::MAX });
        let bounds = match self.unit {
            Unit::Hour => Some(hour(&self.zone, now)),
            Unit::Day => days(&now.to_zoned(self.zone.clone()), Span::new().days(1)),
            Unit::Week => {
                let today = now.to_zoned(self.zone.clone());
                let since_monday = Span::new().days(i64::from(today.weekday().to_monday_zero_offset()));
                today.date().checked_sub(since_monday).ok().and_then(|monday| {
                    let monday = monday.to_zoned(self.zone.clone()).ok()?;
                    days(&monday, Span::new().weeks(1))
                })
            }
            Unit::Month => {
                let first = now.to_zoned(self.zone.clone()).first_of_month();
                first.ok().and_then(|first| days(&first, Span::new().months(1)))
            }
        };
        // Only at the ends of all calendars is there none.
        let Bounds { start, end } = bounds.unwrap_or(Bounds { start: i64::MIN, end: i64::MAX });
        Bounds { start: start.min(moment), end: end.max(moment.saturating_add(1)) }
    }
}

/// From the beginning of one day to that of another.
fn days(first: &Zoned, span: Span) -> Option<Bounds> {
    let next = first.date().checked_add(span).ok()?.to_zoned(first.time_zone().clone()).ok()?;
    let start = first.start_of_day().ok()?.timestamp().as_second();
    Some(Bounds { start, end: next.start_of_day().ok()?.timestamp().as_second() })
}

/// The hour of the clock on the wall. A change of that clock ends it, so that no moment is in two.
fn hour(zone: &TimeZone, now: Timestamp) -> Bounds {
    let moment = now.as_second();
    let local = moment + i64::from(zone.to_offset(now).seconds());
    let start = moment - local.rem_euclid(3600);
    let changed = now.checked_add(Span::new().seconds(1)).ok().and_then(|next| zone.preceding(next).next());
    let changes = zone.following(now).next();
    Bounds {
        start: changed.map_or(start, |change| start.max(change.timestamp().as_second())),
        end: changes.map_or(start + 3600, |change| (start + 3600).min(change.timestamp().as_second())),
    }
}

/// As a refusal tells it: in the window's own zone, with its offset.
pub(crate) fn readable(moment: i64, zone: &TimeZone) -> Option<String> {
    let moment = Timestamp::from_second(moment).ok()?.to_zoned(zone.clone());
    let name = zone.iana_name().filter(|name| *name != "UTC").map(|name| format!(" ({name})")).unwrap_or_default();
    let offset = if zone.iana_name() == Some("UTC") || *zone == TimeZone::UTC { "Z" } else { "%:z" };
    Some(format!("{}{name}", moment.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}"))))
}
