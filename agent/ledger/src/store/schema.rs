//! The tables, and how an older file becomes one of today.
//!
//! Times and durations are microseconds, times since 1970 UTC. Texts stand once, in `text`; 0 refers to none. Money is two
//! whole numbers, so that plain SQL adds it up exactly: dollars = nano / 10⁹ + atto / 10¹⁸. Single numbers are capped
//! where their sums could overflow: tokens at 10¹² (of one exchange), money at a million dollars.

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
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE text (
    id INTEGER PRIMARY KEY,
    value TEXT NOT NULL UNIQUE
) STRICT;

-- One row. How often texts and callers that nothing refers to were removed: what agents remember of them is void then.
CREATE TABLE state (tidied INTEGER NOT NULL) STRICT;
INSERT INTO state VALUES (1);

-- Who called, but for the process id. References to text.
CREATE TABLE caller (
    id INTEGER PRIMARY KEY,
    program INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    user INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    cgroup INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    container INTEGER NOT NULL,
    UNIQUE (program, executable, user, uid, cgroup, unit, container)
) STRICT;

-- Agents that write here, and when each was last seen to.
CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    pid INTEGER NOT NULL,
    boot TEXT NOT NULL,
    started INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;

-- Exchanges that have not ended. Those of the last second may be missing: most end before it is worth writing them.
CREATE TABLE open (
    id BLOB PRIMARY KEY,
    instance INTEGER NOT NULL,
    started INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    pid INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Exchanges that have ended, in the order in which they began.
CREATE TABLE exchange (
    started INTEGER NOT NULL,
    id BLOB NOT NULL,
    duration INTEGER NOT NULL,
    first_byte INTEGER,
    first_token INTEGER,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    response_model INTEGER NOT NULL,
    source INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    -- NULL, as all counts, where nothing is known of tokens.
    input INTEGER,
    output INTEGER,
    cache_read INTEGER,
    cache_write INTEGER,
    cache_write_1h INTEGER,
    reasoning INTEGER,
    input_audio INTEGER,
    cache_read_audio INTEGER,
    cache_read_image INTEGER,
    output_audio INTEGER,
    output_image INTEGER,
    input_image INTEGER,
    input_tool INTEGER,
    web_searches INTEGER,
    server_tools INTEGER,
    images INTEGER,
    audio_ms INTEGER,
    characters INTEGER,
    search_units INTEGER,
    -- NULL, both, where the cost is not known.
    cost_nano INTEGER,
    cost_atto INTEGER,
    price_from INTEGER NOT NULL,
    price_status INTEGER NOT NULL,
    status INTEGER,
    outcome INTEGER NOT NULL,
    -- Why it was refused, or what failed upstream.
    reason INTEGER NOT NULL,
    error_type INTEGER NOT NULL,
    -- Whether the caller got less than it asked for, through no choice of its own.
    is_error INTEGER NOT NULL,
    is_refused INTEGER NOT NULL,
    -- Whether the provider charges for it, as far as can be told.
    is_billable INTEGER NOT NULL,
    -- Whether its agent died before it ended, so that a later one wrote this row.
    is_lost INTEGER NOT NULL,
    stream INTEGER,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    request_id TEXT,
    credential INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    PRIMARY KEY (started, id)
) STRICT, WITHOUT ROWID;

-- Exchanges whose rows were removed, added up. `started` is the beginning of a quarter of an hour. Of the callers, executable
-- and cgroup are left out.
CREATE TABLE rollup (
    started INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    response_model INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    price_from INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    input_audio INTEGER NOT NULL,
    cache_read_audio INTEGER NOT NULL,
    cache_read_image INTEGER NOT NULL,
    output_audio INTEGER NOT NULL,
    output_image INTEGER NOT NULL,
    input_image INTEGER NOT NULL,
    input_tool INTEGER NOT NULL,
    web_searches INTEGER NOT NULL,
    server_tools INTEGER NOT NULL,
    images INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    search_units INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL,
    cost_atto INTEGER NOT NULL,
    -- Calls, as in a report's totals: counted without a price, billable without a count, cut short, estimated.
    unpriced INTEGER NOT NULL,
    uncounted INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (started, provider, region, host, operation, request_model, response_model, tier, price_from, credential,
        caller)
) STRICT, WITHOUT ROWID;

-- For people with a SQLite shell.
CREATE VIEW exchanges AS SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', e.started / 1000000.0, 'unixepoch') AS started,
    lower(hex(e.id)) AS id,
    e.duration / 1000.0 AS duration_ms,
    (SELECT value FROM text WHERE text.id = e.provider) AS provider,
    (SELECT value FROM text WHERE text.id = e.host) AS host,
    (SELECT value FROM text WHERE text.id = e.operation) AS operation,
    (SELECT value FROM text WHERE text.id = e.request_model) AS request_model,
    (SELECT value FROM text WHERE text.id = e.response_model) AS response_model,
    e.input, e.output, e.cache_read, e.cache_write, e.reasoning,
    (SELECT value FROM text WHERE text.id = e.source) AS usage_source,
    printf('%d.%09d%09d', e.cost_nano / 1000000000, e.cost_nano % 1000000000, e.cost_atto) AS cost_usd,
    e.status,
    (SELECT value FROM text WHERE text.id = e.outcome) AS outcome,
    (SELECT value FROM text WHERE text.id = e.error_type) AS error_type,
    (SELECT value FROM text WHERE text.id = c.program) AS program,
    (SELECT value FROM text WHERE text.id = c.user) AS user,
    (SELECT value FROM text WHERE text.id = c.unit) AS unit,
    (SELECT value FROM text WHERE text.id = c.container) AS container,
    e.pid, e.request_id
FROM exchange e JOIN caller c ON c.id = e.caller;
"];

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
