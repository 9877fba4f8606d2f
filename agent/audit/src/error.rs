use std::io;
use std::path::PathBuf;

/// Why the audit cannot be written or read. Traffic goes on meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A directory or file cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is none.
    #[error("{} holds no audit", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others could have put something there.
    #[error("{} is not safe: {why}", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// Another process holds the lock for too long.
    #[error("{} is locked by another process for too long", path.display())]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
}

impl AuditError {
    /// One word for metrics and status.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Unsafe { .. } => "unsafe",
            Self::Locked { .. } => "busy",
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "full",
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "read_only",
                _ => "file",
            },
        }
    }

    /// Whether it is a matter of rights.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether there is nothing to read.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}
