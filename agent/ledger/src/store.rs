//! The ledger on disk: one SQLite file that any number of agents write and reports read.

mod book;
mod charges;
mod error;
mod frame;
mod insert;
mod journal;
mod ledger;
mod open;
mod queue;
mod recover;
mod retention;
mod row;
pub mod schema;
mod writer;

pub(crate) use charges::amount;
pub use charges::spent;
pub use error::StoreError;
pub(crate) use insert::CALLER;
#[doc(hidden)]
pub use journal::journal_counts;
pub use ledger::{Figures, Ledger, Settings, Trouble};
pub use open::{FILE, open_read_only};

#[cfg(test)]
mod tests;
