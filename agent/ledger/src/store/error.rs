use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the ledger cannot be written or read. Traffic goes on meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// Neither directory nor file could be made or opened.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file was written by a later version.
    #[error(
        "the ledger is of schema {version}, and this version knows up to {known}; upgrade, or name another ledger.directory"
    )]
    Newer {
        /// The file's.
        version: i64,
        /// Ours.
        known: i64,
    },
    /// It is a SQLite file of something else.
    #[error("the file is a database, but not a ledger; name another ledger.directory")]
    Foreign,
    /// What agents spent before cannot be told: their journals are not in the ledger yet.
    #[error("what was spent before is not known, because the ledger cannot be written: {0}")]
    Unrecovered(String),
    /// SQLite's own errors: a full disk, a damaged file, a lock.
    #[error("SQLite says: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether the file itself is damaged, so that trying again cannot help.
    pub fn is_damage(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Whether this is a matter of rights.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::File { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => matches!(self.code(), Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly)),
        }
    }

    /// Whether it is about what surrounds the file, where SQLite keeps others while it reads.
    pub(super) fn is_of_the_place(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
    }

    /// One word for metrics and status.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "read_only",
                io::ErrorKind::StorageFull => "full",
                _ => "file",
            },
            Self::Newer { .. } => "newer",
            Self::Foreign => "foreign",
            Self::Unrecovered(_) => "busy",
            Self::Sqlite(_) => match self.code() {
                Some(ErrorCode::DiskFull) => "full",
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "read_only",
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "corrupt",
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "busy",
                Some(ErrorCode::SystemIoFailure) => "io",
                Some(ErrorCode::CannotOpen) => "file",
                _ => "other",
            },
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }
}
