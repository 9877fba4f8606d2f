use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::error::QueryError;
use crate::store::{CALLER, open_read_only};

/// The ledger, open to be read, while agents may be writing it.
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    texts: RefCell<HashMap<i64, Option<Arc<str>>>>,
    callers: RefCell<HashMap<i64, Arc<Caller>>>,
    /// Which file it is, whatever its name.
    identity: Option<(u64, u64)>,
    /// How often an agent had tidied up when these were read: then numbers may be given anew.
    tidied: Cell<i64>,
}

/// A caller as the ledger has it.
#[derive(Default)]
pub(super) struct Caller {
    pub(super) program: Option<Arc<str>>,
    pub(super) executable: Option<Arc<str>>,
    pub(super) user: Option<Arc<str>>,
    pub(super) uid: u32,
    pub(super) cgroup: Option<Arc<str>>,
    pub(super) unit: Option<Arc<str>>,
    pub(super) container: Option<Arc<str>>,
    pub(super) pod_uid: Option<Arc<str>>,
    pub(super) pod: Option<Arc<str>>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) service_account: Option<Arc<str>>,
}

impl Reader {
    /// Opens the ledger in this file.
    pub fn open(path: &Path) -> Result<Self, QueryError> {
        let connection = open_read_only(path).map_err(|error| QueryError::new(path, error))?;
        Ok(Self {
            path: path.into(),
            connection,
            texts: RefCell::default(),
            callers: RefCell::default(),
            identity: identity(path),
            tidied: Cell::new(0),
        })
    }

    /// Whether another file has its name now, as after a damaged one was moved aside. This one is read no further then.
    pub fn is_replaced(&self) -> bool {
        identity(&self.path).is_some_and(|identity| Some(identity) != self.identity)
    }

    /// Opens the file that has the name now.
    pub fn reopen(&mut self) -> Result<(), QueryError> {
        *self = Self::open(&self.path.clone())?;
        Ok(())
    }

    pub(super) fn error(&self, error: rusqlite::Error) -> QueryError {
        QueryError::new(&self.path, error)
    }

    /// One moment of the file, to read from. What is rolled up or tidied in the meantime is as it was.
    pub(super) fn moment(&self) -> rusqlite::Result<Transaction<'_>> {
        let transaction = self.connection.unchecked_transaction()?;
        let tidied = transaction.prepare_cached("SELECT tidied FROM state")?.query_one([], |row| row.get(0))?;
        if self.tidied.replace(tidied) != tidied {
            self.texts.borrow_mut().clear();
            self.callers.borrow_mut().clear();
        }
        Ok(transaction)
    }

    /// The text that a number refers to; `None` for what is not known.
    pub(super) fn text(&self, id: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if id == 0 {
            return Ok(None);
        }
        if let Some(text) = self.texts.borrow().get(&id) {
            return Ok(text.clone());
        }
        let mut statement = self.connection.prepare_cached("SELECT value FROM text WHERE id = ?")?;
        let text: Option<Arc<str>> = statement.query_row([id], |row| row.get(0)).optional()?;
        self.texts.borrow_mut().insert(id, text.clone());
        Ok(text)
    }

    pub(super) fn caller(&self, id: i64) -> rusqlite::Result<Arc<Caller>> {
        if let Some(caller) = self.callers.borrow().get(&id) {
            return Ok(Arc::clone(caller));
        }
        let sql = format!("SELECT {CALLER} FROM caller WHERE id = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let caller = statement
            .query_row([id], |row| {
                let text = |column| self.text(row.get(column)?);
                Ok(Caller {
                    program: text(0)?,
                    executable: text(1)?,
                    user: text(2)?,
                    uid: row.get(3)?,
                    cgroup: text(4)?,
                    unit: text(5)?,
                    container: text(6)?,
                    pod_uid: text(7)?,
                    pod: text(8)?,
                    namespace: text(9)?,
                    service_account: text(10)?,
                })
            })
            .optional()?;
        let caller = Arc::new(caller.unwrap_or_default());
        self.callers.borrow_mut().insert(id, Arc::clone(&caller));
        Ok(caller)
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// How a workload is named: the program, and its container or systemd unit where it has one.
pub fn workload(program: &str, unit: Option<&str>, container: Option<&str>) -> String {
    match container.map(|id| id.get(..12).unwrap_or(id)).or(unit) {
        Some(place) => format!("{program}@{place}"),
        None => program.into(),
    }
}
