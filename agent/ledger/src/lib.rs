//! What was used: one `Record` for each settled exchange, and `Summary`, their totals.
//!
//! Nothing here can hold a key, a prompt or an answer: no field has room for one.

#![forbid(unsafe_code)]

mod line;
mod outcome;
mod record;
mod summary;

pub use line::Line;
pub use outcome::{Outcome, Refusal, UpstreamFailure};
pub use record::{Id, Opened, Record};
pub use summary::{Group, Summary, Totals};
