//! The tables, and how an older file becomes one of today.
//!
//! Times and durations are microseconds, times since 1970 UTC. Texts stand once, in `text`; 0 refers to none. Money is two
//! whole numbers, so that plain SQL adds it up exactly: dollars = nano / 10⁹ + atto / 10¹⁸. Single numbers are capped
//! where their sums could overflow: tokens at 10¹² (of one exchange), money at a million dollars. What budgets were charged counts
//! tokens too, so it is split at the point instead: amount = whole + atto / 10¹⁸.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::StoreError;

/// How long one row of `rollup` counts together, in microseconds. Quarters of an hour suit every time zone there is.
pub const BUCKET: i64 = 15 * 60 * 1_000_000;

/// The version of the newest of [`MIGRATIONS`].
pub(super) const VERSION: i64 = MIGRATIONS.len().cast_signed() as i64;

/// The columns of `exchange` and `rollup` that usage is counted in, as the fields of [`tollgate_llm::Usage`] are named.
pub const COUNTS: [&str; 19] = [
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "cache_read_audio",
    "cache_read_image",
    "output_audio",
    "output_image",
    "input_image",
    "input_tool",
    "web_searches",
    "server_tools",
    "images",
    "audio_ms",
    "characters",
    "search_units",
];

/// Each brings a file of one version to the next. Never edit one that was released: add another.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Shows a reader a file that nobody has brought to [`VERSION`] yet as one of today. Names of `temp` go before those of the file.
pub(super) const OLDER: &str = include_str!("schema/older.sql");

/// What `PRAGMA application_id` says of a ledger: `Tgat` in ASCII.
pub(super) const APPLICATION: i64 = 0x5467_6174;

/// The version of the file; 0 for an empty one. Most programs number neither their files nor themselves, so an empty one is one
/// without tables.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    match (version, application) {
        (0, 0) if connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 => {
            Ok(0)
        }
        (version, APPLICATION) if version > VERSION => Err(StoreError::Newer { version, known: VERSION }),
        (version, APPLICATION) => Ok(version),
        _ => Err(StoreError::Foreign),
    }
}

/// Brings the file to [`VERSION`], in one transaction: another process may be about to do the same.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let from = usize::try_from(version(&transaction)?).unwrap_or_default();
    for migration in &MIGRATIONS[from..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}
