//! Asks the policy about a call before it leaves.

use std::sync::Arc;

use tollgate_policy::{Engine, Needs};

/// What the configuration says about asking the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicySettings {
    /// How large a request may be that has to be read before it is decided on, in bytes. A larger one is refused.
    pub body_limit: usize,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self { body_limit: 32 << 20 }
    }
}

/// The policy that calls have to pass.
pub(crate) struct Gate {
    engine: Arc<Engine>,
    settings: PolicySettings,
}

impl Gate {
    pub(crate) fn new(engine: Arc<Engine>, settings: PolicySettings) -> Self {
        Self { engine, settings }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.settings.body_limit
    }

    /// What the policy in force has to know of a call; nothing where there is none.
    pub(crate) fn needs(gate: Option<&Self>) -> Needs {
        gate.map(|gate| gate.engine.needs()).unwrap_or_default()
    }
}
