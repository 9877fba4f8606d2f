//! What budgets were charged for an exchange, as the journal and the file keep it: exact to 10⁻¹⁸, as money is.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rust_decimal::Decimal;
use tollgate_policy::Count;

use super::error::StoreError;
use super::frame::{Rest, encode_text};
use super::open::open_read_only;
use super::row::{clipped, micros_of};
use crate::record::Charge;

/// Parts of a whole.
const ATTO: i128 = 1_000_000_000_000_000_000;
/// The largest charge of one exchange that is kept, so that sums do not overflow: tokens are capped at the same.
const LARGEST: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
/// Bytes of an exchange's charges at most: more than a thousand budgets of usual names.
const ROOM: usize = 96 * 1024;

/// An amount, split at its point: `whole + atto / 10¹⁸`, with an `atto` that is never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) whole: i64,
    pub(super) atto: i64,
}

impl Amount {
    fn of(amount: Decimal) -> Self {
        let amount = amount.clamp(Decimal::ZERO, LARGEST).round_dp(18);
        Self::from_atto(amount.mantissa() * 10_i128.pow(18 - amount.scale()))
    }

    fn from_atto(atto: i128) -> Self {
        Self { whole: atto.div_euclid(ATTO) as i64, atto: atto.rem_euclid(ATTO) as i64 }
    }

    /// So much more than the other; less than nothing where it is less.
    pub(super) fn minus(self, other: Self) -> Self {
        let atto = |amount: Self| i128::from(amount.whole) * ATTO + i128::from(amount.atto);
        Self::from_atto(atto(self) - atto(other))
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        self.minus(Self::default().minus(other))
    }

    /// As one number.
    pub(super) fn decimal(self) -> Decimal {
        Decimal::from(self.whole).saturating_add(Decimal::new(self.atto, 18)).normalize()
    }
}

/// An amount by its two columns.
pub(crate) fn amount(whole: i64, atto: i64) -> Decimal {
    Amount { whole, atto }.decimal()
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charged<'a> {
    pub(super) budget: &'a str,
    pub(super) share: &'a str,
    /// When the window began, in seconds since 1970.
    pub(super) began: i64,
    /// Of what, by its place in [`UNITS`].
    pub(super) unit: u8,
    pub(super) amount: Amount,
}

/// What budgets count, by the number that the file has for it.
const UNITS: [Option<Count>; 4] = [None, Some(Count::Total), Some(Count::Input), Some(Count::Output)];

fn unit(counts: Option<Count>) -> u8 {
    UNITS.iter().position(|unit| *unit == counts).unwrap_or_default() as u8
}

/// All of an exchange's.
#[derive(Clone, Copy)]
pub(super) enum Charges<'a> {
    /// As the proxy told them.
    Told(&'a [Charge]),
    /// As they stand in a frame, behind their number.
    Read { count: u16, bytes: &'a [u8] },
}

impl Default for Charges<'_> {
    fn default() -> Self {
        Self::Told(&[])
    }
}

impl<'a> Charges<'a> {
    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Charged<'a>> + use<'a> {
        let (told, count, bytes) = match *self {
            Self::Told(charges) => (charges, 0, &[][..]),
            Self::Read { count, bytes } => (&[][..], count, bytes),
        };
        let mut rest = Rest(bytes);
        let read = (0..count).map_while(move |_| read(&mut rest));
        told.iter().map(charged).chain(read)
    }

    /// Appends them to a frame. What there is no room for, which no policy of human size has, is left out and told.
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&[0; 2]);
        let mut count = 0_u16;
        for charged in self.iter() {
            if into.len() - start > ROOM || count == u16::MAX {
                tracing::error!("a call is charged to more budgets than the ledger can keep of one; join some of them");
                break;
            }
            encode_text(charged.budget, into);
            encode_text(charged.share, into);
            into.push(charged.unit);
            for number in [charged.began, charged.amount.whole, charged.amount.atto] {
                into.extend_from_slice(&number.to_le_bytes());
            }
            count += 1;
        }
        into[start..start + 2].copy_from_slice(&count.to_le_bytes());
    }

    /// Takes them off a frame; `None` where they are none of ours.
    pub(super) fn parse(rest: &mut Rest<'a>) -> Option<Self> {
        let count = u16::from_le_bytes(rest.take()?);
        let bytes = rest.0;
        for _ in 0..count {
            // No more than is written.
            if 2 + bytes.len() - rest.0.len() > ROOM {
                return None;
            }
            read(rest)?;
        }
        let bytes = &bytes[..bytes.len() - rest.0.len()];
        Some(Self::Read { count, bytes })
    }
}

fn charged(charge: &Charge) -> Charged<'_> {
    Charged {
        budget: clipped(&charge.budget),
        share: clipped(&charge.group),
        began: charge.window,
        unit: unit(charge.counts),
        amount: Amount::of(charge.amount),
    }
}

fn read<'a>(rest: &mut Rest<'a>) -> Option<Charged<'a>> {
    let (budget, share, [unit], began) = (rest.text()?, rest.text()?, rest.take()?, rest.number()?);
    let amount = Amount { whole: rest.number()?, atto: rest.number()? };
    let is_ours = (0..=Amount::of(LARGEST).whole).contains(&amount.whole)
        && (0..ATTO as i64).contains(&amount.atto)
        && usize::from(unit) < UNITS.len();
    is_ours.then_some(Charged { budget, share, began, unit, amount })
}

/// The sums of the file, of windows that began then or later.
pub fn spent(file: &Path, since: SystemTime) -> Result<Vec<Charge>, StoreError> {
    let connection = open_read_only(file)?;
    let sql = "SELECT (SELECT value FROM text WHERE id = budget), (SELECT value FROM text WHERE id = share), began, unit, whole,
        atto FROM spent WHERE began >= ? AND (whole, atto) <> (0, 0)";
    let mut statement = connection.prepare(sql)?;
    let text = |text: Option<String>| Arc::from(text.unwrap_or_default());
    let sums = statement.query_map([micros_of(since).div_euclid(1_000_000)], |row| {
        let amount = Amount { whole: row.get(4)?, atto: row.get(5)? };
        Ok(Charge {
            budget: text(row.get(0)?),
            group: text(row.get(1)?),
            window: row.get(2)?,
            counts: UNITS.get(usize::from(row.get::<_, u8>(3)?)).copied().flatten(),
            amount: amount.decimal(),
        })
    })?;
    Ok(sums.collect::<rusqlite::Result<_>>()?)
}

impl PartialEq for Charges<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Charges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_charge_is_negative_or_absurd() {
        for (amount, kept) in
            [(Decimal::NEGATIVE_ONE, Decimal::ZERO), (Decimal::MAX, Decimal::from(1_000_000_000_000_i64))]
        {
            assert_eq!(Amount::of(amount).decimal(), kept);
        }
    }

    #[test]
    fn more_charges_than_there_is_room_for_are_bounded() {
        let many: Vec<Charge> = (0..70_000)
            .map(|number| Charge {
                budget: "b".repeat(500).into(),
                group: "".into(),
                window: number,
                counts: None,
                amount: Decimal::ONE,
            })
            .collect();
        let mut bytes = Vec::new();
        Charges::Told(&many).encode(&mut bytes);
        assert!(bytes.len() < 2 * ROOM, "{}", bytes.len());
        let mut rest = Rest(&bytes);
        let read = Charges::parse(&mut rest).unwrap();
        assert!(rest.0.is_empty());
        assert!(read.iter().eq(Charges::Told(&many).iter().take(read.iter().count())));
    }

    proptest! {
        #[test]
        fn differences_are_exact(a in 0..=1_000_000_000_000_000_000_i64, b in 0..=1_000_000_000_000_000_000_i64, scale in 6..=18_u32) {
            let (a, b) = (Decimal::new(a, scale), Decimal::new(b, scale));
            let apart = Amount::of(a).minus(Amount::of(b));
            prop_assert!(apart.atto >= 0);
            prop_assert_eq!(apart.decimal(), a - b);
        }
    }
}
