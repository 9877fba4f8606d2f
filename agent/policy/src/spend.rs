//! What was spent, and what is set aside: cells, one for each group of a budget or limit, and the line of those that wait for one.

pub(crate) mod amount;
pub(crate) mod book;
pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod groups;
pub(crate) mod line;
pub(crate) mod meter;
#[cfg(test)]
mod tests;
