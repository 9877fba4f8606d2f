use crate::Spec;

/// A policy made ready to be asked. Immutable, and shared.
#[derive(Debug, Default)]
pub struct Policy {
    spec: Spec,
}

impl Policy {
    /// Prepares what was written. Names must be unique within their list, as the configuration sees to.
    pub fn new(spec: Spec) -> Self {
        Self { spec }
    }

    /// What was written.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}
