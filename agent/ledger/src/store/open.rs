//! Opens the file, to write or to read.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::schema;

/// The ledger's file in its directory.
pub const FILE: &str = "ledger.db";

/// How long another process's transaction is waited for. Ours take milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the ledger, makes it where there is none, and brings it up to date.
pub(super) fn open(directory: &Path) -> Result<Connection, StoreError> {
    make_directory(directory)?;
    let path = directory.join(FILE);
    // Made by us, for the rights: SQLite gives its other files those of this one.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| StoreError::File { path: path.clone(), source })?;
    let mut connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    schema::version(&connection)?;
    // Takes effect in an empty file only, and must come before its first table.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // Each commit reaches the disk. They are few, and nobody waits for them.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Give back the log's space after a burst.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    schema::migrate(&mut connection)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens the ledger to read it, while agents write.
pub fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Missing { path: path.into() }),
        Err(source) => return Err(StoreError::File { path: path.into(), source }),
    }
    if path.is_dir() {
        return Err(StoreError::File { path: path.into(), source: io::ErrorKind::IsADirectory.into() });
    }
    // SQLite does not say why it cannot open a file.
    OpenOptions::new().read(true).open(path).map_err(|source| StoreError::File { path: path.into(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let version = match schema::version(&connection) {
        Err(error) if error.is_of_the_place() && nobody_writes(path) => {
            connection = Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?;
            schema::version(&connection)?
        }
        version => version?,
    };
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    match version {
        // An agent has just made it, and will fill it.
        0 => Err(StoreError::Missing { path: path.into() }),
        schema::VERSION => Ok(connection),
        _ => {
            // The next agent that writes it brings it up to date.
            connection.execute_batch(schema::OLDER)?;
            Ok(connection)
        }
    }
}

/// Whether no agent has the file open: each keeps a log beside it.
fn nobody_writes(path: &Path) -> bool {
    let mut log = path.to_path_buf();
    log.as_mut_os_string().push("-wal");
    log.try_exists().is_ok_and(|exists| !exists)
}

/// The name by which SQLite reads a file without making others beside it, where it may not: of a copy, or on a read-only disk.
fn immutable(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{path}?immutable=1")
}

/// For its owner alone: it tells who calls what. What it is in may hold other things, for others to read.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::File { path: directory.into(), source };
    if let Some(parent) = directory.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_and_readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a/ledger");
        let writer = open(&directory).unwrap();
        writer.execute("INSERT INTO text (value) VALUES ('x')", []).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&folder.path().join("a")) & 0o500, 0o500, "what is beside it is not hidden by it");
        for name in [FILE, "ledger.db-wal", "ledger.db-shm"] {
            assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
        }
        let reader = open_read_only(&directory.join(FILE)).unwrap();
        let text: String = reader.query_row("SELECT value FROM text", [], |row| row.get(0)).unwrap();
        assert_eq!(text, "x");
        assert!(reader.execute("DELETE FROM text", []).is_err());
    }

    #[test]
    fn other_files_and_later_schemas_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(matches!(open_read_only(&path), Err(StoreError::Missing { .. })));
        let other = Connection::open(&path).unwrap();
        assert!(matches!(open_read_only(&path), Err(StoreError::Missing { .. })), "it is empty");
        other.execute_batch("CREATE TABLE x (y)").unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::Foreign)), "nothing is put beside another's tables");
        other.execute_batch("PRAGMA user_version = 7").unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::Foreign)));
        other.execute_batch(&format!("PRAGMA application_id = {}", schema::APPLICATION)).unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::Newer { version: 7, .. })));
        drop(other);
        fs::write(&path, vec![b'!'; 8192]).unwrap();
        assert!(open(folder.path()).unwrap_err().is_damage());
    }
}
