//! What budgets were charged: exactly once, whatever happens to agents and journals.

use std::collections::BTreeMap;

use crate::store;
use proptest::prelude::*;
use tollgate_policy::{Charge, Count};

use super::*;
use crate::record::tests::opening as opening_of;

const PATIENCE: Duration = Duration::from_mins(2);
/// An hour's window of long ago.
const WINDOW: i64 = 1_761_955_200;

type Sums = BTreeMap<(String, String, i64), Decimal>;

fn sums(charges: Vec<Charge>) -> Sums {
    let key = |charge: &Charge| (charge.budget.to_string(), charge.group.to_string(), charge.window);
    charges.into_iter().map(|charge| (key(&charge), charge.amount)).collect()
}

/// What is spent by now, as an agent that starts is told.
fn spent(place: &Place) -> Sums {
    let ledger = place.start();
    let spent = sums(ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap());
    ledger.close();
    spent
}

fn key(budget: &str, group: &str, window: i64) -> (String, String, i64) {
    (budget.into(), group.into(), window)
}

fn charge(budget: &str, group: &str, window: i64, amount: Decimal) -> Charge {
    Charge { budget: budget.into(), group: group.into(), window, counts: None, amount }
}

fn dollars(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn what_is_set_aside_gives_way_to_what_was_used() {
    let place = Place::new();
    let ledger = place.start();
    assert_eq!(ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap(), []);
    let record = Record { id: Id::new(), ..charged(dollars("0.25")) };
    let used =
        Record { charges: vec![charge("month", "alice", WINDOW, dollars("0.000000000000000001"))], ..record.clone() };
    ledger.opened(&opening_of(&record));
    wait("what is set aside", || !ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap().is_empty());
    let aside = sums(ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap());
    assert_eq!(
        aside,
        [(key("month", "alice", WINDOW), dollars("0.25")), (key("tokens", "", WINDOW), Decimal::from(1_540))].into()
    );
    ledger.settled(&used);
    ledger.close();
    assert_eq!(spent(&place), [(key("month", "alice", WINDOW), dollars("0.000000000000000001"))].into());
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(WINDOW.cast_unsigned() + 1);
    assert_eq!(place.start().spent(later, PATIENCE).unwrap(), [], "of a window that began before");
}

#[test]
fn a_killed_agents_charges_stand_once_however_often_its_journal_is_read() {
    let place = Place::new();
    std::fs::create_dir(place.directory()).unwrap();
    let (ended, open) =
        (Record { id: Id::new(), ..charged(dollars("1.5")) }, Record { id: Id::new(), ..charged(dollars("7")) });
    let actual = Record { charges: vec![charge("month", "alice", WINDOW, dollars("0.5"))], ..ended.clone() };
    let journal = Journal::new(&[place.memory.path().into()], &place.directory());
    for frame in [opening(&opening_of(&ended)), opening(&opening_of(&open)), ending(&actual)] {
        assert!(journal.append(&frame, || true));
    }
    drop(journal);
    let file = std::fs::read_dir(place.memory.path()).unwrap().next().unwrap().unwrap().path();
    let copy = std::fs::read(&file).unwrap();
    let expected: Sums =
        [(key("month", "alice", WINDOW), dollars("7.5")), (key("tokens", "", WINDOW), Decimal::from(1_540))].into();
    for _ in 0..4 {
        // The first thing that a new agent asks; the journal is read by then.
        let ledger = place.start();
        assert_eq!(sums(ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap()), expected);
        assert_eq!(ledger.figures().recovered, 2);
        ledger.close();
        std::fs::write(&file, &copy).unwrap();
    }
}

#[test]
fn what_a_lost_journal_had_set_aside_stays_charged() {
    let place = Place::new();
    let ledger = place.start();
    let record = Record { id: Id::new(), ..charged(dollars("3")) };
    ledger.opened(&opening_of(&record));
    wait("the open row", || !ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap().is_empty());
    // As by a power loss.
    ledger.close();
    for file in std::fs::read_dir(place.memory.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let file = Connection::open(place.directory().join(FILE)).unwrap();
    assert_eq!(file.execute("UPDATE instance SET boot = 'before the power loss'", []).unwrap(), 1);
    drop(file);
    assert_eq!(spent(&place)[&key("month", "alice", WINDOW)], dollars("3"));
    assert_eq!(place.number("SELECT count(*) FROM exchange WHERE is_lost AND team <> 0 AND user_agent <> 0"), 1);
    assert_eq!(place.number("SELECT count(*) FROM open"), 0);
}

#[test]
fn agents_that_write_at_once_add_to_the_same_sums() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let settings = place.settings();
            scope.spawn(move || {
                let ledger = Ledger::start(settings).unwrap();
                for _ in 0..200 {
                    let record = Record { id: Id::new(), ..charged(dollars("0.01")) };
                    ledger.opened(&opening_of(&record));
                    ledger.settled(&record);
                    std::thread::sleep(Duration::from_micros(200));
                }
                ledger.close();
            });
        }
    });
    wait("all of them", || {
        place.start().close();
        place.number("SELECT count(*) FROM exchange") == 600
    });
    assert_eq!(spent(&place)[&key("month", "alice", WINDOW)], Decimal::from(6));
}

#[test]
fn what_was_spent_outlives_the_calls_and_goes_when_its_window_is_long_over() {
    let place = Place::new();
    let now = SystemTime::now();
    let seconds = |at: SystemTime| micros_of(at) / 1_000_000;
    let day = Duration::from_hours(24);
    let (month, over) = (seconds(now - day * 25), seconds(now - day * 100));
    let ledger = place.start();
    for began in [month, over] {
        let charges = vec![charge("month", "", began, dollars("0.5"))];
        ledger.settled(&Record { id: Id::new(), started: now - day * 5, charges, ..chat() });
    }
    ledger.close();
    let ledger = Ledger::start(Settings { retention: Some(day), ..place.settings() }).unwrap();
    wait("the roll-up", || place.number("SELECT count(*) FROM exchange") == 0);
    wait("the old window to go", || place.number("SELECT count(*) FROM spent") == 1);
    ledger.close();
    assert_eq!(place.number("SELECT count(*) FROM charge"), 0);
    assert_eq!(spent(&place), [(key("month", "", month), dollars("0.5"))].into());
}

#[test]
fn dollars_and_tokens_of_one_name_are_never_added_up() {
    let place = Place::new();
    let ledger = place.start();
    let counts = [None, Some(Count::Total), Some(Count::Input), Some(Count::Output)];
    let charge = |counts| Charge { counts, ..charge("month", "", WINDOW, Decimal::ONE) };
    let record = Record { charges: counts.map(charge).into(), ..chat() };
    ledger.opened(&opening_of(&record));
    ledger.settled(&record);
    ledger.close();
    let told = store::spent(&place.directory().join(FILE), SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(told, counts.map(charge));
}

#[test]
fn what_the_file_has_is_told_though_a_dead_agents_journal_cannot_be_brought_in() {
    let place = Place::new();
    let ledger = place.start();
    ledger.settled(&charged(dollars("2")));
    ledger.close();
    let file = Connection::open(place.directory().join(FILE)).unwrap();
    file.execute_batch("CREATE TRIGGER t BEFORE INSERT ON instance BEGIN SELECT RAISE(FAIL, 'no'); END").unwrap();
    let ledger = place.start();
    let told = sums(ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap());
    assert!(ledger.figures().failures > 0);
    assert_eq!(told[&key("month", "alice", WINDOW)], dollars("2"));
}

#[test]
fn without_a_ledger_to_read_the_answer_is_an_error_at_once() {
    let place = Place::new();
    std::fs::write(place.directory(), "in the way").unwrap();
    let ledger = place.start();
    let error = ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap_err();
    assert!(matches!(error, StoreError::Unrecovered(_)) && error.to_string().contains("what was spent"), "{error}");
    std::fs::remove_file(place.directory()).unwrap();
    wait("the answer", || ledger.spent(SystemTime::UNIX_EPOCH, PATIENCE).is_ok());
}

#[test]
fn a_journal_of_the_version_before_is_still_read() {
    let place = Place::new();
    std::fs::create_dir(place.directory()).unwrap();
    let (ended, open) = (chat(), opened(Id::new()));
    let journal = Journal::new(&[place.memory.path().into()], &place.directory());
    drop(journal);
    let path = std::fs::read_dir(place.memory.path()).unwrap().next().unwrap().unwrap().path();
    let mut text = std::fs::read_to_string(&path).unwrap().replace("\"version\":3", "\"version\":2").into_bytes();
    for frame in [opening(&open), opening(&opened(ended.id)), ending(&ended)] {
        text.extend(older(&frame));
    }
    std::fs::write(&path, &text).unwrap();
    let next = place.start();
    assert_eq!(next.spent(SystemTime::UNIX_EPOCH, PATIENCE).unwrap(), []);
    assert_eq!(next.figures().recovered, 2);
    next.close();
    assert_eq!(place.number("SELECT count(*) FROM exchange WHERE is_lost"), 1);
    assert_eq!(place.number("SELECT input FROM exchange WHERE NOT is_lost"), 1_200);
}

/// A frame without charges as the version before wrote it: a shorter length, and no number of charges behind the labels.
fn older(frame: &[u8]) -> Vec<u8> {
    let rest = &frame[10..];
    let labels = 16 + 8 + 4 + 2 + usize::from(u16::from_le_bytes([rest[28], rest[29]]));
    assert_eq!(rest[labels..labels + 2], [0, 0], "it has no charges");
    let rest = [&rest[..labels], &rest[labels + 2..]].concat();
    let mut older = vec![0xfe, 0x7a];
    older.extend_from_slice(&(rest.len() as u16).to_le_bytes());
    older.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
    older.extend(rest);
    older
}

/// A file as version 1 left it, with one call.
fn first_version(place: &Place) {
    std::fs::create_dir(place.directory()).unwrap();
    let file = Connection::open(place.directory().join(FILE)).unwrap();
    file.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
    file.execute_batch(include_str!("../schema/1.sql")).unwrap();
    file.execute_batch(
        "INSERT INTO text VALUES (1, 'openai'), (2, 'python3'), (3, 'alice'), (4, 'provider'), (5, 'completed');
         INSERT INTO caller VALUES (1, 2, 0, 3, 1000, 0, 0, 0);
         INSERT INTO exchange (started, id, duration, provider, region, host, operation, request_model, response_model, source,
             tier, input, output, cost_nano, cost_atto, price_from, price_status, outcome, reason, error_type, is_error,
             is_refused, is_billable, is_lost, request_bytes, response_bytes, credential, caller, pid)
         VALUES (1763850000000000, x'0199b0aa000070008000000000000000', 5, 1, 0, 0, 0, 0, 0, 4, 0, 7, 8, 9, 0, 0, 0, 5, 0, 0,
             0, 0, 1, 0, 1, 1, 0, 1, 9);
         INSERT INTO rollup SELECT 1763840000000000 / 900000000 * 900000000, provider, region, host, operation, request_model,
             response_model, tier, price_from, credential, caller, 1, 0, 0, input, output, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
             0, 0, 0, 0, cost_nano, cost_atto, 0, 0, 0, 0, 0, duration, 1, 1 FROM exchange;",
    )
    .unwrap();
    file.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
}

#[test]
fn a_file_of_the_first_version_is_read_as_it_is_and_written_after_it_was_brought_up_to_date() {
    use crate::query::{Cursor, Dimension, Filter, Question, Reader};
    let place = Place::new();
    first_version(&place);
    let told = || {
        let reader = Reader::open(&place.directory().join(FILE)).unwrap();
        let by = vec![Dimension::User, Dimension::Team, Dimension::Pod];
        let zone = jiff::tz::TimeZone::UTC;
        let report = reader.report(&Question { by, filter: Filter::default(), zone }).unwrap();
        let lines = reader.last(&mut Cursor::new(Filter::default()), None).unwrap();
        let mut costs = Vec::new();
        reader
            .each(&Filter::default(), |charge| {
                costs.push((charge.calls, charge.line.cost_usd.as_deref().map(str::to_owned)));
            })
            .unwrap();
        assert_eq!(reader.in_flight().unwrap(), []);
        (report, lines, costs)
    };
    assert_eq!(store::spent(&place.directory().join(FILE), SystemTime::UNIX_EPOCH).unwrap(), []);
    let before = told();
    assert_eq!((before.0.total.calls, before.1.len(), before.2.len()), (2, 1, 2));
    assert_eq!(before.0.rows[0].key, [Some("alice".into()), None, None]);
    place.start().close();
    assert_eq!(place.number("PRAGMA user_version"), schema::VERSION);
    assert_eq!(told(), before, "nothing is changed by that");
    let ledger = place.start();
    ledger.settled(&charged(dollars("2")));
    ledger.close();
    assert_eq!(spent(&place)[&key("month", "alice", WINDOW)], dollars("2"));
    assert_eq!(place.number("SELECT count(*) FROM exchanges WHERE namespace = 'ml' AND team = 'research'"), 1);
    assert_eq!(
        place.number("SELECT count(*) FROM budgets WHERE spent = '2.000000000000000000' AND share = 'alice'"),
        1
    );
}

/// What a call is charged, at its beginning and its end.
#[derive(Debug, Clone)]
struct Call {
    reserved: Vec<Charge>,
    actual: Option<Vec<Charge>>,
}

fn charges() -> impl Strategy<Value = Vec<Charge>> {
    let one = (0..3_u8, 0..3_u8, 0..2_i64, 0_i64..=1_000_000_000_000, 0_u32..=18).prop_map(
        |(budget, group, window, amount, scale)| Charge {
            budget: format!("b{budget}").into(),
            group: if group == 0 { "".into() } else { format!("g{group}").into() },
            window: WINDOW + window * 3_600,
            counts: None,
            amount: Decimal::new(amount, scale),
        },
    );
    prop::collection::vec(one, 0..4)
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn frames_in_any_order_and_any_number_of_times_give_the_same_sums(
        calls in prop::collection::vec((charges(), prop::option::of(charges())), 1..8),
        order in prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..24), 1..5),
    ) {
        let calls: Vec<(Record, Call)> = calls
            .into_iter()
            .map(|(reserved, actual)| (Record { id: Id::new(), ..chat() }, Call { reserved, actual }))
            .collect();
        let begins = |(record, call): &(Record, Call)| {
            opening(&opening_of(&Record { charges: call.reserved.clone(), ..record.clone() }))
        };
        let ends = |(record, call): &(Record, Call)| {
            call.actual.as_ref().map(|actual| ending(&Record { charges: actual.clone(), ..record.clone() }))
        };
        let place = Place::new();
        std::fs::create_dir(place.directory()).unwrap();
        // A journal for each agent that died; the last one tells everything once more.
        for (number, tells) in order.iter().chain([&Vec::new()]).enumerate() {
            let journal = Journal::new(&[place.memory.path().into()], &place.directory());
            let append = |frame: &[u8]| assert!(journal.append(frame, || true));
            for (which, is_end) in tells {
                let call = which.get(&calls);
                append(&Some(begins(call)).filter(|_| !is_end).or_else(|| ends(call)).unwrap_or_else(|| begins(call)));
            }
            if number == order.len() {
                for frame in calls.iter().map(begins).chain(calls.iter().filter_map(ends)) {
                    append(&frame);
                }
            }
            drop(journal);
            spent(&place);
        }
        let mut expected = Sums::new();
        for (_, call) in &calls {
            for charge in call.actual.as_ref().unwrap_or(&call.reserved) {
                *expected.entry(key(&charge.budget, &charge.group, charge.window)).or_default() += charge.amount;
            }
        }
        expected.retain(|_, amount| !amount.is_zero());
        prop_assert_eq!(spent(&place), expected);
    }
}
