//! How hours, days and time zones are written.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::value::Value;

/// A time of day. Midnight at the end of a day is `24:00`, and is kept as `00:00`.
impl Value for Time {
    const NAME: &str = "a time of day";
    const EXAMPLE: &str = "08:30";

    fn read(text: &str) -> Result<Self, String> {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let (hour, minute) = text.split_once(':').ok_or_else(String::new)?;
        if !digits(hour) || !digits(minute) {
            return Err("it has two digits for the hour and two for the minute".into());
        }
        if text == "24:00" {
            return Ok(Self::midnight());
        }
        let (Ok(hour), Ok(minute)) = (hour.parse(), minute.parse()) else { return Err(String::new()) };
        Self::new(hour, minute, 0, 0).map_err(|_none| "there is no such time".into())
    }

    fn write(&self) -> String {
        format!("{:02}:{:02}", self.hour(), self.minute())
    }
}

/// A day of the week, or those from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days {
    first: Weekday,
    last: Weekday,
}

const WEEK: [(Weekday, &str, &str); 7] = [
    (Weekday::Monday, "mon", "monday"),
    (Weekday::Tuesday, "tue", "tuesday"),
    (Weekday::Wednesday, "wed", "wednesday"),
    (Weekday::Thursday, "thu", "thursday"),
    (Weekday::Friday, "fri", "friday"),
    (Weekday::Saturday, "sat", "saturday"),
    (Weekday::Sunday, "sun", "sunday"),
];

impl Days {
    /// Each of them, from the first on.
    pub(crate) fn days(self) -> impl Iterator<Item = Weekday> {
        let last = self.last;
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let day = next?;
            next = (day != last).then(|| day.next());
            Some(day)
        })
    }
}

impl Value for Days {
    const NAME: &str = "a day of the week or several in a row";
    const EXAMPLE: &str = "mon-fri";

    fn read(text: &str) -> Result<Self, String> {
        let day = |text: &str| {
            let text = text.trim().to_ascii_lowercase();
            let found = WEEK.iter().find(|(_, short, long)| text == *short || text == *long);
            found.map(|(day, ..)| *day).ok_or("the days are mon, tue, wed, thu, fri, sat and sun")
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { first: day(first)?, last: day(last)? })
    }

    fn write(&self) -> String {
        let name = |day| WEEK.iter().find(|(one, ..)| *one == day).map_or("", |(_, short, _)| short);
        if self.first == self.last {
            name(self.first).into()
        } else {
            format!("{}-{}", name(self.first), name(self.last))
        }
    }
}

/// A time zone of the system's database (IANA).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone(pub(crate) TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Value for Zone {
    const NAME: &str = "a time zone";
    const EXAMPLE: &str = "Europe/Berlin";

    fn read(text: &str) -> Result<Self, String> {
        if text == "UTC" {
            return Ok(Self::default());
        }
        match TimeZone::get(text) {
            Ok(zone) => Ok(Self(zone)),
            Err(_) => Err(unknown(text)),
        }
    }

    fn write(&self) -> String {
        self.0.iana_name().unwrap_or("UTC").into()
    }
}

/// What to say of a name that the system does not have.
fn unknown(name: &str) -> String {
    let short = |name: &str| name.chars().take(40).collect::<String>().to_ascii_lowercase();
    let asked = short(name);
    let distance = |known: &str| {
        let known = short(known);
        // A city alone is meant as its zone.
        let city = known.rsplit('/').next().unwrap_or_default();
        strsim::damerau_levenshtein(&asked, &known).min(strsim::damerau_levenshtein(&asked, city))
    };
    let names: Vec<String> = jiff::tz::db().available().map(|known| known.as_str().to_owned()).collect();
    if names.is_empty() {
        return "this system has no time zones but UTC; install its package `tzdata`".into();
    }
    let nearest = names.iter().map(|known| (distance(known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= asked.len() / 3 => format!("did you mean `{known}`?"),
        _ => "the system's time zone database does not have it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::reads;

    #[test]
    fn times_have_hours_and_minutes() {
        let time = |hour, minute| Time::constant(hour, minute, 0, 0);
        reads(
            &[("08:00", time(8, 0)), ("23:59", time(23, 59)), ("24:00", time(0, 0))],
            &["", "8", "8:00", "08", "24:01", "12:60", "12:00:00", "noon", "-1:00", "+1:+2", "é:00"],
        );
    }

    #[test]
    fn days_may_run_over_the_end_of_the_week() {
        let days = |text| Days::read(text).unwrap().days().collect::<Vec<_>>();
        assert_eq!(days("mon-fri").len(), 5);
        assert_eq!(days("Sat-mon"), [Weekday::Saturday, Weekday::Sunday, Weekday::Monday]);
        assert_eq!(days("sunday"), [Weekday::Sunday]);
        assert_eq!(days("tue - wed"), [Weekday::Tuesday, Weekday::Wednesday]);
        for text in ["mon-fri", "sun", "fri-thu"] {
            assert_eq!(Days::read(text).unwrap().write(), text);
        }
        for bad in ["", "-", "mon-", "mo", "weekday", "mon-fri-sun"] {
            assert!(Days::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_zone_that_is_not_known_is_told_with_the_one_that_was_meant() {
        assert_eq!(Zone::read("UTC").unwrap().write(), "UTC");
        for bad in ["", "Mars/Olympus", "../../etc/passwd", "\0", &"x".repeat(100_000)] {
            assert!(Zone::read(bad).is_err(), "{bad}");
        }
        // Without the system's database there is nothing to be near to.
        if jiff::tz::db().available().next().is_some() {
            assert_eq!(Zone::read("Europe/Berlin").unwrap().write(), "Europe/Berlin");
            assert_eq!(Zone::read("Europe/Berln").unwrap_err(), "did you mean `Europe/Berlin`?");
            assert_eq!(Zone::read("berlin").unwrap_err(), "did you mean `Europe/Berlin`?");
        }
    }
}
