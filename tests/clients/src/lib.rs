//! Clients that nobody here wrote, with and without the agent between them and the provider.
//!
//! A client is a script around a vendor's unmodified SDK, or a program such as curl. It prints on standard output all that the
//! provider answered, and on standard error whom it was connected to. [`Trial`] runs it directly, through the agent, and without trust
//! in the agent, in one world, and holds against each other what the client saw, what the provider got and what the agent counted.
#![forbid(unsafe_code)]

mod counted;
mod packages;
mod said;
mod served;
mod trial;

pub use packages::{first_python, other_pythons, packages, python, scratch, source};
pub use trial::{Trial, Trust};
