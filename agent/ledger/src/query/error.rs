use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Why the ledger could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.told())]
pub struct QueryError {
    path: PathBuf,
    source: StoreError,
}

impl QueryError {
    pub(super) fn new(path: &Path, source: impl Into<StoreError>) -> Self {
        Self { path: path.into(), source: source.into() }
    }

    fn told(&self) -> String {
        let path = self.path.display();
        match &self.source {
            StoreError::Missing { .. } => format!("there is no ledger at {path}"),
            StoreError::File { source, .. } => format!("the ledger {path} cannot be read: {source}"),
            source => format!("the ledger {path} cannot be read: {source}"),
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self.source, StoreError::Missing { .. })
    }

    /// Whether it is there, for others.
    pub fn is_denied(&self) -> bool {
        self.source.is_denied()
    }

    /// Whether the file is damaged.
    pub fn is_damage(&self) -> bool {
        self.source.is_damage()
    }
}
