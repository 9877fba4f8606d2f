//! Old exchanges: counted together, then removed, a little at a time.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::insert::CALLER;
use super::schema::{BUCKET, COUNTS};

/// Exchanges that one step takes. Some ten milliseconds, in which other agents wait.
const STEP: i64 = 2_000;
/// The largest sum that is kept; SQLite makes floating point of larger ones, which the table refuses.
const LARGEST: i64 = 9_000_000_000_000_000_000;
/// Pages that one step gives back to the file system.
const PAGES: i64 = 500;
/// How long after its beginning a budget's window may still be open, or be looked at as the last one, in seconds.
const LONGEST: i64 = 2 * 31 * 86_400;
/// Free pages that are kept for what comes next.
const SPARE: i64 = 1_000;

/// Counts the oldest exchanges that began before `limit` (microseconds since 1970) together. Gives how many; 0 if there are none.
/// To be called in a transaction.
pub(super) fn roll(connection: &Connection, limit: i64) -> rusqlite::Result<usize> {
    // Whole quarters, so that of none a part is told twice over by rows of both kinds for long.
    let limit = limit - limit.rem_euclid(BUCKET);
    let last = "SELECT started, id FROM exchange WHERE started < ?1 ORDER BY started, id
        LIMIT 1 OFFSET min(?2, (SELECT count(*) FROM (SELECT 1 FROM exchange WHERE started < ?1 LIMIT ?2))) - 1";
    let last: Option<(i64, Vec<u8>)> = connection
        .prepare_cached(last)?
        .query_row(params![limit, STEP], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((started, id)) = last else { return Ok(0) };
    connection.prepare_cached(&CALLERS)?.execute(params![started, id])?;
    connection.prepare_cached(&ROLL)?.execute(params![started, id])?;
    // The sums keep what they were charged.
    let charges = "DELETE FROM charge WHERE exchange IN (SELECT id FROM exchange WHERE (started, id) <= (?, ?))";
    connection.prepare_cached(charges)?.execute(params![started, id])?;
    connection.prepare_cached("DELETE FROM exchange WHERE (started, id) <= (?, ?)")?.execute(params![started, id])
}

/// Forgets what was spent in windows that began before `limit` (microseconds since 1970) and are over: the longest is a month.
/// To be called in a transaction.
pub(super) fn forget(connection: &Connection, limit: i64, now: i64) -> rusqlite::Result<usize> {
    let over = now / 1_000_000 - LONGEST;
    connection.prepare_cached("DELETE FROM spent WHERE began < ?")?.execute([over.min(limit / 1_000_000)])
}

/// Removes texts and callers that nothing refers to any more. To be called in a transaction, seldom: it reads everything.
pub(super) fn tidy(connection: &Connection) -> rusqlite::Result<usize> {
    let callers = connection.execute(
        "DELETE FROM caller WHERE id NOT IN
            (SELECT caller FROM exchange UNION SELECT caller FROM rollup UNION SELECT caller FROM open)",
        [],
    )?;
    let exchange = [
        "provider",
        "region",
        "host",
        "operation",
        "request_model",
        "response_model",
        "source",
        "tier",
        "price_from",
        "price_status",
        "outcome",
        "reason",
        "error_type",
        "credential",
        "team",
        "cost_center",
        "end_user",
        "user_agent",
        "rule",
    ];
    let rollup = [
        "provider",
        "region",
        "host",
        "operation",
        "request_model",
        "response_model",
        "tier",
        "price_from",
        "credential",
        "team",
        "cost_center",
        "end_user",
        "user_agent",
    ];
    let open = [
        "provider",
        "region",
        "host",
        "operation",
        "request_model",
        "credential",
        "team",
        "cost_center",
        "end_user",
        "user_agent",
    ];
    let caller = CALLER.split(", ").filter(|column| *column != "uid").collect::<Vec<_>>();
    let share = ["budget", "share"];
    let mut used = Vec::new();
    for (table, columns) in [
        ("exchange", &exchange[..]),
        ("rollup", &rollup),
        ("open", &open),
        ("caller", &caller),
        ("charge", &share),
        ("spent", &share),
    ] {
        used.extend(columns.iter().map(|column| format!("SELECT {column} FROM {table}")));
    }
    let texts = connection.execute(&format!("DELETE FROM text WHERE id NOT IN ({})", used.join(" UNION ")), [])?;
    if callers + texts > 0 {
        connection.execute("UPDATE state SET tidied = tidied + 1", [])?;
    }
    Ok(callers + texts)
}

/// Gives pages that are free back to the file system, some at a time; false when that is done. Outside a transaction.
pub(super) fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > SPARE {
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", PAGES.min(free - SPARE)))?;
        // Each step of it frees one page.
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(free > SPARE + PAGES)
}

/// The callers without what is not counted apart.
static CALLERS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "INSERT OR IGNORE INTO caller ({CALLER})
        SELECT DISTINCT program, 0, user, uid, 0, unit, container, 0, pod, namespace, service_account FROM caller WHERE id IN
            (SELECT caller FROM exchange WHERE (started, id) <= (?, ?))"
    )
});

static ROLL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    let keys = "provider, region, host, operation, request_model, response_model, tier, price_from, credential, team, \
        cost_center, end_user, user_agent";
    let grouped: Vec<String> = keys.split(", ").map(|key| format!("e.{key}")).collect();
    let grouped = grouped.join(", ");
    let counts = COUNTS.join(", ");
    let sums: Vec<String> = COUNTS.iter().map(|column| format!("coalesce(sum(e.{column}), 0)")).collect();
    let measures = [
        "calls",
        "errors",
        "refused",
        "cost_nano",
        "cost_atto",
        "unpriced",
        "uncounted",
        "partial",
        "estimated",
        "lost",
        "duration",
        "request_bytes",
        "response_bytes",
    ];
    // A step's sums fit. What they are added to may not, of a provider that says absurd numbers for long: it stops there, as
    // an error would come again each time, and nothing would ever be rolled up again.
    let add: Vec<String> = measures
        .iter()
        .chain(&COUNTS)
        .map(|column| format!("{column} = min({LARGEST}, {column} + excluded.{column})"))
        .collect();
    format!(
        "INSERT INTO rollup (started, {keys}, caller, {}, {counts})
        SELECT e.started - e.started % {BUCKET} AS bucket, {grouped}, r.id,
            count(*), sum(e.is_error), sum(e.is_refused), coalesce(sum(e.cost_nano), 0), coalesce(sum(e.cost_atto), 0),
            sum(e.input IS NOT NULL AND e.cost_nano IS NULL), sum(e.input IS NULL AND e.is_billable),
            sum(e.input IS NOT NULL AND s.value = 'partial'), sum(e.input IS NOT NULL AND s.value = 'estimated'),
            sum(e.is_lost), sum(e.duration), sum(e.request_bytes), sum(e.response_bytes), {}
        FROM exchange e
            JOIN text s ON s.id = e.source
            JOIN caller c ON c.id = e.caller
            JOIN caller r ON (r.program, r.executable, r.user, r.uid, r.cgroup, r.unit, r.container,
                    r.pod_uid, r.pod, r.namespace, r.service_account)
                = (c.program, 0, c.user, c.uid, 0, c.unit, c.container, 0, c.pod, c.namespace, c.service_account)
        WHERE (e.started, e.id) <= (?, ?)
        GROUP BY bucket, {grouped}, r.id
        ON CONFLICT DO UPDATE SET {}",
        measures.join(", "),
        sums.join(", "),
        add.join(", "),
    )
});
