//! The audit: decisions that matter, one JSON line each, appended to a file and chained by hashes.
//!
//! Each line holds the SHA-256 of the line before, over the borders of files too, so that [`verify()`] finds what was changed,
//! removed or moved afterwards. Nobody waits for a disk: [`Audit::note`] hands on to one thread through a bounded queue. Nothing
//! here has room for a key, a prompt or an answer.

#![forbid(unsafe_code)]

mod audit;
mod chain;
mod entry;
mod error;
mod files;
mod verify;

pub use audit::{Audit, Figures, Settings, Trouble};
pub use entry::{Entry, What, Who};
pub use error::AuditError;
pub use files::CURRENT;
pub use verify::{Break, Noted, Report, Why, verify};
#[doc(hidden)]
pub use verify::{check_bytes, example};

#[cfg(test)]
mod tests;
