//! Who may call what, and how much of it: selectors, rules, budgets and limits, without input or output of its own.
//!
//! A [`Spec`] is what the operator wrote. [`Policy`] is that, made ready to be asked often; [`Engine`] holds the one that is in
//! force and what was spent, and is what a call meets: first [`Engine::decide`], then [`Decided::reserve`], in the end
//! [`Reservation::settle`].

#![forbid(unsafe_code)]

mod condition;
mod engine;
mod group;
mod hours;
mod policy;
mod selector;
mod spec;
mod spend;
mod subject;
mod sync;
mod verdict;
mod window;

pub use condition::{BadCondition, Condition};
pub use engine::{BudgetState, Decided, Engine, Needs, Reservation};
pub use policy::{Decision, Explanation, Looked, Policy, Verdict};
pub use selector::{BadPattern, Field, Patterns, Selector};
pub use spec::{
    Action, Amount, Budget, Count, Hours, Limit, Measure, Mode, OnExhausted, Parameter, Rule, Spec, Team, Unit,
    Unpriced, Window,
};
pub use subject::{Named, Subject};
pub use verdict::{Actual, Ask, Charge, Notice, Quota, Refused, What};
