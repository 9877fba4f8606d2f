//! Adds up rows. It is done here and not by SQL: days depend on a time zone, and one pass with a hash table takes half
//! the time of SQLite's sorting.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use rusqlite::{Connection, Row as SqlRow, params_from_iter};
use rust_decimal::Decimal;

use super::calls::{ALIVE, alive};
use super::dimension::Dimension;
use super::error::QueryError;
use super::filter::{Filter, Models};
use super::period::Clock;
use super::reader::{Reader, workload};
use super::report::{Question, Report, Row};
use crate::store::schema::BUCKET;
use crate::totals::Totals;

/// What both tables tell of a row, in the order that [`Sum::add`] reads.
const EXCHANGE: &str = "1, is_error, is_refused, input, output, cache_read, cache_write, reasoning, cost_nano, cost_atto, \
    input IS NOT NULL AND cost_nano IS NULL, input IS NULL AND is_billable, \
    input IS NOT NULL AND source = (SELECT id FROM text WHERE value = 'partial'), \
    input IS NOT NULL AND source = (SELECT id FROM text WHERE value = 'estimated'), is_lost";
const ROLLUP: &str = "calls, errors, refused, input, output, cache_read, cache_write, reasoning, cost_nano, cost_atto, \
    unpriced, uncounted, partial, estimated, lost";

/// Where the columns of groups begin.
const KEY: usize = 15;

/// Sums, wide enough for whatever a file can hold.
#[derive(Clone, Copy, Default)]
struct Sum {
    counts: [i128; 8],
    nano: i128,
    atto: i128,
    caveats: [i128; 5],
}

impl Sum {
    fn add(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<()> {
        let mut column = 0;
        let mut next = || {
            let value = row.get::<_, Option<i64>>(column).map(|value| i128::from(value.unwrap_or(0)));
            column += 1;
            value
        };
        for count in &mut self.counts {
            *count += next()?;
        }
        self.nano += next()?;
        self.atto += next()?;
        for caveat in &mut self.caveats {
            *caveat += next()?;
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        let whole = |sum: i128| u64::try_from(sum.max(0)).unwrap_or(u64::MAX);
        let [calls, errors, refused, input, output, cached, cache_write, reasoning] = self.counts.map(whole);
        let [unpriced, uncounted, partial, estimated, lost] = self.caveats.map(whole);
        let cost = dollars(self.nano, self.atto);
        Totals {
            calls,
            errors,
            refused,
            input,
            output,
            cached,
            cache_write,
            reasoning,
            cost,
            unpriced,
            uncounted,
            partial,
            estimated,
            lost,
        }
    }
}

/// The ledger's two numbers as one.
pub(super) fn dollars(nano: i128, atto: i128) -> Decimal {
    let part = |number, scale| Decimal::try_from_i128_with_scale(number, scale).unwrap_or(Decimal::MAX);
    part(nano, 9).saturating_add(part(atto, 18)).normalize()
}

impl Reader {
    /// Totals of what has ended, in groups.
    pub fn report(&self, question: &Question) -> Result<Report, QueryError> {
        let mut groups = Groups::new(&question.by, &question.zone);
        let mut read = || -> rusqlite::Result<(Vec<Row>, u64)> {
            let moment = self.moment()?;
            groups.read(&moment, "exchange", EXCHANGE, &question.filter)?;
            groups.read(&moment, "rollup", ROLLUP, &question.filter)?;
            Ok((groups.rows(self)?, in_flight(&moment, &question.filter)?))
        };
        let (rows, in_flight) = read().map_err(|error| self.error(error))?;
        Ok(Report::new(question.by.clone(), rows, in_flight))
    }
}

fn in_flight(connection: &Connection, filter: &Filter) -> rusqlite::Result<u64> {
    let condition = filter.condition(Models::Asked);
    let sql = format!("SELECT count(*) FROM open WHERE {} AND {ALIVE}", condition.sql);
    let values = condition.values.into_iter().chain([alive().into()]);
    let number: i64 = connection.query_row(&sql, params_from_iter(values), |row| row.get(0))?;
    Ok(number.max(0).cast_unsigned())
}

/// What a part of a group's key is read from.
#[derive(Clone, Copy)]
enum Part {
    /// A reference, or the time, in this column.
    Column(usize),
    /// The column of the first that is no reference to nothing.
    Either(usize, usize),
    Day(usize),
    Hour(usize),
}

/// Sums by key. A key's parts are the ledger's numbers for texts, or ours for days and hours.
struct Groups<'a> {
    by: &'a [Dimension],
    columns: Vec<&'static str>,
    parts: Vec<Part>,
    sums: HashMap<Vec<i64>, Sum>,
    clock: Clock,
    moments: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, i64>,
    /// The quarter of an hour that was named last, and its day's and hour's numbers.
    last: Option<(i64, i64, i64)>,
}

impl<'a> Groups<'a> {
    fn new(by: &'a [Dimension], zone: &TimeZone) -> Self {
        let mut columns: Vec<&'static str> = Vec::new();
        let mut column = |name: &'static str| {
            let at = columns.iter().position(|have| *have == name).unwrap_or_else(|| {
                columns.push(name);
                columns.len() - 1
            });
            KEY + at
        };
        let parts = by
            .iter()
            .map(|dimension| match dimension {
                Dimension::Workload
                | Dimension::Program
                | Dimension::User
                | Dimension::Unit
                | Dimension::Container
                | Dimension::Pod
                | Dimension::Namespace
                | Dimension::ServiceAccount => Part::Column(column("caller")),
                Dimension::Team => Part::Column(column("team")),
                Dimension::CostCenter => Part::Column(column("cost_center")),
                Dimension::EndUser => Part::Column(column("end_user")),
                Dimension::UserAgent => Part::Column(column("user_agent")),
                Dimension::Credential => Part::Column(column("credential")),
                Dimension::Provider => Part::Column(column("provider")),
                Dimension::Model => Part::Either(column("request_model"), column("response_model")),
                Dimension::Operation => Part::Column(column("operation")),
                Dimension::Region => Part::Column(column("region")),
                Dimension::Host => Part::Column(column("host")),
                Dimension::Day => Part::Day(column("started")),
                Dimension::Hour => Part::Hour(column("started")),
            })
            .collect();
        Self {
            by,
            columns,
            parts,
            sums: HashMap::new(),
            clock: Clock::new(zone.clone()),
            moments: Vec::new(),
            numbers: HashMap::new(),
            last: None,
        }
    }

    fn read(&mut self, connection: &Connection, table: &str, sums: &str, filter: &Filter) -> rusqlite::Result<()> {
        let condition = filter.condition(Models::Both);
        let columns: String = self.columns.iter().flat_map(|column| [", ", column]).collect();
        let sql = format!("SELECT {sums}{columns} FROM {table} WHERE {}", condition.sql);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(condition.values))?;
        let mut key = Vec::with_capacity(self.parts.len());
        while let Some(row) = rows.next()? {
            key.clear();
            for index in 0..self.parts.len() {
                let number = match self.parts[index] {
                    Part::Column(column) => row.get(column)?,
                    Part::Either(first, second) => match row.get(first)? {
                        0 => row.get(second)?,
                        number => number,
                    },
                    Part::Day(column) => self.moment(row.get(column)?).0,
                    Part::Hour(column) => self.moment(row.get(column)?).1,
                };
                key.push(number);
            }
            match self.sums.get_mut(&key) {
                Some(sum) => sum.add(row)?,
                None => self.sums.entry(key.clone()).or_default().add(row)?,
            }
        }
        Ok(())
    }

    /// The numbers of the day and of the hour of a time. Rows come in the order of time, so the last is mostly the next.
    fn moment(&mut self, microseconds: i64) -> (i64, i64) {
        let quarter = microseconds.div_euclid(BUCKET);
        if let Some((last, day, hour)) = self.last
            && last == quarter
        {
            return (day, hour);
        }
        let day = Arc::from(self.clock.day(microseconds / 1_000));
        let day = self.number(day);
        let hour = Arc::from(self.clock.hour(microseconds / 1_000));
        let hour = self.number(hour);
        self.last = Some((quarter, day, hour));
        (day, hour)
    }

    fn number(&mut self, name: Arc<str>) -> i64 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = i64::try_from(self.moments.len()).unwrap_or(i64::MAX);
        self.moments.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// The groups by name. Callers that differ in what is not asked for become one.
    fn rows(&self, reader: &Reader) -> rusqlite::Result<Vec<Row>> {
        let mut rows: BTreeMap<Vec<Option<Arc<str>>>, Totals> = BTreeMap::new();
        for (key, sum) in &self.sums {
            let named = self.by.iter().zip(key).map(|(dimension, number)| self.name(reader, *dimension, *number));
            rows.entry(named.collect::<Result<_, _>>()?).or_default().merge(&sum.totals());
        }
        Ok(rows.into_iter().map(|(key, totals)| Row { key, totals }).collect())
    }

    fn name(&self, reader: &Reader, dimension: Dimension, number: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if dimension.is_time() {
            return Ok(usize::try_from(number).ok().and_then(|number| self.moments.get(number)).cloned());
        }
        let caller = || reader.caller(number);
        Ok(match dimension {
            Dimension::Workload => {
                let caller = caller()?;
                let named = |program: &Arc<str>| workload(program, caller.unit.as_deref(), caller.container.as_deref());
                caller.program.as_ref().map(|program| named(program).into())
            }
            Dimension::Program => caller()?.program.clone(),
            Dimension::User => caller()?.user.clone(),
            Dimension::Unit => caller()?.unit.clone(),
            Dimension::Container => caller()?.container.clone(),
            Dimension::Pod => caller()?.pod.clone(),
            Dimension::Namespace => caller()?.namespace.clone(),
            Dimension::ServiceAccount => caller()?.service_account.clone(),
            _ => reader.text(number)?,
        })
    }
}
