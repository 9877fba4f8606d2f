//! The ledger on disk: one SQLite file that any number of agents write and reports read.

mod error;
mod journal;
mod open;
mod row;
pub mod schema;

pub use error::StoreError;
pub use open::{FILE, open_read_only};
