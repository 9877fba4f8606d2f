//! Questions to the ledger: totals by whatever is asked, single exchanges, and what is in flight. All read-only, and
//! while an agent writes.

mod dimension;
mod period;

pub use dimension::{BadDimension, Dimension};
pub use period::{BadMoment, Period, moment, timestamp};
