//! The open file, as one agent writes it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::insert::Names;
use super::open::{FILE, open};
use super::recover::settle;
use super::row::micros_of;
use crate::record::Id;

/// The file, and what is known of it.
#[derive(Debug)]
pub(super) struct Book {
    connection: Connection,
    names: Names,
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// Our number in the table `instance`.
    instance: i64,
}

impl Book {
    /// Opens it, and enters this agent.
    pub(super) fn open(directory: &Path, name: Id) -> Result<Self, StoreError> {
        let connection = open(directory)?;
        let path = directory.join(FILE);
        let identity = identity(&path);
        let mut book = Self { connection, names: Names::default(), path, identity, instance: 0 };
        book.instance = book.write(|_, connection| {
            let enter = "INSERT INTO instance (name, pid, boot, started, seen) VALUES (?1, ?2, ?3, ?4, ?4)
                ON CONFLICT (name) DO UPDATE SET seen = excluded.seen RETURNING id";
            let now = micros_of(SystemTime::now());
            connection
                .prepare_cached(enter)?
                .query_one(params![&name.as_bytes()[..], std::process::id(), boot(), now], |row| row.get(0))
        })?;
        Ok(book)
    }

    /// Our number in the table `instance`.
    pub(super) fn instance(&self) -> i64 {
        self.instance
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.identity
    }

    /// To read, outside a transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// One transaction: all of it is in the file, on the disk, or nothing.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Names, &Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let Self { connection, names, .. } = self;
        let transact = || {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            names.begin(&transaction)?;
            let done = work(names, &transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let result = transact();
        if result.is_err() {
            // Numbers that were given in it are not.
            names.forget();
        }
        result.map_err(StoreError::Sqlite)
    }

    /// Writes that this agent lives.
    pub(super) fn seen(&mut self, name: Id) -> Result<(), StoreError> {
        let instance = self.instance;
        self.write(|_, connection| {
            let now = micros_of(SystemTime::now());
            // It may have been held to be dead.
            connection
                .prepare_cached(
                    "INSERT INTO instance VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (id) DO UPDATE SET seen = ?5",
                )?
                .execute(params![instance, &name.as_bytes()[..], std::process::id(), boot(), now])
        })?;
        Ok(())
    }

    /// This agent has ended, and has nothing open.
    pub(super) fn leave(&mut self) -> Result<(), StoreError> {
        let instance = self.instance;
        self.write(|names, connection| settle(names, connection, instance))
    }

    /// Whether the file was removed or replaced, so that what is written to it is written to nowhere.
    pub(super) fn is_replaced(&self) -> bool {
        identity(&self.path) != self.identity
    }
}

/// Moves a damaged file out of the way, with its time; nothing is ever removed. Another agent may be about to do the same.
pub(super) fn move_aside(directory: &Path, damaged: Option<(u64, u64)>) -> Result<Option<PathBuf>, StoreError> {
    let path = directory.join(FILE);
    let failed = |source| StoreError::File { path: path.clone(), source };
    let lock = File::open(directory).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if identity(&path) != damaged {
        return Ok(None);
    }
    let seconds = micros_of(SystemTime::now()) / 1_000_000;
    let mut aside = directory.join(format!("{FILE}.damaged-{seconds}"));
    while aside.exists() {
        aside.as_mut_os_string().push("+");
    }
    for suffix in ["-wal", "-shm", ""] {
        let with = |path: &Path| {
            let mut name = path.to_path_buf();
            name.as_mut_os_string().push(suffix);
            name
        };
        match fs::rename(with(&path), with(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(Some(aside))
}

/// Which file it is, whatever its name.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Names this run of the kernel.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
