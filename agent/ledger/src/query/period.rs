//! Times as people type them on a command line.

use std::time::SystemTime;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, Unit, Zoned, ZonedRound};

/// Half open: from `since` on, and before `until`. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment that is in it.
    pub since: Option<Timestamp>,
    /// The first moment that is not.
    pub until: Option<Timestamp>,
}

impl Period {
    /// Whether this time is in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// A time that could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no time that is understood; write a span back from now (30m, 24h, 7d, 2w), a day (2026-11-01), a month \
     (2026-11), a time (2026-11-01T09:30, 2026-11-01T09:30:00Z), or one of: now, hour, today, yesterday, week, month, year"
)]
pub struct BadMoment(String);

/// Reads a time: RFC 3339, a date or a local time in the zone of `now`, a word for the beginning of something that
/// contains `now`, or a span that is taken back from `now`. A day is named by its beginning.
pub fn moment(text: &str, now: &Zoned) -> Result<Timestamp, BadMoment> {
    let text = text.trim();
    word(text, now)
        .or_else(|| civil(text, now.time_zone()))
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| back(text, now))
        .ok_or_else(|| BadMoment(text.chars().filter(|c| !c.is_control()).take(40).collect()))
}

fn word(text: &str, now: &Zoned) -> Option<Timestamp> {
    let today = now.date();
    let day = match text {
        "now" => return Some(now.timestamp()),
        "hour" => {
            let round = ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc);
            return now.round(round).ok().map(|hour| hour.timestamp());
        }
        "today" => today,
        "yesterday" => today.yesterday().ok()?,
        // ISO 8601: a week begins on Monday.
        "week" => today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?,
        "month" => today.first_of_month(),
        "year" => today.first_of_year(),
        _ => return None,
    };
    beginning(day, now.time_zone())
}

fn civil(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if !text.is_ascii() {
        return None;
    }
    match text.len() {
        4 if text.bytes().all(|byte| byte.is_ascii_digit()) => beginning(format!("{text}-01-01").parse().ok()?, zone),
        7 => beginning(format!("{text}-01").parse().ok()?, zone),
        10 => beginning(text.parse().ok()?, zone),
        // With an offset or a `Z` it is an instant, for the caller to read.
        _ if text.contains(['Z', 'z', '+', '[']) || text.get(10..)?.contains('-') => None,
        _ => zone.to_timestamp(text.parse::<DateTime>().ok()?).ok(),
    }
}

fn beginning(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    day.to_zoned(zone.clone()).ok().map(|midnight| midnight.timestamp())
}

fn back(text: &str, now: &Zoned) -> Option<Timestamp> {
    let span = text.parse::<Span>().ok()?.abs();
    now.checked_sub(span).ok().map(|then| then.timestamp())
}

/// Names days and hours for groups, in one zone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    zone: TimeZone,
    /// The hour that was named last, and its name: rows come in the order of their times.
    last: Option<(i64, i64, String)>,
}

impl Clock {
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone, last: None }
    }

    /// `2026-11-23T14:00+01:00`, for the time in milliseconds since 1970. The offset tells apart the two hours that
    /// bear the same name when summer time ends.
    pub(crate) fn hour(&mut self, milliseconds: i64) -> &str {
        if !matches!(self.last, Some((from, until, _)) if (from..until).contains(&milliseconds)) {
            let at = Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_zoned(self.zone.clone());
            // No zone changes its offset within a quarter of an hour that is aligned in UTC.
            let from = milliseconds.div_euclid(QUARTER) * QUARTER;
            self.last = Some((from, from + QUARTER, at.strftime("%Y-%m-%dT%H:00%:z").to_string()));
        }
        self.last.as_ref().map_or("", |(_, _, name)| name)
    }

    /// `2026-11-23`.
    pub(crate) fn day(&mut self, milliseconds: i64) -> &str {
        let hour = self.hour(milliseconds);
        hour.split_once('T').map_or(hour, |(day, _)| day)
    }
}

const QUARTER: i64 = 15 * 60 * 1_000;

/// The time as the library that knows zones has it; times beyond the year 9999 are its last.
pub fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zoned {
        // Monday, a day after the end of summer time.
        "2026-10-26T01:30:00+01:00[Europe/Berlin]".parse().expect("a time")
    }

    #[track_caller]
    fn reads(text: &str, utc: &str) {
        assert_eq!(moment(text, &berlin()), Ok(utc.parse().expect("a time")), "{text}");
    }

    #[test]
    fn instants_dates_words_and_spans_are_read_in_the_readers_zone() {
        reads("2026-10-25T12:00:00Z", "2026-10-25T12:00:00Z");
        reads("2026-10-25T12:00:00+05:30", "2026-10-25T06:30:00Z");
        reads("2026-10-25T12:00:00.5-02:00", "2026-10-25T14:00:00.5Z");
        reads("2026-10-26", "2026-10-25T23:00:00Z");
        reads("2026-10-25", "2026-10-24T22:00:00Z");
        reads("2026-10", "2026-09-30T22:00:00Z");
        reads("2026", "2025-12-31T23:00:00Z");
        reads("2026-10-25T12:00", "2026-10-25T11:00:00Z");
        reads("2026-10-25 12:00:30", "2026-10-25T11:00:30Z");
        reads("now", "2026-10-26T00:30:00Z");
        reads("hour", "2026-10-26T00:00:00Z");
        reads("today", "2026-10-25T23:00:00Z");
        reads("yesterday", "2026-10-24T22:00:00Z");
        reads("week", "2026-10-25T23:00:00Z");
        reads("month", "2026-09-30T22:00:00Z");
        reads("year", "2025-12-31T23:00:00Z");
        reads("90m", "2026-10-25T23:00:00Z");
        reads("24h", "2026-10-25T00:30:00Z");
        // A day back is the same time on the clock, which was 25 hours ago.
        reads("1d", "2026-10-24T23:30:00Z");
        reads("2 hours ago", "2026-10-25T22:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_one() {
        for text in
            ["", "soon", "2026-13-01", "2026-02-30", "7", "tomorrow?", "99999999999h", "2026-10-25T", "\u{1b}[2J", "ä"]
        {
            let error = moment(text, &berlin()).expect_err(text).to_string();
            assert!(error.contains("24h") && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn hours_are_named_in_the_zone_and_the_hour_that_comes_twice_is_two() {
        let mut clock = Clock::new(TimeZone::get("Europe/Berlin").expect("a zone"));
        let at = |text: &str| text.parse::<Timestamp>().expect("a time").as_millisecond();
        assert_eq!(clock.hour(at("2026-10-25T00:59:59.999Z")), "2026-10-25T02:00+02:00");
        assert_eq!(clock.hour(at("2026-10-25T01:00:00Z")), "2026-10-25T02:00+01:00");
        assert_eq!(clock.hour(at("2026-10-25T01:10:00Z")), "2026-10-25T02:00+01:00");
        assert_eq!(clock.day(at("2026-10-24T21:59:59Z")), "2026-10-24");
        assert_eq!(clock.day(at("2026-10-24T22:00:00Z")), "2026-10-25");
        let mut nepal = Clock::new(TimeZone::get("Asia/Kathmandu").expect("a zone"));
        assert_eq!(nepal.hour(at("2026-10-25T00:14:00Z")), "2026-10-25T05:00+05:45");
        assert_eq!(nepal.hour(at("2026-10-25T00:15:00Z")), "2026-10-25T06:00+05:45");
    }

    #[test]
    fn periods_are_half_open() {
        let at = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
        let day = Period { since: at("2026-10-25T00:00:00Z"), until: at("2026-10-26T00:00:00Z") };
        assert!(day.contains(at("2026-10-25T00:00:00Z").unwrap()) && !day.contains(day.until.unwrap()));
        assert!(Period::default().contains(Timestamp::MIN));
    }
}
