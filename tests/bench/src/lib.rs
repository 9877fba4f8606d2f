//! The benchmark: Tollgate beside what a user would pick instead, in one run, on one machine. `cargo xtask bench --help`.
//!
//! A [`figure`] measures each [`contender`] on the [`stage`] by a generator of [`load`]; rounds go A B A B, and [`report`] shows
//! medians, their spread, ratios and targets. Something new to measure, or to measure with, is a file and one line in a list.
#![forbid(unsafe_code)]

pub mod command;
pub mod contender;
pub mod figure;
pub mod load;
pub mod measure;
pub mod origin;
pub mod report;
pub mod stage;
mod stale;
pub mod stamp;
pub mod stats;
pub mod trial;
