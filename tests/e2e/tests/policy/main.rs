//! Who may spend what, end to end: budgets that hold whatever happens at once, and whatever becomes of the agent; identities that
//! cannot be put on; and a policy that changes under load.

mod audit;
mod budgets;
mod identity;
mod pods;
mod reload;
mod support;
