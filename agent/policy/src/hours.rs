use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};

use crate::Hours;

/// How many days ahead an opening is looked for: a week, and one for a day that summer time leaves without these hours.
const AHEAD: i32 = 15;

impl Hours {
    /// Whether that is within.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let today = at.to_zoned(self.zone.clone()).date();
        // Yesterday's may go on after midnight.
        let began = [today.checked_sub(1.day()).ok(), Some(today)];
        began.into_iter().flatten().filter_map(|day| self.of(day)).any(|(from, until)| from <= at && at < until)
    }

    /// When they begin next after that; `None` where they never do.
    pub fn opens(&self, after: Timestamp) -> Option<Timestamp> {
        let today = after.to_zoned(self.zone.clone()).date();
        let days = (0..=AHEAD).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        days.filter_map(|day| self.of(day)).map(|(from, _)| from).find(|from| *from > after)
    }

    /// The hours that begin on that day. A time that summer time skips is the same time after it, and one that is twice counts the
    /// first time.
    fn of(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.is_empty() && !self.days.contains(&day.weekday()) {
            return None;
        }
        let end = if self.until > self.from { day } else { day.tomorrow().ok()? };
        let at = |date: Date, time| {
            Some(self.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok()?.timestamp())
        };
        let (from, until) = (at(day, self.from)?, at(end, self.until)?);
        (from < until).then_some((from, until))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.days.is_empty() {
            write!(f, "{} ", days(&self.days))?;
        }
        let zone = self.zone.iana_name().map(|zone| format!(" ({zone})")).unwrap_or_default();
        write!(f, "{} to {}{zone}", self.from.strftime("%H:%M"), self.until.strftime("%H:%M"))
    }
}

/// Days in the order of the week, three and more in a row as a range: `mon-fri, sun`.
fn days(days: &[Weekday]) -> String {
    let mut offsets: Vec<i8> = days.iter().map(|day| day.to_monday_zero_offset()).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let runs = offsets.chunk_by(|a, b| a + 1 == *b);
    let parts = runs.flat_map(|run| match run {
        [first, _, .., last] => vec![format!("{}-{}", short(*first), short(*last))],
        few => few.iter().map(|day| short(*day).to_owned()).collect(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn short(day: i8) -> &'static str {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::from(day.unsigned_abs()).min(6)]
}

#[cfg(test)]
mod tests;
