use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use proptest::prelude::*;

use super::readable;
use crate::{Unit, Window};

fn window(unit: Unit, zone: &str) -> Window {
    Window { unit, zone: TimeZone::get(zone).unwrap() }
}

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

/// From when to when a window goes that a moment is in, as the clock there tells it.
fn bounds(unit: Unit, zone: &str, moment: &str) -> [String; 2] {
    let window = window(unit, zone);
    let bounds = window.at(second(moment));
    [bounds.start, bounds.end].map(|at| {
        let local = Timestamp::from_second(at).unwrap().to_zoned(window.zone.clone());
        local.strftime("%Y-%m-%d %H:%M %:z").to_string()
    })
}

#[test]
fn days_begin_at_midnight_of_their_zone_and_last_as_long_as_its_clock_makes_them() {
    let day = |zone, moment| bounds(Unit::Day, zone, moment);
    assert_eq!(day("UTC", "2026-11-23T12:34:56Z"), ["2026-11-23 00:00 +00:00", "2026-11-24 00:00 +00:00"]);
    // The night in which clocks go forward is 23 hours, the other 25.
    assert_eq!(day("Europe/Berlin", "2026-03-29T00:30:00Z"), ["2026-03-29 00:00 +01:00", "2026-03-30 00:00 +02:00"]);
    assert_eq!(day("Europe/Berlin", "2026-10-25T22:59:59Z"), ["2026-10-25 00:00 +02:00", "2026-10-26 00:00 +01:00"]);
    // In Cairo clocks go forward at midnight: that day begins at one.
    assert_eq!(day("Africa/Cairo", "2026-04-24T10:00:00Z"), ["2026-04-24 01:00 +03:00", "2026-04-25 00:00 +03:00"]);
    // In Havana they go back to midnight, which comes twice: it is one day all the same.
    assert_eq!(day("America/Havana", "2026-11-01T04:30:00Z"), ["2026-11-01 00:00 -04:00", "2026-11-02 00:00 -05:00"]);
    assert_eq!(day("America/Havana", "2026-11-01T05:30:00Z"), ["2026-11-01 00:00 -04:00", "2026-11-02 00:00 -05:00"]);
    // Samoa left a day out.
    assert_eq!(day("Pacific/Apia", "2011-12-30T09:00:00Z"), ["2011-12-29 00:00 -10:00", "2011-12-31 00:00 +14:00"]);
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let week = ["2026-12-28 00:00 +00:00", "2027-01-04 00:00 +00:00"];
    for moment in ["2026-12-28T00:00:00Z", "2026-12-31T12:00:00Z", "2027-01-03T23:59:59Z"] {
        assert_eq!(bounds(Unit::Week, "UTC", moment), week);
    }
    let month = |zone, moment| bounds(Unit::Month, zone, moment);
    assert_eq!(month("UTC", "2028-02-29T23:59:59Z"), ["2028-02-01 00:00 +00:00", "2028-03-01 00:00 +00:00"]);
    assert_eq!(month("UTC", "2026-12-31T23:59:59Z"), ["2026-12-01 00:00 +00:00", "2027-01-01 00:00 +00:00"]);
    assert_eq!(month("Europe/Berlin", "2026-03-31T21:59:59Z"), ["2026-03-01 00:00 +01:00", "2026-04-01 00:00 +02:00"]);
    assert_eq!(month("Asia/Tokyo", "2026-10-31T15:00:00Z"), ["2026-11-01 00:00 +09:00", "2026-12-01 00:00 +09:00"]);
}

#[test]
fn hours_are_those_of_the_clock_on_the_wall() {
    let hour = |zone, moment| bounds(Unit::Hour, zone, moment);
    assert_eq!(hour("Asia/Kolkata", "2026-11-23T12:00:00Z"), ["2026-11-23 17:00 +05:30", "2026-11-23 18:00 +05:30"]);
    // Between two and three it is two o'clock twice, which are two hours.
    assert_eq!(hour("Europe/Berlin", "2026-10-25T00:10:00Z"), ["2026-10-25 02:00 +02:00", "2026-10-25 02:00 +01:00"]);
    assert_eq!(hour("Europe/Berlin", "2026-10-25T01:10:00Z"), ["2026-10-25 02:00 +01:00", "2026-10-25 03:00 +01:00"]);
    // On Lord Howe Island clocks change by half an hour, and so is that hour.
    assert_eq!(
        hour("Australia/Lord_Howe", "2026-04-04T14:50:00Z"),
        ["2026-04-05 01:00 +11:00", "2026-04-05 01:30 +10:30"]
    );
    assert_eq!(
        hour("Australia/Lord_Howe", "2026-04-04T15:10:00Z"),
        ["2026-04-05 01:30 +10:30", "2026-04-05 02:00 +10:30"]
    );
}

#[test]
fn a_refusal_tells_the_time_in_the_windows_own_zone() {
    let at = second("2026-12-01T00:00:00Z");
    assert_eq!(readable(at, &TimeZone::UTC).unwrap(), "2026-12-01T00:00:00Z");
    assert_eq!(readable(at, &TimeZone::get("UTC").unwrap()).unwrap(), "2026-12-01T00:00:00Z");
    let new_york = TimeZone::get("America/New_York").unwrap();
    assert_eq!(readable(at, &new_york).unwrap(), "2026-11-30T19:00:00-05:00 (America/New_York)");
    assert_eq!(readable(i64::MAX, &new_york), None);
}

#[test]
fn times_beyond_all_calendars_are_in_a_window_too() {
    for moment in [i64::MIN, -1 << 60, 0, 1 << 60, i64::MAX - 1] {
        for unit in [Unit::Hour, Unit::Day, Unit::Week, Unit::Month] {
            let bounds = window(unit, "Europe/Berlin").at(moment);
            assert!(bounds.start <= moment && moment < bounds.end, "{unit:?} {moment}");
        }
    }
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Monrovia",
];

proptest! {
    #[test]
    fn windows_follow_each_other_without_gaps_or_overlaps(
        moment in 0..4_102_444_800_i64,
        zone in prop::sample::select(&ZONES[..]),
        unit in prop::sample::select(&[Unit::Hour, Unit::Day, Unit::Week, Unit::Month][..]),
        part in 0.0..1.0_f64,
    ) {
        let window = window(unit, zone);
        let bounds = window.at(moment);
        prop_assert!(bounds.start <= moment && moment < bounds.end);
        // Whatever moment of it one looks from, it is the same window.
        #[allow(clippy::cast_possible_truncation, reason = "windows are far smaller")]
        let within = bounds.start + ((bounds.end - bounds.start) as f64 * part) as i64;
        prop_assert_eq!(window.at(within), bounds);
        prop_assert_eq!(window.at(bounds.end - 1), bounds);
        prop_assert_eq!(window.at(bounds.end).start, bounds.end);
        prop_assert_eq!(window.at(bounds.start - 1).end, bounds.start);
        let local = |at: i64| -> Zoned { Timestamp::from_second(at).unwrap().to_zoned(window.zone.clone()) };
        let (first, last, here) = (local(bounds.start), local(bounds.end - 1), local(moment));
        match unit {
            Unit::Hour => prop_assert!(bounds.end - bounds.start <= 3600 && first.hour() == last.hour()),
            Unit::Day => prop_assert!(first.date() == here.date() && last.date() == here.date()),
            Unit::Week => {
                prop_assert_eq!(first.date().iso_week_date().week(), here.date().iso_week_date().week());
                prop_assert!((last.date() - first.date()).get_days() <= 6);
            }
            Unit::Month => prop_assert!(first.month() == here.month() && last.month() == here.month()),
        }
    }
}
