use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

/// A value that stands as one word in a file.
trait Word: FromStr<Err = String> + fmt::Display {
    const NAME: &'static str;
    const EXAMPLE: &'static str;
}

/// US dollars, or a factor; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub Decimal);

impl Word for Amount {
    const NAME: &'static str = "an amount";
    const EXAMPLE: &'static str = "1.25";
}

/// Above any rate there is, and far below what could overflow a cost.
const MOST: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The length bounds what a text may ask of the parser.
        let fits = text.len() <= 64;
        let amount = match text.find(['e', 'E']).filter(|_| fits) {
            Some(_) => Decimal::from_scientific(text),
            None if fits => Decimal::from_str(text),
            None => return Err("it is too long".into()),
        };
        match amount.ok().ok_or("it is no decimal number")? {
            amount if amount.is_sign_negative() && !amount.is_zero() => Err("it is below zero".into()),
            amount if amount > MOST => Err(format!("it is above {MOST}")),
            amount => Ok(Self(amount.abs().normalize())),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A day, which begins at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub Date);

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

impl Day {
    /// Its first moment, in seconds since 1970.
    pub fn start(self) -> i64 {
        self.0.midnight().assume_utc().unix_timestamp()
    }

    /// The day of a moment.
    pub fn of(at: SystemTime) -> Self {
        Self(time::OffsetDateTime::from(at).date())
    }

    /// Its first moment.
    pub fn time(self) -> SystemTime {
        let seconds = Duration::from_secs(self.start().unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        if self.start() < 0 { epoch - seconds } else { epoch + seconds }
    }
}

impl Word for Day {
    const NAME: &'static str = "a day";
    const EXAMPLE: &'static str = "2026-10-30";
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = Date::parse(text, DAY).ok().ok_or("it is no day of the calendar")?;
        // Years before 0 and after 9999 are nobody's price, and not every clock has them.
        if (1970..=9999).contains(&day.year()) { Ok(Self(day)) } else { Err("it is too far away".into()) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

/// Hours of each day in UTC, which may pass midnight; the end is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Minutes since midnight.
    pub from: u16,
    /// Minutes since midnight.
    pub until: u16,
}

impl Hours {
    /// Whether a moment, in seconds since 1970, is within them.
    pub fn contains(self, at: i64) -> bool {
        let minute = u16::try_from(at.rem_euclid(86_400) / 60).expect("a day has 1440 minutes");
        if self.from <= self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl Word for Hours {
    const NAME: &'static str = "hours";
    const EXAMPLE: &'static str = "16:30-00:30";
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minutes = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let read = text.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
        let (from, until) = read.ok_or("two times of day with `-` between them are expected")?;
        if from == until { Err("they begin when they end".into()) } else { Ok(Self { from, until }) }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// Serde and schema for words.
macro_rules! word {
    ($($word:ty),*) => {
        $(
            impl<'de> Deserialize<'de> for $word {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_any(WordVisitor(std::marker::PhantomData))
                }
            }

            impl Serialize for $word {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl JsonSchema for $word {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($word).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "title": <$word as Word>::NAME, "examples": [<$word as Word>::EXAMPLE] })
                }
            }
        )*
    };
}

word!(Amount, Day, Hours);

struct WordVisitor<T>(std::marker::PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} such as `{}`", T::NAME, T::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let shown: String = text.chars().take(60).collect::<String>().escape_debug().to_string();
        text.parse().map_err(|reason| E::custom(format!("`{shown}` is not {}: {reason}", T::NAME)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    /// A number without quotes. Its shortest text is what was written, up to fifteen digits.
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_decimals_that_are_not_negative() {
        let amount = |text: &str| text.parse::<Amount>().map(|amount| amount.to_string());
        assert_eq!(amount("1.250").as_deref(), Ok("1.25"));
        assert_eq!(amount("1.5e-07").as_deref(), Ok("0.00000015"));
        assert_eq!(amount("1E2").as_deref(), Ok("100"));
        assert_eq!(amount("-0").as_deref(), Ok("0"));
        for text in ["", "-1", "1,5", "NaN", "inf", "1e400", "1e-400", "1e99999999999", "$1", "2000000000"] {
            assert!(amount(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Amount>("0.1").unwrap().to_string(), "0.1");
        assert_eq!(serde_json::from_str::<Amount>("3").unwrap().to_string(), "3");
    }

    #[test]
    fn days_and_hours_are_in_utc() {
        assert_eq!("1970-01-02".parse::<Day>().unwrap().start(), 86_400);
        assert_eq!(Day::of(SystemTime::UNIX_EPOCH + Duration::from_hours(48)).to_string(), "1970-01-03");
        for text in ["2026-02-30", "2026-1-1", "0001-01-01", "yesterday", ""] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        let night: Hours = "16:30-00:30".parse().unwrap();
        assert_eq!(night.to_string(), "16:30-00:30");
        let at = |hours: i64, minutes: i64| night.contains(86_400 * 20_000 + hours * 3600 + minutes * 60);
        assert!(at(16, 30) && at(23, 59) && at(0, 29) && !at(0, 30) && !at(16, 29));
        for text in ["24:00-01:00", "1-2", "10:00-10:00", "10:00"] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
    }
}
