//! Rows into tables.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, params};

use super::charges::{Amount, Charged, Charges};
use super::frame::Frame;
use super::row::{Label, Labels, clipped};
use super::schema::COUNTS;
use crate::record::Id;

/// Texts and callers whose numbers are remembered. Beyond it they are looked up again.
const REMEMBERED: usize = 16_384;
/// Blocks of labels whose numbers are remembered. A block is some hundred bytes.
const BLOCKS: usize = 4_096;

/// A map whose keys others choose.
type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// What the file's numbers for texts and callers are. To be forgotten whenever a transaction is given up, and when another
/// agent may have tidied up.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Map<Box<str>, i64>,
    callers: Map<[i64; 11], i64>,
    /// The same for all of a row at once, by the bytes that its frame says it in.
    blocks: Map<Box<[u8]>, Numbers>,
    tidied: i64,
}

/// The numbers of all labels of a row.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    /// In the order of [`TEXTS`].
    texts: [i64; TEXTS.len()],
    caller: i64,
}

/// The labels that are columns of `exchange`, in the order of [`statement`].
const TEXTS: [Label; 19] = [
    Label::Provider,
    Label::Region,
    Label::Host,
    Label::Operation,
    Label::RequestModel,
    Label::ResponseModel,
    Label::Source,
    Label::Tier,
    Label::PriceFrom,
    Label::PriceStatus,
    Label::Outcome,
    Label::Reason,
    Label::ErrorType,
    Label::Credential,
    Label::Team,
    Label::CostCenter,
    Label::EndUser,
    Label::UserAgent,
    Label::Rule,
];

/// The columns of `caller` but for its number.
pub(crate) const CALLER: &str =
    "program, executable, user, uid, cgroup, unit, container, pod_uid, pod, namespace, service_account";

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
        if self.blocks.len() > BLOCKS {
            self.blocks = Map::default();
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
        self.texts.insert(text.into(), id);
        Ok(id)
    }

    fn caller(&mut self, connection: &Connection, labels: &Labels<'_>) -> rusqlite::Result<i64> {
        let key = [
            self.text(connection, labels.get(Label::Program))?,
            self.text(connection, labels.get(Label::Executable))?,
            self.text(connection, labels.get(Label::User))?,
            i64::from(labels.uid),
            self.text(connection, labels.get(Label::Cgroup))?,
            self.text(connection, labels.get(Label::Unit))?,
            self.text(connection, labels.get(Label::Container))?,
            self.text(connection, labels.get(Label::PodUid))?,
            self.text(connection, labels.get(Label::Pod))?,
            self.text(connection, labels.get(Label::Namespace))?,
            self.text(connection, labels.get(Label::ServiceAccount))?,
        ];
        if let Some(id) = self.callers.get(&key) {
            return Ok(*id);
        }
        let values = vec!["?"; key.len()].join(", ");
        let known = connection
            .prepare_cached(&format!("SELECT id FROM caller WHERE ({CALLER}) = ({values})"))?
            .query_row(key, |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                connection.prepare_cached(&format!("INSERT INTO caller ({CALLER}) VALUES ({values})"))?.insert(key)?
            }
        };
        self.callers.insert(key, id);
        Ok(id)
    }

    fn numbers(&mut self, connection: &Connection, frame: &Frame<'_>) -> rusqlite::Result<Numbers> {
        if let Some(numbers) = self.blocks.get(frame.labels) {
            return Ok(*numbers);
        }
        let labels = frame.labels().unwrap_or_default();
        let caller = self.caller(connection, &labels)?;
        let mut texts = [0; TEXTS.len()];
        for (number, label) in texts.iter_mut().zip(TEXTS) {
            *number = self.text(connection, labels.get(label))?;
        }
        let numbers = Numbers { texts, caller };
        self.blocks.insert(frame.labels.into(), numbers);
        Ok(numbers)
    }

    /// For rows of one transaction.
    pub(super) fn rows<'a>(&'a mut self, connection: &'a Connection) -> rusqlite::Result<Rows<'a>> {
        let ended = connection.prepare_cached(&ENDED)?;
        let charged = connection
            .prepare_cached("SELECT budget, share, began, unit, whole, atto FROM charge WHERE exchange = ?")?;
        Ok(Rows { names: self, connection, ended, charged })
    }
}

/// Writes rows into tables, in one transaction.
pub(super) struct Rows<'a> {
    names: &'a mut Names,
    connection: &'a Connection,
    ended: CachedStatement<'a>,
    charged: CachedStatement<'a>,
}

impl Rows<'_> {
    /// Writes an exchange that has ended. One that is there already is replaced, unless this one is only said to be lost.
    pub(super) fn insert(&mut self, frame: &Frame<'_>) -> rusqlite::Result<()> {
        let Some(end) = frame.end() else { return Ok(()) };
        let numbers = self.names.numbers(self.connection, frame)?;
        let mut lost;
        let statement = if end.is_lost {
            lost = self.connection.prepare_cached(&LOST)?;
            &mut lost
        } else {
            &mut self.ended
        };
        let mut at = 0;
        let mut bind = |value: &dyn ToSql| {
            at += 1;
            statement.raw_bind_parameter(at, value)
        };
        bind(&frame.started)?;
        bind(&&frame.id.as_bytes()[..])?;
        bind(&end.duration)?;
        bind(&end.first_byte)?;
        bind(&end.first_token)?;
        numbers.texts.iter().try_for_each(|text| bind(text))?;
        match &end.counts {
            Some(counts) => counts.iter().try_for_each(|count| bind(count))?,
            None => (0..COUNTS.len()).try_for_each(|_| bind(&None::<i64>))?,
        }
        let (nano, atto) = end.cost.unzip();
        let values: [&dyn ToSql; 13] = [
            &nano,
            &atto,
            &end.status,
            &end.is_error,
            &end.is_refused,
            &end.is_billable,
            &end.is_lost,
            &end.stream,
            &end.request_bytes,
            &end.response_bytes,
            &end.request_id,
            &numbers.caller,
            &frame.pid,
        ];
        values.into_iter().try_for_each(bind)?;
        // One that is only said to be lost leaves what is there as it is, and so its charges.
        if statement.raw_execute()? > 0 {
            self.charge(&frame.id, frame.charges)?;
        }
        Ok(())
    }

    /// Has an exchange charged so much, and no longer what it was charged before.
    fn charge(&mut self, id: &Id, charges: Charges<'_>) -> rusqlite::Result<()> {
        let id = &id.as_bytes()[..];
        let mut before: Vec<(Place, Amount)> = Vec::new();
        let mut rows = self.charged.query([id])?;
        while let Some(row) = rows.next()? {
            let amount = Amount { whole: row.get(4)?, atto: row.get(5)? };
            let place = Place { budget: row.get(0)?, share: row.get(1)?, began: row.get(2)?, unit: row.get(3)? };
            before.push((place, amount));
        }
        drop(rows);
        let mut now: Vec<(Place, Amount)> = Vec::new();
        for Charged { budget, share, began, unit, amount } in charges.iter() {
            // Most budgets have one share, and it has no name.
            let share = self.names.text(self.connection, Some(share).filter(|share| !share.is_empty()))?;
            let share = Place { budget: self.names.text(self.connection, Some(budget))?, share, began, unit };
            match now.iter_mut().find(|(known, _)| *known == share) {
                Some((_, sum)) => *sum = sum.plus(amount),
                None => now.push((share, amount)),
            }
        }
        for (share, amount) in now {
            let known = before.iter().position(|(known, _)| *known == share).map(|at| before.swap_remove(at).1);
            if known != Some(amount) {
                self.set(id, share, Some(amount), amount.minus(known.unwrap_or_default()))?;
            }
        }
        for (share, amount) in before {
            self.set(id, share, None, Amount::default().minus(amount))?;
        }
        Ok(())
    }

    /// Sets a charge, and adds what it is more to the sum.
    fn set(&self, id: &[u8], share: Place, amount: Option<Amount>, more: Amount) -> rusqlite::Result<()> {
        let Place { budget, share, began, unit } = share;
        let prepare = |sql| self.connection.prepare_cached(sql);
        match amount {
            Some(Amount { whole, atto }) => prepare("INSERT OR REPLACE INTO charge VALUES (?, ?, ?, ?, ?, ?, ?)")?
                .execute(params![id, budget, share, began, unit, whole, atto])?,
            None => prepare("DELETE FROM charge WHERE (exchange, budget, share, began, unit) = (?, ?, ?, ?, ?)")?
                .execute(params![id, budget, share, began, unit])?,
        };
        prepare(&ADD)?.execute(params![began, budget, share, unit, more.whole, more.atto])?;
        Ok(())
    }

    /// Writes an exchange that has not ended.
    pub(super) fn open(&mut self, instance: i64, frame: &Frame<'_>) -> rusqlite::Result<()> {
        let numbers = self.names.numbers(self.connection, frame)?;
        let [provider, region, host, operation, model, .., credential, team, cost_center, end_user, user_agent, _rule] =
            numbers.texts;
        let Numbers { caller, .. } = numbers;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO open VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                &frame.id.as_bytes()[..],
                instance,
                frame.started,
                provider,
                region,
                host,
                operation,
                model,
                credential,
                caller,
                frame.pid,
                team,
                cost_center,
                end_user,
                user_agent
            ])?;
        // Another agent may have held this one to be dead, and have charged it.
        let has_ended = "SELECT 1 FROM exchange WHERE (started, id) = (?, ?) AND NOT is_lost";
        if !self.connection.prepare_cached(has_ended)?.exists(params![frame.started, &frame.id.as_bytes()[..]])? {
            self.charge(&frame.id, frame.charges)?;
        }
        Ok(())
    }

    /// Takes an exchange out of those that have not ended.
    pub(super) fn close(&mut self, id: &Id) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM open WHERE id = ?")?.execute([&id.as_bytes()[..]])?;
        Ok(())
    }
}

static ENDED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| statement("REPLACE"));
static LOST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| statement("IGNORE"));

/// The largest sum that is kept. With any charge added it still fits.
const LARGEST: i64 = 9_000_000_000_000_000_000;

/// Both parts are added, and what the second has too much goes over to the first.
static ADD: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    const ATTO: i64 = 1_000_000_000_000_000_000;
    format!(
        "INSERT INTO spent (began, budget, share, unit, whole, atto) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            whole = min({LARGEST}, whole + excluded.whole + (atto + excluded.atto) / {ATTO}),
            atto = (atto + excluded.atto) % {ATTO}"
    )
});

/// Whose part of which budget is charged, in which window, and of what. The file's numbers for texts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    budget: i64,
    share: i64,
    began: i64,
    unit: u8,
}

/// In the order of [`Rows::insert`].
fn statement(conflict: &str) -> String {
    let counts = COUNTS.join(", ");
    let columns = format!(
        "started, id, duration, first_byte, first_token, provider, region, host, operation, request_model, response_model, \
         source, tier, price_from, price_status, outcome, reason, error_type, credential, \
         team, cost_center, end_user, user_agent, rule, {counts}, cost_nano, cost_atto, \
         status, is_error, is_refused, is_billable, is_lost, stream, request_bytes, response_bytes, request_id, caller, pid"
    );
    let values = vec!["?"; columns.split(',').count()].join(", ");
    format!("INSERT OR {conflict} INTO exchange ({columns}) VALUES ({values})")
}
