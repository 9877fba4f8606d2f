use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use rust_decimal::Decimal;
use tollgate_llm::{Usage, UsageSource};

use super::frame::encode;
use super::journal::Journal;
use super::row::{Row, micros_of};
use super::*;
use crate::record::tests::{charged, chat, opened};
use crate::record::{Id, Opened, Record};

mod spent;
mod trouble;

/// A folder in memory for the journals, and one for the ledger.
struct Place {
    memory: tempfile::TempDir,
    disk: tempfile::TempDir,
}

/// What a test mounted there would keep its folder from being removed.
impl Drop for Place {
    fn drop(&mut self) {
        for folder in [&self.memory, &self.disk] {
            while nix::mount::umount2(folder.path(), nix::mount::MntFlags::MNT_DETACH).is_ok() {}
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { memory: tempfile::tempdir_in("/dev/shm").unwrap(), disk: tempfile::tempdir().unwrap() }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.disk.path().join("ledger")
    }

    fn settings(&self) -> Settings {
        Settings { directory: self.directory(), journals: vec![self.memory.path().into()], retention: None }
    }

    fn start(&self) -> Ledger {
        Ledger::start(self.settings()).unwrap()
    }

    fn read(&self) -> Connection {
        open_read_only(&self.directory().join(FILE)).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        self.read().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn journals(&self) -> usize {
        std::fs::read_dir(self.memory.path()).unwrap().count()
    }
}

/// Waits for what is about to be; the limit is for tests that fail.
fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(2), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The frame of an exchange's beginning.
pub(super) fn opening(opened: &Opened) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&Row::opened(opened, None), &mut frame);
    frame
}

/// The frame of its end.
pub(super) fn ending(record: &Record) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&Row::settled(record, None), &mut frame);
    frame
}

fn ids(connection: &Connection) -> Vec<Id> {
    let mut statement = connection.prepare("SELECT id FROM exchange ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0).map(Id::from_bytes)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_settled_is_in_the_file_when_it_closes_and_no_journal_is_left() {
    let place = Place::new();
    let ledger = place.start();
    let mut records: Vec<Record> = (0..500).map(|_| chat()).collect();
    for record in &records {
        ledger.opened(&opened(record.id));
    }
    for record in &records {
        ledger.settled(record);
    }
    ledger.close();
    records.sort_by_key(|record| record.id);
    assert_eq!(ids(&place.read()), records.iter().map(|record| record.id).collect::<Vec<_>>());
    assert_eq!(place.number("SELECT sum(input) * 1000000 + sum(output) FROM exchange"), 500 * (1_200_000_000 + 340));
    // 0.003775 dollars each.
    assert_eq!(place.number("SELECT sum(cost_nano) FROM exchange"), 500 * 3_775_000);
    assert_eq!(place.number("SELECT count(*) FROM open") + place.number("SELECT count(*) FROM instance"), 0);
    assert_eq!(place.journals(), 0);
    let cost: String = place.read().query_row("SELECT cost_usd FROM exchanges", [], |row| row.get(0)).unwrap();
    assert_eq!(cost, "0.003775000000000000");
    assert_eq!(ledger.figures().written, 500);
}

#[test]
fn every_column_holds_what_the_record_says() {
    let place = Place::new();
    let ledger = place.start();
    let record = Record {
        cost: None,
        usage: None,
        request_id: Some("req_9".into()),
        region: Some("eu".into()),
        ..charged(Decimal::ONE)
    };
    ledger.settled(&record);
    ledger.close();
    let text = |column: &str| -> Option<String> {
        let sql =
            format!("SELECT (SELECT value FROM text WHERE id = {column}) FROM exchange JOIN caller c ON c.id = caller");
        place.read().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    for (column, value) in [
        ("provider", Some("openai")),
        ("region", Some("eu")),
        ("host", Some("api.openai.com")),
        ("operation", Some("chat")),
        ("request_model", Some("gpt-5")),
        ("response_model", Some("gpt-5-2025-08-07")),
        ("source", Some("provider")),
        ("tier", None),
        ("price_from", None),
        ("price_status", Some("exact")),
        ("outcome", Some("completed")),
        ("reason", None),
        ("error_type", None),
        ("credential", None),
        ("c.program", Some("python3.13")),
        ("c.executable", Some("/usr/bin/python3.13")),
        ("c.user", Some("alice")),
        ("c.cgroup", Some("/user.slice/app.scope")),
        ("c.pod_uid", Some("0b5e")),
        ("c.pod", Some("train-0")),
        ("c.namespace", Some("ml")),
        ("c.service_account", Some("trainer")),
        ("team", Some("research")),
        ("cost_center", Some("CC-1")),
        ("end_user", Some("u-7")),
        ("user_agent", Some("openai-python/2.8.0")),
        ("rule", Some("small")),
    ] {
        assert_eq!(text(column).as_deref(), value, "{column}");
    }
    for (column, value) in [
        ("started", 1_763_850_000_250_000),
        ("duration", 1_234_567),
        ("first_byte", 250_000),
        ("first_token IS NULL AND input IS NULL AND search_units IS NULL AND cost_nano IS NULL", 1),
        ("status", 200),
        ("is_error + is_refused + is_lost", 0),
        ("is_billable", 1),
        ("stream", 1),
        ("request_bytes", 5_120),
        ("response_bytes", 20_480),
        ("request_id = 'req_9'", 1),
        ("pid", 4242),
    ] {
        assert_eq!(place.number(&format!("SELECT {column} FROM exchange")), value, "{column}");
    }
}

#[test]
fn what_is_long_open_can_be_seen_before_it_ends() {
    let place = Place::new();
    let ledger = place.start();
    let record = chat();
    ledger.opened(&opened(record.id));
    wait("the open row", || {
        place.directory().join(FILE).exists() && {
            open_read_only(&place.directory().join(FILE))
                .is_ok_and(|file| file.query_row("SELECT count(*) = 1 FROM open", [], |row| row.get(0)).unwrap())
        }
    });
    ledger.settled(&record);
    wait("the end of it", || place.number("SELECT count(*) FROM exchange") == 1);
    assert_eq!(place.number("SELECT count(*) FROM open"), 0);
}

#[test]
fn a_killed_agents_exchanges_are_told_once_by_whoever_comes_next() {
    let place = Place::new();
    std::fs::create_dir(place.directory()).unwrap();
    let (ended, open, committed) = (chat(), opened(Id::new()), chat());
    let journal = Journal::new(&[place.memory.path().into()], &place.directory());
    for frame in
        [opening(&opened(ended.id)), opening(&open), opening(&opened(committed.id)), ending(&ended), ending(&committed)]
    {
        assert!(journal.append(&frame, || true));
    }
    // One of them was in the ledger by then.
    let first = place.start();
    first.settled(&committed);
    first.close();
    assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);

    // Its process is gone, and the next ones come, twice over.
    drop(journal);
    let copies: Vec<_> = std::fs::read_dir(place.memory.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    assert_eq!(copies.len(), 1);
    for _ in 0..2 {
        let next = place.start();
        wait("the rows", || next.figures().recovered == 3);
        assert!(place.journals() == 1 && !copies[0].1.exists());
        next.close();
        assert_eq!(place.number("SELECT count(*) FROM exchange"), 3);
        assert_eq!(place.number("SELECT sum(input) FROM exchange"), 2 * 1_200);
        assert_eq!(place.number("SELECT count(*) FROM exchange WHERE is_lost"), 1);
        assert_eq!(
            place.number(
                "SELECT count(*) FROM exchange WHERE is_lost AND source = (SELECT id FROM text WHERE value = 'partial')
                AND outcome = (SELECT id FROM text WHERE value = 'stopped') AND duration > 0"
            ),
            1
        );
        std::fs::write(&copies[0].1, &copies[0].0).unwrap();
    }
}

#[test]
fn the_true_end_of_an_exchange_replaces_its_loss() {
    let place = Place::new();
    let record = chat();
    let ledger = place.start();
    {
        let dead = Journal::new(&[place.memory.path().into()], &place.directory());
        assert!(dead.append(&opening(&opened(record.id)), || true));
    }
    wait("the loss", || {
        place.directory().join(FILE).exists()
            && open_read_only(&place.directory().join(FILE))
                .is_ok_and(|file| file.query_row("SELECT count(*) = 1 FROM exchange", [], |row| row.get(0)).unwrap())
    });
    ledger.settled(&record);
    ledger.close();
    assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);
    assert_eq!(place.number("SELECT input FROM exchange WHERE NOT is_lost"), 1_200);
}

#[test]
fn open_rows_of_an_agent_that_lost_its_journal_too_are_settled() {
    let place = Place::new();
    let ledger = place.start();
    ledger.settled(&chat());
    ledger.close();
    let file = Connection::open(place.directory().join(FILE)).unwrap();
    file.execute_batch(
        "INSERT INTO instance VALUES (77, zeroblob(16), 1, 'before the power loss', 1000000, 5000000);
         INSERT INTO open SELECT x'00112233445566778899aabbccddeeff', 77, 2000000, provider, region, host, operation,
            request_model, credential, caller, pid, team, cost_center, end_user, user_agent FROM exchange",
    )
    .unwrap();
    drop(file);
    let next = place.start();
    wait("the open row", || place.number("SELECT count(*) FROM open") == 0);
    next.close();
    assert_eq!(place.number("SELECT duration FROM exchange WHERE is_lost"), 3_000_000);
}

#[test]
fn several_agents_write_one_ledger_at_once() {
    let place = Place::new();
    let count = std::thread::scope(|scope| {
        let agents: Vec<_> = (0..4)
            .map(|_| {
                let settings = place.settings();
                scope.spawn(move || {
                    let ledger = Ledger::start(settings).unwrap();
                    for _ in 0..300 {
                        let record = chat();
                        ledger.opened(&opened(record.id));
                        ledger.settled(&record);
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    ledger.close();
                    let figures = ledger.figures();
                    assert_eq!(figures.lost, 0);
                    figures.written
                })
            })
            .collect();
        agents.into_iter().map(|agent| agent.join().unwrap()).sum::<u64>()
    });
    assert!(count <= 1200, "{count}");
    // Whoever left may have been in another's way; then its journal has the rest.
    wait("all rows", || {
        place.start().close();
        place.number("SELECT count(*) FROM exchange") >= 1200
    });
    assert_eq!(place.number("SELECT count(*) FROM exchange"), 1200);
}

#[test]
fn old_exchanges_are_counted_together_and_no_sum_changes() {
    let place = Place::new();
    let ledger = place.start();
    let now = SystemTime::now();
    let day = Duration::from_hours(24);
    for number in 0..6_000_u64 {
        let mut record = Record { id: Id::new(), started: now - day * 3 + Duration::from_secs(number * 10), ..chat() };
        record.response_model = Some(format!("model-{}", number % 3).into());
        match number % 5 {
            0 => record.cost = None,
            1 => record.usage = None,
            2 => record.usage_source = UsageSource::Partial,
            3 => record.usage = Some(Usage { input: number, output: 7, web_searches: 1, ..Usage::default() }),
            _ => record.cost = Some(Decimal::new(1, 18)),
        }
        ledger.settled(&record);
    }
    // Young enough to stay.
    ledger.settled(&Record { started: now, ..chat() });
    ledger.close();
    let sums = |both: bool| -> Vec<i64> {
        let mut columns: Vec<String> = schema::COUNTS.iter().map(|count| format!("total({count})")).collect();
        columns.extend(
            ["cost_nano", "cost_atto", "duration", "request_bytes", "response_bytes"].map(|c| format!("total({c})")),
        );
        let columns = columns.join(", ");
        let rolled = "calls, errors, unpriced, uncounted, partial"
            .replace("calls", "total(calls)")
            .replace("errors", "total(errors)")
            .replace("unpriced", "total(unpriced)")
            .replace("uncounted", "total(uncounted)")
            .replace("partial", "total(partial)");
        let single = "count(*), total(is_error), total(input IS NOT NULL AND cost_nano IS NULL), total(input IS NULL AND is_billable),
            total(input IS NOT NULL AND source = (SELECT id FROM text WHERE value = 'partial'))";
        let read = place.read();
        let add = |sql: String| -> Vec<f64> {
            read.query_row(&sql, [], |row| (0..schema::COUNTS.len() + 10).map(|at| row.get(at)).collect()).unwrap()
        };
        let mut sums = add(format!("SELECT {columns}, {single} FROM exchange"));
        if both {
            for (sum, more) in sums.iter_mut().zip(add(format!("SELECT {columns}, {rolled} FROM rollup"))) {
                *sum += more;
            }
        }
        sums.into_iter().map(|sum| sum as i64).collect()
    };
    let before = sums(false);
    let ledger = Ledger::start(Settings { retention: Some(day), ..place.settings() }).unwrap();
    wait("the roll-up", || {
        place.number("SELECT count(*) FROM exchange WHERE started < unixepoch() * 1000000 - 2 * 86400000000") == 0
    });
    ledger.close();
    assert_eq!(sums(true), before);
    let (singles, rolled) =
        (place.number("SELECT count(*) FROM exchange"), place.number("SELECT count(*) FROM rollup"));
    assert!(singles < 6_001 && singles > 0 && rolled > 0 && rolled < 1_500, "{singles} {rolled}");
    assert_eq!(place.number("SELECT count(*) FROM rollup WHERE started % 900000000 <> 0"), 0);
}

#[test]
fn a_sum_that_outgrows_its_column_stops_there() {
    let place = Place::new();
    let started = SystemTime::now() - Duration::from_hours(72);
    for calls in 1..=3 {
        let ledger = Ledger::start(Settings { retention: Some(Duration::from_hours(24)), ..place.settings() }).unwrap();
        ledger.settled(&Record { id: Id::new(), started, ..chat() });
        ledger.close();
        // The next start rolls it up.
        let next = Ledger::start(Settings { retention: Some(Duration::from_hours(24)), ..place.settings() }).unwrap();
        wait("the roll-up", || place.number("SELECT coalesce(sum(calls), 0) FROM rollup") == calls);
        next.close();
        let file = Connection::open(place.directory().join(FILE)).unwrap();
        file.execute("UPDATE rollup SET cost_nano = max(cost_nano, 8999999999999999999), input = ?", [i64::MAX])
            .unwrap();
    }
    assert_eq!(place.number("SELECT cost_nano FROM rollup"), 9_000_000_000_000_000_000);
}

#[test]
fn texts_that_nobody_refers_to_go_and_agents_do_not_use_their_numbers() {
    let place = Place::new();
    let old = SystemTime::now() - Duration::from_hours(72);
    let other = place.start();
    let strange = Record { started: old, request_id: None, ..chat() };
    let caller =
        std::sync::Arc::new(tollgate_workload::Caller { cgroup: Some("/once".into()), ..(*strange.caller).clone() });
    other.settled(&Record { caller: std::sync::Arc::clone(&caller), ..strange.clone() });
    wait("the row", || other.figures().written == 1);
    let count = "SELECT count(*) FROM text WHERE value = '/once'";
    assert_eq!(place.number(count), 1);

    let ledger = Ledger::start(Settings { retention: Some(Duration::from_hours(24)), ..place.settings() }).unwrap();
    wait("the text to go", || place.number(count) == 0);
    ledger.close();
    // The first agent remembers a number for it, and must not use that.
    other.settled(&Record { id: Id::new(), caller, started: SystemTime::now(), ..strange });
    other.close();
    let dangling = "SELECT count(*) FROM exchange WHERE caller NOT IN (SELECT id FROM caller)";
    assert_eq!((place.number(dangling), place.number(count)), (0, 1));
}

fn file_names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
