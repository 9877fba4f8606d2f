//! Money and tokens as whole numbers, so that what is given back is what was taken, to the last digit.

use rust_decimal::Decimal;

use crate::{Actual, Amount, Ask, Count, Unpriced};

/// Digits of a dollar: a millionth of a millionth. The smallest price of a token has nine.
const DIGITS: u32 = 12;

/// Dollars as a whole number; what is smaller than the last digit counts as one of it, and what is below nothing as nothing.
pub(crate) fn dollars(sum: Decimal) -> i128 {
    let mantissa = sum.mantissa().max(0);
    if let Some(more) = DIGITS.checked_sub(sum.scale()) {
        return mantissa.saturating_mul(10_i128.pow(more));
    }
    let parts = 10_i128.pow(sum.scale() - DIGITS);
    (mantissa + parts - 1) / parts
}

/// A sum as the ledger has it.
pub(crate) fn decimal(sum: i128, amount: Amount) -> Decimal {
    let digits = if matches!(amount, Amount::Money(_)) { DIGITS } else { 0 };
    Decimal::try_from_i128_with_scale(sum, digits).unwrap_or(Decimal::MAX).normalize()
}

/// A sum that the ledger has.
pub(crate) fn whole(sum: Decimal, amount: Amount) -> i128 {
    match amount {
        Amount::Money(_) => dollars(sum),
        Amount::Tokens(..) => sum.ceil().mantissa().max(0) / 10_i128.pow(sum.ceil().scale()),
    }
}

/// How much there is in all.
pub(crate) fn limit(amount: Amount) -> i128 {
    match amount {
        Amount::Money(sum) => dollars(sum),
        Amount::Tokens(tokens, _) => i128::from(tokens),
    }
}

/// Tokens of one kind.
pub(crate) fn tokens(count: Count, input: u64, output: u64) -> i128 {
    let (input, output) = (i128::from(input), i128::from(output));
    match count {
        Count::Total => input + output,
        Count::Input => input,
        Count::Output => output,
    }
}

/// What a call has used of the tokens of one kind. Where nothing is known of the input, it is what was estimated.
pub(crate) fn used_tokens(count: Count, ask: &Ask, actual: &Actual) -> i128 {
    tokens(count, actual.input.unwrap_or(ask.input), actual.output.unwrap_or(0))
}

/// The most that a call may take of a budget; `None` where that cannot be told.
pub(crate) fn asked(amount: Amount, unpriced: Unpriced, ask: &Ask) -> Option<i128> {
    match amount {
        Amount::Tokens(_, count) => Some(tokens(count, ask.input, ask.output)),
        Amount::Money(_) => match (ask.cost, unpriced) {
            (Some(cost), _) => Some(dollars(cost)),
            (None, Unpriced::Assume { input, output }) => Some(rated(input, output, ask.input, ask.output)),
            (None, Unpriced::Allow) => Some(0),
            (None, Unpriced::Deny) => None,
        },
    }
}

/// What a call that the provider may charge for has taken of a budget.
///
/// Where its price is not known in the end, it is put together: from what was asked for where that had a price, else from what
/// the budget assumes. Where not even its tokens are known, it is the input as it was estimated.
pub(crate) fn used(amount: Amount, unpriced: Unpriced, ask: &Ask, actual: &Actual) -> i128 {
    if let Amount::Tokens(_, count) = amount {
        return used_tokens(count, ask, actual);
    }
    if let Some(cost) = actual.cost {
        return dollars(cost);
    }
    let (input, output) = (actual.input.unwrap_or(ask.input), actual.output.unwrap_or(0));
    match (ask.cost, unpriced) {
        (Some(cost), _) => {
            let cost = dollars(cost);
            let input_cost = ask.input_cost.map_or_else(
                || share(cost, ask.input, ask.input.saturating_add(ask.output)),
                |input_cost| dollars(input_cost).min(cost),
            );
            share(input_cost, input, ask.input).saturating_add(share(cost - input_cost, output, ask.output))
        }
        (None, Unpriced::Assume { input: input_rate, output: output_rate }) => {
            rated(input_rate, output_rate, input, output)
        }
        (None, Unpriced::Allow | Unpriced::Deny) => 0,
    }
}

/// So many of so many parts, rounded up.
fn share(sum: i128, part: u64, of: u64) -> i128 {
    if of == 0 {
        return if part == 0 { 0 } else { sum };
    }
    let (part, of) = (i128::from(part), i128::from(of));
    match sum.checked_mul(part) {
        Some(product) => product / of + i128::from(product % of > 0),
        None => (sum / of).saturating_add(1).saturating_mul(part),
    }
}

/// Tokens by rates in dollars a million.
fn rated(input_rate: Decimal, output_rate: Decimal, input: u64, output: u64) -> i128 {
    let of = |rate: Decimal, tokens: u64| share(dollars(rate), tokens, 1_000_000);
    of(input_rate, input).saturating_add(of(output_rate, output))
}
