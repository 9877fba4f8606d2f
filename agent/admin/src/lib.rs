//! What operators and machines ask a running agent: metrics, health and status, over plain HTTP.
//!
//! It counts and answers; it decides nothing and stores nothing. Labels are bounded, whatever callers send.

#![forbid(unsafe_code)]

mod health;
mod labels;
mod metrics;
mod server;
mod status;

pub use health::{Health, Pending};
pub use metrics::{ConfigFigures, Metrics, Step};
pub use server::{Pages, serve};
pub use status::{AuditState, BudgetSummary, ConfigState, LedgerState, Refused, State, Status};
