//! Single exchanges, and what is in flight.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row as SqlRow, params, params_from_iter};

use super::error::QueryError;
use super::filter::{Condition, Filter, Models};
use super::group::dollars;
use super::reader::Reader;
use crate::line::{Charged, Line};
use crate::record::Id;
use crate::store::amount;

/// All that [`Reader::line`] reads, in its order.
const COLUMNS: &str = "id, started, duration, first_byte, first_token, provider, region, host, operation, request_model, \
    response_model, input, output, cache_read, cache_write, reasoning, cache_write_1h, input_audio, cache_read_audio, \
    output_audio, input_image, output_image, input_tool, web_searches, server_tools, images, audio_ms, characters, \
    search_units, tier, source, cost_nano, cost_atto, price_from, price_status, status, outcome, error_type, stream, \
    request_bytes, response_bytes, request_id, credential, caller, pid, is_billable, cache_read_image, team, cost_center, end_user, \
    user_agent, rule";

/// How much later than another that began at the same time an exchange may be written down, in microseconds.
const LAG: i64 = 60_000_000;

/// How much longer than a window an exchange may have lasted to be found in it, in microseconds.
const LONG: i64 = 3_600_000_000;

/// An exchange that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// When it began.
    pub started: SystemTime,
    /// As in `gen_ai.provider.name`.
    pub provider: Arc<str>,
    /// The model that is asked for.
    pub model: Option<Arc<str>>,
    /// As in `gen_ai.operation.name`.
    pub operation: Arc<str>,
    /// File name of the caller's executable.
    pub program: Arc<str>,
    /// Login name.
    pub user: Arc<str>,
    /// systemd's unit.
    pub unit: Option<Arc<str>>,
    /// Id of the container.
    pub container: Option<Arc<str>>,
    /// The team that it is put down to.
    pub team: Option<Arc<str>>,
}

/// One exchange, or the sum of some that are alike, for whoever draws up a bill.
#[derive(Debug)]
pub struct Charge<'a> {
    /// What is known of it. Of a sum: what they have in common, their counts, and what their costs add up to.
    pub line: &'a Line<'a>,
    /// Exchanges.
    pub calls: u64,
    /// Those with a token count and no known price.
    pub unpriced: u64,
    /// Those that the provider charges for, as far as can be told, and told no count of.
    pub uncounted: u64,
    /// Whether they were rolled up.
    pub is_sum: bool,
}

/// Where a reader is who wants each exchange once, as it ends.
#[derive(Debug)]
pub struct Cursor {
    filter: Filter,
    /// Exchanges that were told, from `newest` back to the limit of the writers' lag.
    told: HashMap<[u8; 16], i64>,
    /// Those in flight at the last look, which may have begun long ago.
    open: HashSet<(i64, [u8; 16])>,
    newest: i64,
}

impl Cursor {
    /// For these calls; [`Reader::last`] or [`Reader::ended_since`] says where it begins.
    pub fn new(filter: Filter) -> Self {
        Self { filter, told: HashMap::new(), open: HashSet::new(), newest: 0 }
    }

    /// Before everything that is in a file that took the place of the one which was read.
    pub fn rewind(&mut self) {
        *self = Self::new(std::mem::take(&mut self.filter));
    }

    fn tell(&mut self, id: [u8; 16], started: i64) -> bool {
        self.newest = self.newest.max(started);
        self.told.insert(id, started).is_none()
    }
}

impl Reader {
    /// Calls `each` for every exchange, in the order of their beginnings, then for the sums of those that are rolled up.
    pub fn each(&self, filter: &Filter, mut each: impl FnMut(&Charge<'_>)) -> Result<(), QueryError> {
        let mut read = || {
            let moment = self.moment()?;
            let condition = filter.condition(Models::Both);
            let sql = format!("SELECT {COLUMNS} FROM exchange WHERE {} ORDER BY started, id", condition.sql);
            self.lines(&moment, &sql, condition.values.clone(), |line, is_billable| {
                let counted = line.input_tokens.is_some();
                each(&Charge {
                    calls: 1,
                    unpriced: (counted && line.cost_usd.is_none()).into(),
                    uncounted: (!counted && is_billable).into(),
                    is_sum: false,
                    line,
                });
            })?;
            self.sums(&moment, &condition, &mut each)
        };
        read().map_err(|error| self.error(error))
    }

    fn sums(
        &self,
        connection: &Connection,
        condition: &Condition,
        each: &mut impl FnMut(&Charge<'_>),
    ) -> rusqlite::Result<()> {
        // What a sum does not have stands as it would for an exchange of which it is not known.
        let columns = COLUMNS.split(", ").map(|column| match column {
            "id" => "zeroblob(16)",
            "first_byte" | "first_token" | "status" | "stream" | "request_id" => "NULL",
            "source" | "price_status" | "outcome" | "error_type" | "pid" | "rule" => "0",
            "is_billable" => "1",
            column => column,
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {columns}, calls, unpriced, uncounted FROM rollup WHERE {} ORDER BY started",
            condition.sql
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&condition.values))?;
        while let Some(row) = rows.next()? {
            let number = |column| row.get(column).map(|number: i64| number.max(0).cast_unsigned());
            let line = &self.line(row)?;
            each(&Charge { line, calls: number(52)?, unpriced: number(53)?, uncounted: number(54)?, is_sum: true });
        }
        Ok(())
    }

    /// The last `number` exchanges by their beginning, or all, in the order in which they ended; the cursor is then
    /// behind them.
    pub fn last(&self, cursor: &mut Cursor, number: Option<usize>) -> Result<Vec<Line<'static>>, QueryError> {
        let limit = number.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX));
        self.begin(cursor, &format!("1 ORDER BY started DESC, id DESC LIMIT {limit}"))
    }

    /// The exchanges that ended from then on, except those that took hours; the cursor is then behind them.
    pub fn ended_since(&self, cursor: &mut Cursor, since: Timestamp) -> Result<Vec<Line<'static>>, QueryError> {
        let since = since.as_microsecond();
        let from = since.saturating_sub(LONG);
        self.begin(cursor, &format!("started >= {from} AND started + duration >= {since}"))
    }

    fn begin(&self, cursor: &mut Cursor, which: &str) -> Result<Vec<Line<'static>>, QueryError> {
        let read = |cursor: &mut Cursor| {
            let transaction = self.moment()?;
            let condition = cursor.filter.condition(Models::Both);
            let mut lines = Vec::new();
            let sql = format!("SELECT {COLUMNS} FROM exchange WHERE {} AND {which}", condition.sql);
            self.lines(&transaction, &sql, condition.values, |line, _| lines.push(line.clone()))?;
            // What is left out by the filter or the number is behind the cursor too.
            cursor.newest =
                transaction.query_row("SELECT coalesce(max(started), 0) FROM exchange", [], |row| row.get(0))?;
            let mut statement = transaction.prepare("SELECT id, started FROM exchange WHERE started >= ?")?;
            let mut rows = statement.query([cursor.newest - LAG])?;
            while let Some(row) = rows.next()? {
                cursor.tell(row.get(0)?, row.get(1)?);
            }
            cursor.open = open(&transaction)?;
            self.charge(&transaction, &mut lines)?;
            Ok(sorted(lines))
        };
        read(cursor).map_err(|error| self.error(error))
    }

    /// The exchanges that have ended since the last look, in the order in which they ended.
    pub fn next(&self, cursor: &mut Cursor) -> Result<Vec<Line<'static>>, QueryError> {
        let read = |cursor: &mut Cursor| {
            let transaction = self.moment()?;
            let condition = cursor.filter.condition(Models::Both);
            let mut lines = Vec::new();
            let mut fresh = HashSet::new();
            {
                // The key alone, of what is mostly known already.
                let mut statement =
                    transaction.prepare_cached("SELECT started, id FROM exchange WHERE started >= ?")?;
                let mut rows = statement.query([cursor.newest - LAG])?;
                while let Some(row) = rows.next()? {
                    let (started, id) = (row.get(0)?, row.get(1)?);
                    if cursor.tell(id, started) {
                        fresh.insert((started, id));
                    }
                }
            }
            let now_open = open(&transaction)?;
            fresh.extend(cursor.open.difference(&now_open).filter(|(_, id)| !cursor.told.contains_key(id)).copied());
            let sql = format!("SELECT {COLUMNS} FROM exchange WHERE {} AND started = ? AND id = ?", condition.sql);
            for (started, id) in fresh {
                let mut values = condition.values.clone();
                values.extend([Value::from(started), Value::from(id.to_vec())]);
                self.lines(&transaction, &sql, values, |line, _| lines.push(line.clone()))?;
            }
            cursor.open = now_open;
            let oldest = cursor.newest - LAG;
            cursor.told.retain(|_, started| *started >= oldest);
            self.charge(&transaction, &mut lines)?;
            Ok(sorted(lines))
        };
        read(cursor).map_err(|error| self.error(error))
    }

    /// What has not ended, the oldest first.
    pub fn in_flight(&self) -> Result<Vec<Flight>, QueryError> {
        let read = || {
            let columns = "started, provider, request_model, operation, caller, team";
            let sql = format!("SELECT {columns} FROM open WHERE {ALIVE} ORDER BY started, id");
            let moment = self.moment()?;
            let mut statement = moment.prepare_cached(&sql)?;
            let flights = statement.query_map([alive()], |row| {
                let caller = self.caller(row.get(4)?)?;
                let known = |text: Option<Arc<str>>| text.unwrap_or_else(|| "-".into());
                Ok(Flight {
                    started: time(row.get(0)?),
                    provider: known(self.text(row.get(1)?)?),
                    model: self.text(row.get(2)?)?,
                    operation: known(self.text(row.get(3)?)?),
                    program: known(caller.program.clone()),
                    user: known(caller.user.clone()),
                    unit: caller.unit.clone(),
                    container: caller.container.clone(),
                    team: self.text(row.get(5)?)?,
                })
            })?;
            flights.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.error(error))
    }

    /// Adds what budgets were charged.
    fn charge(&self, connection: &Connection, lines: &mut [Line<'static>]) -> rusqlite::Result<()> {
        let sql =
            "SELECT budget, share, began, whole, atto FROM charge WHERE exchange = ? ORDER BY budget, share, began";
        let mut statement = connection.prepare_cached(sql)?;
        for line in lines {
            let Some(id) = Id::parse(&line.id) else { continue };
            let mut rows = statement.query([&id.as_bytes()[..]])?;
            while let Some(row) = rows.next()? {
                let text = |column| {
                    self.text(row.get(column)?).map(|text| Cow::Owned(text.as_deref().unwrap_or_default().into()))
                };
                line.charges.push(Charged {
                    budget: text(0)?,
                    group: text(1)?,
                    window: row.get(2)?,
                    amount: amount(row.get(3)?, row.get(4)?).to_string().into(),
                });
            }
        }
        Ok(())
    }

    fn lines(
        &self,
        connection: &Connection,
        sql: &str,
        values: Vec<Value>,
        mut each: impl FnMut(&Line<'static>, bool),
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(&self.line(row)?, row.get(45)?);
        }
        Ok(())
    }

    /// A row with [`COLUMNS`].
    fn line(&self, row: &SqlRow<'_>) -> rusqlite::Result<Line<'static>> {
        let text = |column: usize| -> rusqlite::Result<Option<Cow<'static, str>>> {
            Ok(self.text(row.get(column)?)?.map(|text| Cow::Owned(text.to_string())))
        };
        let word = |column| text(column).map(Option::unwrap_or_default);
        let count = |column: usize| {
            row.get::<_, Option<i64>>(column).map(|count| count.map(|count| count.max(0).cast_unsigned()))
        };
        let rare = |column| count(column).map(|count| count.filter(|count| *count > 0));
        let milliseconds =
            |column: usize| row.get::<_, Option<i64>>(column).map(|span| span.map(|span| span as f64 / 1e3));
        let tokens = row.get::<_, Option<i64>>(11)?.is_some();
        let caller = self.caller(row.get(43)?)?;
        let owned = |text: &Option<Arc<str>>| text.as_ref().map(|text| Cow::Owned(text.to_string()));
        let cost = match (row.get::<_, Option<i64>>(31)?, row.get::<_, Option<i64>>(32)?) {
            (Some(nano), atto) => Some(dollars(nano.into(), atto.unwrap_or(0).into()).to_string().into()),
            (None, _) => None,
        };
        Ok(Line {
            id: Id::from_bytes(row.get(0)?).to_string().into(),
            started: time(row.get(1)?),
            duration_ms: milliseconds(2)?.unwrap_or(0.0),
            time_to_first_byte_ms: milliseconds(3)?,
            time_to_first_token_ms: milliseconds(4)?,
            provider: word(5)?,
            region: text(6)?,
            host: word(7)?,
            operation: word(8)?,
            request_model: text(9)?,
            response_model: text(10)?,
            input_tokens: count(11)?,
            output_tokens: count(12)?,
            cache_read_tokens: count(13)?,
            cache_write_tokens: count(14)?,
            reasoning_tokens: count(15)?,
            cache_write_1h_tokens: rare(16)?,
            input_audio_tokens: rare(17)?,
            cache_read_audio_tokens: rare(18)?,
            output_audio_tokens: rare(19)?,
            input_image_tokens: rare(20)?,
            cache_read_image_tokens: rare(46)?,
            output_image_tokens: rare(21)?,
            input_tool_tokens: rare(22)?,
            web_searches: rare(23)?,
            server_tools: rare(24)?,
            images: rare(25)?,
            audio_ms: rare(26)?,
            characters: rare(27)?,
            search_units: rare(28)?,
            service_tier: if tokens { text(29)? } else { None },
            usage_source: word(30)?,
            cost_usd: cost,
            price_from: text(33)?,
            price_status: text(34)?,
            status: row.get(35)?,
            outcome: word(36)?,
            error_type: text(37)?,
            stream: row.get(38)?,
            request_bytes: count(39)?.unwrap_or(0),
            response_bytes: count(40)?.unwrap_or(0),
            request_id: row.get::<_, Option<String>>(41)?.map(Cow::Owned),
            credential: text(42)?,
            program: owned(&caller.program).unwrap_or_default(),
            executable: owned(&caller.executable),
            user: owned(&caller.user).unwrap_or_default(),
            uid: caller.uid,
            pid: row.get(44)?,
            cgroup: owned(&caller.cgroup),
            unit: owned(&caller.unit),
            container: owned(&caller.container),
            pod_uid: owned(&caller.pod_uid),
            pod: owned(&caller.pod),
            namespace: owned(&caller.namespace),
            service_account: owned(&caller.service_account),
            team: text(47)?,
            cost_center: text(48)?,
            end_user: text(49)?,
            user_agent: text(50)?,
            rule: text(51)?,
            charges: Vec::new(),
        })
    }
}

/// That an exchange's agent lives, as far as is known. Agents tell the ledger so each minute; what a dead one leaves open
/// is settled by the next that starts.
pub(super) const ALIVE: &str = "instance IN (SELECT id FROM instance WHERE seen >= ?)";

/// The parameter of [`ALIVE`].
pub(super) fn alive() -> i64 {
    Timestamp::now().as_microsecond() - 180_000_000
}

fn open(connection: &Connection) -> rusqlite::Result<HashSet<(i64, [u8; 16])>> {
    let mut statement = connection.prepare_cached("SELECT started, id FROM open")?;
    let keys = statement.query_map(params![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    keys.collect()
}

/// The beginning of the year 9999, about the last that calendars reckon with.
const LAST: i64 = 253_370_764_800_000_000;

fn time(microseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(microseconds.clamp(0, LAST).cast_unsigned())
}

fn sorted(mut lines: Vec<Line<'static>>) -> Vec<Line<'static>> {
    let ended = |line: &Line<'_>| line.started + Duration::from_secs_f64(line.duration_ms.max(0.0) / 1e3);
    lines.sort_by(|a, b| ended(a).cmp(&ended(b)).then_with(|| a.id.cmp(&b.id)));
    lines
}
