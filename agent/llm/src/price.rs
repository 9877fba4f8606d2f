//! What usage costs.

use std::time::SystemTime;

use rust_decimal::Decimal;

use crate::usage::Usage;

/// The cost in US dollars. `None` when the model has no known price: that is not zero.
pub fn price(_provider: &str, _model: &str, _usage: &Usage, _at: SystemTime) -> Option<Decimal> {
    None
}
