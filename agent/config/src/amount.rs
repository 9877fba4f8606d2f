//! How sums of money, numbers of tokens and rates are written.

use std::str::FromStr as _;
use std::time::Duration;

use rust_decimal::Decimal;
use tollgate_policy::{Amount, Count};

use crate::value::Value;

/// The largest sum and the largest number that are taken. Far more than anyone has, and far from what overflows.
const MOST: u64 = 1_000_000_000_000_000;
/// Digits after the point of a sum. A token costs at least some ten-millionths.
const DIGITS: u32 = 12;

/// A number of things, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl Value for Number {
    const NAME: &str = "a number";
    const EXAMPLE: &str = "16k";

    fn read(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text[..at], 1_000),
            Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
            Some((at, 'g' | 'G' | 'b' | 'B')) => (&text[..at], 1_000_000_000),
            _ => (text, 1),
        };
        let number = decimal(digits.trim_end())?;
        let whole = number.checked_mul(Decimal::from(unit)).filter(|number| *number <= Decimal::from(MOST));
        let whole = whole.ok_or_else(|| format!("it is above {MOST}"))?;
        if !whole.is_integer() || whole.is_sign_negative() {
            return Err("it is no whole number".into());
        }
        match u64::try_from(whole) {
            Ok(0) => Err("it must be above zero".into()),
            Ok(number) => Ok(Self(number)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn write(&self) -> String {
        let (mut number, mut unit) = (self.0, 0);
        while number > 0 && number.is_multiple_of(1_000) && unit < 3 {
            number /= 1_000;
            unit += 1;
        }
        format!("{number}{}", ["", "k", "M", "G"][unit])
    }
}

fn decimal(text: &str) -> Result<Decimal, String> {
    if text.contains(',') {
        return Err("it holds a comma; write `1000.50`".into());
    }
    // What is told apart here would be read: signs, and exponents.
    let is_odd = |byte: u8| !byte.is_ascii_digit() && !b"._".contains(&byte);
    if text.len() > 40 || text.bytes().any(is_odd) {
        return Err(String::new());
    }
    Decimal::from_str(text).map_err(|_none| String::new())
}

/// US dollars, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money(pub(crate) Decimal);

impl Value for Money {
    const NAME: &str = "a sum in US dollars";
    const EXAMPLE: &str = "$2.50";

    fn read(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('$').ok_or("it does not begin with `$`")?;
        let sum = decimal(digits.trim_start())?;
        if sum > Decimal::from(MOST) || sum.normalize().scale() > DIGITS {
            return Err("it is too large, or has too many digits".into());
        }
        if sum.is_zero() {
            return Err("it must be above zero; a rule with `action: deny` refuses all".into());
        }
        Ok(Self(sum.normalize()))
    }

    fn write(&self) -> String {
        format!("${}", self.0)
    }
}

/// Money that may be nothing, for what costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Decimal);

impl Value for Rate {
    const NAME: &str = "US dollars for a million tokens";
    const EXAMPLE: &str = "$2.50";

    fn read(text: &str) -> Result<Self, String> {
        let zero = text.strip_prefix('$').and_then(|digits| decimal(digits).ok()).is_some_and(|sum| sum.is_zero());
        if zero { Ok(Self(Decimal::ZERO)) } else { Money::read(text).map(|money| Self(money.0)) }
    }

    fn write(&self) -> String {
        Money(self.0).write()
    }
}

impl Value for Amount {
    const NAME: &str = "a sum or a number of tokens";
    const EXAMPLE: &str = "$500`, `10M tokens`, `2M output tokens";

    fn read(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            return Money::read(text).map(|money| Self::Money(money.0));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let (number, count) = match words[..] {
            [number, "tokens"] => (number, Count::Total),
            [number, "input", "tokens"] => (number, Count::Input),
            [number, "output", "tokens"] => (number, Count::Output),
            _ => return Err("money begins with `$`, and a number of tokens is followed by `tokens`".into()),
        };
        Number::read(number).map(|number| Self::Tokens(number.0, count))
    }

    fn write(&self) -> String {
        match *self {
            Self::Money(sum) => Money(sum).write(),
            Self::Tokens(number, count) => {
                let number = Number(number).write();
                match count {
                    Count::Total => format!("{number} tokens"),
                    Count::Input => format!("{number} input tokens"),
                    Count::Output => format!("{number} output tokens"),
                }
            }
        }
    }
}

/// So many in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frequency {
    pub(crate) number: u64,
    pub(crate) period: Duration,
}

const PERIODS: [(&str, &[&str], Duration); 4] = [
    ("second", &["s", "sec"], Duration::from_secs(1)),
    ("minute", &["m", "min"], Duration::from_mins(1)),
    ("hour", &["h"], Duration::from_hours(1)),
    ("day", &["d"], Duration::from_hours(24)),
];

impl Value for Frequency {
    const NAME: &str = "a number per `second`, `minute`, `hour` or `day`";
    const EXAMPLE: &str = "60/minute";

    fn read(text: &str) -> Result<Self, String> {
        let (number, period) = text.split_once('/').ok_or("it does not say per what")?;
        let number = Number::read(number.trim())?.0;
        let period = period.trim();
        let known = PERIODS.iter().find(|(name, short, _)| *name == period || short.contains(&period));
        known.map(|&(_, _, period)| Self { number, period }).ok_or_else(String::new)
    }

    fn write(&self) -> String {
        let period = PERIODS.iter().find(|(.., period)| *period == self.period).map_or("second", |(name, ..)| name);
        format!("{}/{period}", Number(self.number).write())
    }
}

/// A part in a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u8);

impl Value for Percent {
    const NAME: &str = "a part in per cent";
    const EXAMPLE: &str = "80%";

    fn read(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').ok_or("it has no `%`")?;
        match number.trim_end().parse() {
            Ok(part @ 1..=99) => Ok(Self(part)),
            _ => Err("it must be a whole number from 1 to 99; that all is spent is told anyway".into()),
        }
    }

    fn write(&self) -> String {
        format!("{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::reads;

    fn sum(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_have_short_forms() {
        reads(
            &[
                ("1", Number(1)),
                ("16384", Number(16_384)),
                ("100k", Number(100_000)),
                ("10M", Number(10_000_000)),
                ("1.5m", Number(1_500_000)),
                ("2B", Number(2_000_000_000)),
                ("1_000", Number(1_000)),
                ("1000000G", Number(1_000_000_000_000_000)),
            ],
            &["", "0", "-1", "k", "1.5", "0.0001k", "1,000", "1e3", "ten", "1000001G", "+1", &"9".repeat(100)],
        );
    }

    #[test]
    fn money_is_dollars_to_the_last_digit() {
        reads(
            &[("$500", Money(sum("500"))), ("$0.10", Money(sum("0.1"))), ("$ 1_000.000001", Money(sum("1000.000001")))],
            &["", "500", "$", "$0", "$-1", "€5", "500 USD", "$1,000", "$1e3", "$0.0000000000001", "$1000000000000001"],
        );
        assert_eq!(Rate::read("$0").unwrap(), Rate(Decimal::ZERO));
        assert_eq!(Rate::read("$2.50").unwrap().write(), "$2.5");
        assert!(Rate::read("$-1").is_err() && Rate::read("2").is_err());
    }

    #[test]
    fn a_budgets_amount_says_what_it_counts() {
        for (text, amount) in [
            ("$500", Amount::Money(sum("500"))),
            ("10M tokens", Amount::Tokens(10_000_000, Count::Total)),
            ("2M  output tokens", Amount::Tokens(2_000_000, Count::Output)),
            ("5k input tokens", Amount::Tokens(5_000, Count::Input)),
        ] {
            assert_eq!(Amount::read(text).unwrap(), amount, "{text}");
            assert_eq!(Amount::read(&amount.write()).unwrap(), amount);
        }
        for bad in ["", "500", "10M", "10M dollars", "tokens", "10 M tokens", "$5 tokens", "0 tokens"] {
            assert!(Amount::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_numbers_in_a_while() {
        let per = |number, period| Frequency { number, period };
        reads(
            &[
                ("60/minute", per(60, Duration::from_mins(1))),
                ("100k / day", per(100_000, Duration::from_hours(24))),
                ("5/s", per(5, Duration::from_secs(1))),
                ("1/h", per(1, Duration::from_hours(1))),
            ],
            &["", "60", "60/", "/minute", "0/minute", "60/week", "60 per minute", "60/5m", "60/minutes/day"],
        );
    }

    #[test]
    fn parts_are_told_before_all_is_spent() {
        reads(&[("50%", Percent(50)), ("99 %", Percent(99))], &["", "50", "0%", "100%", "-5%", "7.5%", "%"]);
    }
}
