use jiff::civil::{Time, Weekday, time};
use jiff::tz::TimeZone;

use super::*;

fn hours(days: &[Weekday], from: Time, until: Time, zone: &str) -> Hours {
    let zone = TimeZone::get(zone).expect("the time zones of the system");
    Hours { days: days.to_vec(), from, until, zone }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const WORKDAYS: [Weekday; 5] =
    [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

#[test]
fn hours_are_open_from_their_beginning_until_before_their_end_in_their_place() {
    let hours = hours(&WORKDAYS, time(8, 0, 0, 0), time(18, 0, 0, 0), "Europe/Berlin");
    // 2026-11-23 is a Monday; Berlin is an hour ahead of UTC.
    for (moment, is_open) in [
        ("2026-11-23T06:59:59.999Z", false),
        ("2026-11-23T07:00:00Z", true),
        ("2026-11-23T16:59:59Z", true),
        ("2026-11-23T17:00:00Z", false),
        ("2026-11-22T10:00:00Z", false),
        // In summer it is two hours ahead.
        ("2026-07-06T06:00:00Z", true),
        ("2026-07-06T16:00:00Z", false),
    ] {
        assert_eq!(hours.is_open(at(moment)), is_open, "{moment}");
    }
    for (after, opens) in [
        ("2026-11-23T06:00:00Z", "2026-11-23T07:00:00Z"),
        ("2026-11-23T17:00:00Z", "2026-11-24T07:00:00Z"),
        ("2026-11-27T17:00:00Z", "2026-11-30T07:00:00Z"),
    ] {
        assert_eq!(hours.opens(at(after)), Some(at(opens)), "{after}");
    }
}

#[test]
fn hours_over_midnight_are_of_the_day_on_which_they_begin() {
    let hours = hours(&[Weekday::Friday], time(22, 0, 0, 0), time(6, 0, 0, 0), "UTC");
    for (moment, is_open) in [
        ("2026-11-27T05:00:00Z", false),
        ("2026-11-27T22:00:00Z", true),
        ("2026-11-28T05:59:59Z", true),
        ("2026-11-28T06:00:00Z", false),
        ("2026-11-28T22:30:00Z", false),
    ] {
        assert_eq!(hours.is_open(at(moment)), is_open, "{moment}");
    }
    assert_eq!(hours.opens(at("2026-11-28T06:00:00Z")), Some(at("2026-12-04T22:00:00Z")));
}

#[test]
fn from_midnight_until_midnight_is_the_whole_day() {
    let sundays = hours(&[Weekday::Sunday], Time::midnight(), Time::midnight(), "America/New_York");
    assert!(sundays.is_open(at("2026-11-22T05:00:00Z")) && sundays.is_open(at("2026-11-23T04:59:59Z")));
    assert!(!sundays.is_open(at("2026-11-22T04:59:59Z")) && !sundays.is_open(at("2026-11-23T05:00:00Z")));
    let always = hours(&[], Time::midnight(), Time::midnight(), "America/New_York");
    assert!(
        (0..24 * 14).all(|hour| always.is_open(at("2026-10-25T00:30:00Z") + jiff::SignedDuration::from_hours(hour)))
    );
}

#[test]
fn hours_that_summer_time_skips_or_repeats_are_one_stretch() {
    // Berlin skips 02:00 to 03:00 on 2026-03-29, and has it twice on 2026-10-25.
    let night = hours(&[], time(1, 0, 0, 0), time(4, 0, 0, 0), "Europe/Berlin");
    assert!(night.is_open(at("2026-03-29T00:00:00Z")) && night.is_open(at("2026-03-29T01:59:59Z")));
    assert!(!night.is_open(at("2026-03-29T02:00:00Z")));
    assert!(night.is_open(at("2026-10-24T23:00:00Z")) && night.is_open(at("2026-10-25T02:59:59Z")));
    assert!(!night.is_open(at("2026-10-25T03:00:00Z")));
    // A day that has none of the hours is passed over.
    let skipped = hours(&[Weekday::Sunday], time(2, 10, 0, 0), time(2, 50, 0, 0), "Europe/Berlin");
    assert!(!(0..180).any(|minute| {
        let is_skipped = skipped.is_open(at("2026-03-29T00:00:00Z") + jiff::SignedDuration::from_mins(minute));
        // 02:10 is 03:10 on that day.
        is_skipped && !(70..110).contains(&minute)
    }));
    assert_eq!(skipped.opens(at("2026-03-29T02:00:00Z")), Some(at("2026-04-05T00:10:00Z")));
}

#[test]
fn hours_are_written_as_people_say_them() {
    let text = |days: &[Weekday]| hours(days, time(8, 0, 0, 0), time(18, 30, 0, 0), "Europe/Berlin").to_string();
    assert_eq!(text(&WORKDAYS), "mon-fri 08:00 to 18:30 (Europe/Berlin)");
    assert_eq!(
        text(&[Weekday::Sunday, Weekday::Monday, Weekday::Tuesday]),
        "mon, tue, sun 08:00 to 18:30 (Europe/Berlin)"
    );
    assert_eq!(text(&[]), "08:00 to 18:30 (Europe/Berlin)");
}

#[test]
fn the_ends_of_all_calendars_are_no_accident() {
    let hours = hours(&[], time(22, 0, 0, 0), time(6, 0, 0, 0), "Europe/Berlin");
    for moment in [Timestamp::MIN, Timestamp::MAX] {
        let _ = (hours.is_open(moment), hours.opens(moment));
    }
}
