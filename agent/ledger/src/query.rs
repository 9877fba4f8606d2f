//! Questions to the ledger: totals by whatever is asked, single exchanges, and what is in flight. All read-only, and
//! while agents write.

mod calls;
mod dimension;
mod error;
mod filter;
mod group;
mod period;
mod reader;
mod report;

pub use calls::{Charge, Cursor, Flight};
pub use dimension::{BadDimension, Dimension};
pub use error::QueryError;
pub use filter::Filter;
pub use period::{BadMoment, Period, moment, timestamp};
pub use reader::{Reader, workload};
pub use report::{Question, Report, Row};

#[cfg(test)]
mod tests;
