//! What was used: one `Record` for each settled exchange, and `Summary`, their totals.
//!
//! Nothing here can hold a key, a prompt or an answer: no field has room for one.

#![forbid(unsafe_code)]

mod id;
mod line;
mod outcome;
pub mod query;
mod record;
pub mod store;
mod summary;
mod totals;

pub use line::{Charged, Line};
pub use outcome::{Outcome, Refusal, UpstreamFailure};
pub use record::{Attribution, Charge, Id, Opened, Record};
pub use summary::{Group, Summary};
pub use totals::{Totals, dollars, name, thousands};
