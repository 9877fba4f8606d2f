//! What happens to one connection: accept, peek, then intercept, tunnel or refuse; and, when intercepted, HTTP exchange by
//! exchange.

#![forbid(unsafe_code)]

mod opened;
mod prefixed;

pub mod drain;
pub mod fate;
pub mod peek;
pub mod refusals;
pub mod tunnel;
