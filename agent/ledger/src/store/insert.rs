//! Rows into tables.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use tollgate_workload::Caller;

use super::row::{End, Row, Text, clipped};
use super::schema::COUNTS;
use crate::record::Id;

/// Texts and callers whose numbers are remembered. Beyond it they are looked up again.
const REMEMBERED: usize = 16_384;

/// What the file's numbers for texts and callers are. To be forgotten whenever a transaction is given up, and when another
/// agent may have tidied up.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: HashMap<String, i64>,
    callers: HashMap<[i64; 7], i64>,
    tidied: i64,
}

impl Names {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// To be called at the beginning of each transaction.
    pub(super) fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let tidied = connection.prepare_cached("SELECT tidied FROM state")?.query_one([], |row| row.get(0))?;
        if tidied != self.tidied || self.texts.len() > REMEMBERED || self.callers.len() > REMEMBERED {
            self.forget();
            self.tidied = tidied;
        }
        Ok(())
    }

    /// The number of a text; 0 for none.
    pub(super) fn text(&mut self, connection: &Connection, text: Option<&str>) -> rusqlite::Result<i64> {
        let Some(text) = text.map(clipped) else { return Ok(0) };
        if let Some(id) = self.texts.get(text) {
            return Ok(*id);
        }
        let known = connection
            .prepare_cached("SELECT id FROM text WHERE value = ?")?
            .query_row([text], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => connection.prepare_cached("INSERT INTO text (value) VALUES (?)")?.insert([text])?,
        };
        self.texts.insert(text.to_owned(), id);
        Ok(id)
    }

    fn caller(&mut self, connection: &Connection, caller: &Caller) -> rusqlite::Result<i64> {
        let executable = caller.executable.as_deref().map(|path| path.to_string_lossy());
        let key = [
            self.text(connection, Some(&caller.program))?,
            self.text(connection, executable.as_deref())?,
            self.text(connection, Some(&caller.user))?,
            i64::from(caller.uid),
            self.text(connection, caller.cgroup.as_deref())?,
            self.text(connection, caller.unit.as_deref())?,
            self.text(connection, caller.container.as_deref())?,
        ];
        if let Some(id) = self.callers.get(&key) {
            return Ok(*id);
        }
        let known = connection
            .prepare_cached(
                "SELECT id FROM caller WHERE (program, executable, user, uid, cgroup, unit, container) = (?, ?, ?, ?, ?, ?, ?)",
            )?
            .query_row(key, |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => connection
                .prepare_cached(
                    "INSERT INTO caller (program, executable, user, uid, cgroup, unit, container) VALUES (?, ?, ?, ?, ?, ?, ?)",
                )?
                .insert(key)?,
        };
        self.callers.insert(key, id);
        Ok(id)
    }

    /// Writes an exchange that has ended. One that is there already is replaced, unless this one is only said to be lost.
    pub(super) fn insert(&mut self, connection: &Connection, row: &Row, end: &End) -> rusqlite::Result<()> {
        let texts = [
            self.text(connection, Some(row.provider.as_str()))?,
            self.text(connection, row.region.as_ref().map(Text::as_str))?,
            self.text(connection, Some(row.host.as_str()))?,
            self.text(connection, Some(&row.operation))?,
            self.text(connection, row.request_model.as_ref().map(Text::as_str))?,
            self.text(connection, end.response_model.as_ref().map(Text::as_str))?,
            self.text(connection, Some(&end.source))?,
            self.text(connection, end.tier.as_deref())?,
            self.text(connection, end.price_from.as_ref().map(Text::as_str))?,
            self.text(connection, end.price_status.as_deref())?,
            self.text(connection, Some(&end.outcome))?,
            self.text(connection, end.reason.as_deref())?,
            self.text(connection, end.error_type.as_deref())?,
            self.text(connection, row.credential.as_ref().map(Text::as_str))?,
        ];
        let caller = self.caller(connection, &row.caller.0)?;
        let (nano, atto) = end.cost.unzip();
        let request_id = end.request_id.as_ref().map(Text::as_str);
        let pid = row.caller.0.pid;
        let mut values: Vec<&dyn ToSql> = Vec::with_capacity(56);
        let id = &row.id.as_bytes()[..];
        values.extend([&row.started as &dyn ToSql, &id, &end.duration, &end.first_byte, &end.first_token]);
        values.extend(texts.iter().map(|text| text as &dyn ToSql));
        match &end.counts {
            Some(counts) => values.extend(counts.iter().map(|count| count as &dyn ToSql)),
            None => values.extend([&None::<i64> as &dyn ToSql; COUNTS.len()]),
        }
        values.extend([
            &nano as &dyn ToSql,
            &atto,
            &end.status,
            &end.is_error,
            &end.is_refused,
            &end.is_billable,
            &end.is_lost,
        ]);
        values.extend([&end.stream as &dyn ToSql, &end.request_bytes, &end.response_bytes, &request_id, &caller, &pid]);
        let sql = if end.is_lost { &*LOST } else { &*ENDED };
        connection.prepare_cached(sql)?.execute(&values[..])?;
        Ok(())
    }

    /// Writes an exchange that has not ended.
    pub(super) fn open(&mut self, connection: &Connection, instance: i64, row: &Row) -> rusqlite::Result<()> {
        let provider = self.text(connection, Some(row.provider.as_str()))?;
        let region = self.text(connection, row.region.as_ref().map(Text::as_str))?;
        let host = self.text(connection, Some(row.host.as_str()))?;
        let operation = self.text(connection, Some(&row.operation))?;
        let model = self.text(connection, row.request_model.as_ref().map(Text::as_str))?;
        let credential = self.text(connection, row.credential.as_ref().map(Text::as_str))?;
        let caller = self.caller(connection, &row.caller.0)?;
        connection.prepare_cached("INSERT OR REPLACE INTO open VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(
            params![
                &row.id.as_bytes()[..],
                instance,
                row.started,
                provider,
                region,
                host,
                operation,
                model,
                credential,
                caller,
                row.caller.0.pid
            ],
        )?;
        Ok(())
    }
}

/// Takes an exchange out of those that have not ended.
pub(super) fn close(connection: &Connection, id: &Id) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM open WHERE id = ?")?.execute([&id.as_bytes()[..]])?;
    Ok(())
}

static ENDED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| statement("REPLACE"));
static LOST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| statement("IGNORE"));

/// In the order of [`Names::insert`].
fn statement(conflict: &str) -> String {
    let counts = COUNTS.join(", ");
    let columns = format!(
        "started, id, duration, first_byte, first_token, provider, region, host, operation, request_model, response_model, \
         source, tier, price_from, price_status, outcome, reason, error_type, credential, {counts}, cost_nano, cost_atto, \
         status, is_error, is_refused, is_billable, is_lost, stream, request_bytes, response_bytes, request_id, caller, pid"
    );
    let values = vec!["?"; columns.split(',').count()].join(", ");
    format!("INSERT OR {conflict} INTO exchange ({columns}) VALUES ({values})")
}
