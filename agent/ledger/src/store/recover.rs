//! Settles what dead agents left.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};
use tollgate_llm::UsageSource;

use super::book::{Book, boot};
use super::error::StoreError;
use super::insert::Names;
use super::journal::{Journal, Leftover, leftovers};
use super::row::micros_of;
use crate::outcome::Outcome;
use crate::record::Id;

/// How long an agent that has no journal may not have been seen before it is held to be dead. They are seen each minute.
const ABSENT: Duration = Duration::from_mins(10);

/// Settles all of it. Gives how many rows were told of by journals.
pub(super) fn recover(book: &mut Book, journal: &Journal) -> Result<u64, StoreError> {
    let (dead, mut alive) = leftovers(journal.directories(), journal.header());
    alive.insert(journal.instance());
    let mut rows = 0;
    for leftover in dead {
        rows += replay(book, &leftover)?;
        leftover.remove();
    }
    absent(book, &alive)?;
    Ok(rows)
}

/// Brings the rows of a dead agent into the file, as often as it takes: each has its place there.
fn replay(book: &mut Book, leftover: &Leftover) -> Result<u64, StoreError> {
    book.write(|names, connection| {
        let mut rows = 0;
        let mut result = Ok(());
        let mut table = names.rows(connection)?;
        let read = leftover.rows(|row| {
            if result.is_ok() {
                result = table.insert(row).and_then(|()| table.close(&row.id));
                rows += 1;
            }
        });
        drop(table);
        result?;
        // What can be read of it was; it cannot be read better next time.
        if let Err(error) = read {
            tracing::warn!(%error, "a journal could not be read to its end");
        }
        let find = "SELECT id FROM instance WHERE name = ?";
        let name = &leftover.instance.as_bytes()[..];
        let known: Vec<i64> =
            connection.prepare_cached(find)?.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for instance in known {
            settle(names, connection, instance)?;
        }
        Ok(rows)
    })
}

/// Settles agents that died with their journals, as by a power loss.
fn absent(book: &mut Book, alive: &HashSet<Id>) -> Result<(), StoreError> {
    let list = "SELECT id, name, boot, seen FROM instance";
    let mut statement = book.connection().prepare_cached(list)?;
    let known: Vec<(i64, [u8; 16], String, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    drop(statement);
    let (boot, limit) = (boot(), micros_of(SystemTime::now() - ABSENT));
    let dead: Vec<i64> = known
        .into_iter()
        .filter(|(_, name, booted, seen)| !alive.contains(&Id::from_bytes(*name)) && (*booted != boot || *seen < limit))
        .map(|(id, ..)| id)
        .collect();
    if dead.is_empty() {
        return Ok(());
    }
    book.write(|names, connection| dead.iter().try_for_each(|instance| settle(names, connection, *instance)))
}

/// Ends what an agent had open, and forgets the agent. What was set aside for that stays charged.
pub(super) fn settle(names: &mut Names, connection: &Connection, instance: i64) -> rusqlite::Result<()> {
    let source = names.text(connection, Some(UsageSource::Partial.as_str()))?;
    let outcome = names.text(connection, Some(Outcome::Stopped.kind()))?;
    let end = "INSERT OR IGNORE INTO exchange (started, id, duration, provider, region, host, operation, request_model,
            response_model, source, tier, price_from, price_status, outcome, reason, error_type, is_error, is_refused,
            is_billable, is_lost, request_bytes, response_bytes, credential, team, cost_center, end_user, user_agent, caller,
            pid)
        SELECT o.started, o.id, max(0, i.seen - o.started), provider, region, host, operation, request_model,
            0, ?2, 0, 0, 0, ?3, 0, ?3, 1, 0, 1, 1, 0, 0, credential, team, cost_center, end_user,
            user_agent, caller, o.pid
        FROM open o JOIN instance i ON i.id = o.instance WHERE o.instance = ?1";
    connection.prepare_cached(end)?.execute(params![instance, source, outcome])?;
    connection.prepare_cached("DELETE FROM open WHERE instance = ?")?.execute([instance])?;
    connection.prepare_cached("DELETE FROM instance WHERE id = ?")?.execute([instance])?;
    Ok(())
}
