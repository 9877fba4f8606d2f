//! What a provider says it charged for an answer.

use rust_decimal::Decimal;

use super::fields::Price;
use crate::json::Value;

/// The parts of a bill, each as said last.
#[derive(Debug, Default)]
pub(super) struct Bill {
    charged: Option<Decimal>,
    upstream: Option<Decimal>,
    pub(super) is_byok: bool,
}

/// No single answer costs a million dollars; a number beyond that is in another unit or forged.
const LIMIT: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// The decimals of a tick, of which ten thousand million are a dollar.
const TICK: u32 = 10;

impl Bill {
    pub(super) fn set(&mut self, price: Price, value: Value<'_>) {
        let amount = match value {
            Value::Number(whole) => Decimal::from(whole),
            Value::Decimal(text) => match Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)) {
                Ok(amount) => amount,
                Err(_) => return,
            },
            _ => return,
        };
        let dollars = if price == Price::Ticks { amount / Decimal::from(10_u64.pow(TICK)) } else { amount };
        if dollars.is_sign_negative() || dollars > LIMIT {
            return;
        }
        match price {
            Price::Charged | Price::Ticks => self.charged = Some(dollars),
            Price::Upstream => self.upstream = Some(dollars),
        }
    }

    /// All of it, in US dollars.
    pub(super) fn total(&self) -> Option<Decimal> {
        let upstream = self.upstream.filter(|_| self.is_byok).unwrap_or_default();
        Some((self.charged? + upstream).normalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(Price, Value<'_>)], is_byok: bool) -> Option<String> {
        let mut bill = Bill { is_byok, ..Bill::default() };
        for &(price, value) in parts {
            bill.set(price, value);
        }
        bill.total().map(|total| total.to_string())
    }

    #[test]
    fn dollars_and_ticks_are_exact() {
        let cost = |value| of(&[(Price::Charged, value)], false);
        assert_eq!(cost(Value::Decimal("0.00014")).as_deref(), Some("0.00014"));
        assert_eq!(cost(Value::Decimal("1.4e-4")).as_deref(), Some("0.00014"));
        assert_eq!(cost(Value::Number(0)).as_deref(), Some("0"));
        assert_eq!(of(&[(Price::Ticks, Value::Number(37_756_000))], false).as_deref(), Some("0.0037756"));
        for nonsense in ["-0.5", "1e400", "1e9", "nan", ""] {
            assert_eq!(cost(Value::Decimal(nonsense)), None, "{nonsense}");
        }
        assert_eq!(of(&[(Price::Ticks, Value::Number(u64::MAX))], false), None, "a million dollars and more");
    }

    #[test]
    fn another_providers_charge_counts_with_the_users_own_key_only() {
        let parts = [(Price::Charged, Value::Decimal("0.001")), (Price::Upstream, Value::Decimal("0.02"))];
        assert_eq!(of(&parts, true).as_deref(), Some("0.021"));
        assert_eq!(of(&parts, false).as_deref(), Some("0.001"), "it is in the charge already");
    }
}
