use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rust_decimal::Decimal;
use tollgate_llm::{ErrorKind, Operation, PriceStatus, ServiceTier, Usage, UsageSource};
use tollgate_workload::{Caller, Pod};

use super::*;
use crate::record::tests::{charged, chat, opening};
use crate::store::{FILE, Ledger, Settings};
use crate::{Attribution, Charge, Id, Line, Outcome, Record, Refusal, Totals, UpstreamFailure};

/// A ledger in a folder of its own, written by the real writer.
struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn with(records: &[Record]) -> Self {
        let shelf = Self::new();
        let ledger = shelf.writer(None);
        for record in records {
            ledger.settled(record);
        }
        ledger.close();
        shelf
    }

    fn writer(&self, retention: Option<Duration>) -> Ledger {
        let directory = self.folder.path().join("ledger");
        let journal = self.folder.path().join("journal");
        Ledger::start(Settings { directory, journals: vec![journal], retention }).expect("a writer")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ledger").join(FILE)
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.file()).expect("a ledger")
    }
}

fn question(by: &[Dimension]) -> Question {
    Question { by: by.to_vec(), filter: Filter::default(), zone: TimeZone::UTC }
}

/// Key and number of calls of each row.
fn calls(report: &Report) -> Vec<(Vec<&str>, u64)> {
    report
        .rows
        .iter()
        .map(|row| (row.key.iter().map(|part| part.as_deref().unwrap_or("-")).collect(), row.totals.calls))
        .collect()
}

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("a time").into()
}

fn by_caller(program: &str, user: &str, unit: Option<&str>, container: Option<&str>) -> Arc<Caller> {
    let base = (*chat().caller).clone();
    Arc::new(Caller {
        program: program.into(),
        user: user.into(),
        unit: unit.map(Into::into),
        container: container.map(Into::into),
        pod: None,
        system_unit: None,
        ..base
    })
}

/// Calls of three callers to three models over two days.
fn few() -> Vec<Record> {
    let claude = |started| Record {
        id: Id::new(),
        started: at(started),
        provider: "anthropic".into(),
        host: "api.anthropic.com".into(),
        request_model: None,
        response_model: Some("claude-opus-4-5".into()),
        cost: Some(Decimal::new(1, 12)),
        caller: by_caller("node", "bob", Some("app.service"), None),
        ..chat()
    };
    let gpt = |started| Record { id: Id::new(), started: at(started), credential: Some("c1".into()), ..chat() };
    vec![
        claude("2026-11-01T10:00:00Z"),
        claude("2026-11-01T22:59:59.999999Z"),
        gpt("2026-11-01T23:00:00Z"),
        Record {
            cost: None,
            region: Some("eu".into()),
            caller: by_caller("node", "carol", None, Some("0123456789abcdef")),
            ..gpt("2026-11-02T00:00:00Z")
        },
        Record {
            operation: Operation::Embeddings,
            usage: None,
            cost: None,
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            ..gpt("2026-11-02T01:00:00Z")
        },
    ]
}

#[test]
fn calls_are_grouped_by_whatever_is_asked() {
    let shelf = Shelf::with(&few());
    let reader = shelf.reader();
    let ask = |by: &[Dimension]| reader.report(&question(by)).expect("a report");
    assert_eq!(calls(&ask(&[Dimension::Provider])), [(vec!["openai"], 3), (vec!["anthropic"], 2)], "the dearest first");
    assert_eq!(
        calls(&ask(&[Dimension::User, Dimension::Model])),
        [(vec!["alice", "gpt-5"], 2), (vec!["bob", "claude-opus-4-5"], 2), (vec!["carol", "gpt-5"], 1)]
    );
    assert_eq!(
        calls(&ask(&[Dimension::Workload])),
        [(vec!["python3.13@app.scope"], 2), (vec!["node@app.service"], 2), (vec!["node@0123456789ab"], 1)]
    );
    assert_eq!(calls(&ask(&[Dimension::Program])), [(vec!["python3.13"], 2), (vec!["node"], 3)]);
    assert_eq!(calls(&ask(&[Dimension::Region])), [(vec!["-"], 4), (vec!["eu"], 1)]);
    assert_eq!(calls(&ask(&[Dimension::Credential])), [(vec!["c1"], 3), (vec!["-"], 2)]);
    assert_eq!(calls(&ask(&[Dimension::Container])), [(vec!["-"], 4), (vec!["0123456789abcdef"], 1)]);
    assert_eq!(calls(&ask(&[Dimension::Operation])), [(vec!["chat"], 4), (vec!["embeddings"], 1)]);
    assert_eq!(calls(&ask(&[Dimension::Host])).len(), 2);
    assert_eq!(calls(&ask(&[Dimension::Unit])).len(), 3);
    assert_eq!(calls(&ask(&[])), [(vec![], 5)]);
}

#[test]
fn whom_calls_are_put_down_to_can_be_grouped_by_and_filtered() {
    let mut records = few();
    records.push(Record { started: at("2026-11-02T02:00:00Z"), ..charged(Decimal::ONE) });
    let reader = Shelf::with(&records);
    let reader = reader.reader();
    for (dimension, value) in [
        (Dimension::Team, "research"),
        (Dimension::CostCenter, "CC-1"),
        (Dimension::EndUser, "u-7"),
        (Dimension::UserAgent, "openai-python/2.8.0"),
        (Dimension::Pod, "train-0"),
        (Dimension::Namespace, "ml"),
        (Dimension::ServiceAccount, "trainer"),
    ] {
        let report = reader.report(&question(&[dimension])).expect("a report");
        assert_eq!(calls(&report), [(vec!["-"], 5), (vec![value], 1)], "{dimension}");
    }
    let count = |filter: Filter| reader.report(&Question { filter, ..question(&[]) }).expect("a report").total.calls;
    let globs = |glob: &str| vec![glob.to_owned()];
    assert_eq!(count(Filter { team: globs("re*"), namespace: globs("m?"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { team: globs("re*"), namespace: globs("x"), ..Filter::default() }), 0);
    assert_eq!(count(Filter { end_user: globs("u-7"), cost_center: globs("CC-*"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { user_agent: globs("openai-python/*"), pod: globs("train-?"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { service_account: globs("other"), ..Filter::default() }), 0);
}

#[test]
fn days_and_hours_begin_where_the_reader_is() {
    let shelf = Shelf::with(&few());
    let reader = shelf.reader();
    let ask = |by, zone| {
        let report = reader.report(&Question { by: vec![by], filter: Filter::default(), zone }).expect("a report");
        calls(&report).into_iter().map(|(key, calls)| (key[0].to_owned(), calls)).collect::<Vec<_>>()
    };
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    let expect = |rows: &[(&str, u64)]| rows.iter().map(|(day, calls)| ((*day).to_owned(), *calls)).collect::<Vec<_>>();
    assert_eq!(ask(Dimension::Day, TimeZone::UTC), expect(&[("2026-11-01", 3), ("2026-11-02", 2)]));
    assert_eq!(ask(Dimension::Day, berlin.clone()), expect(&[("2026-11-01", 2), ("2026-11-02", 3)]));
    let hours = ask(Dimension::Hour, berlin);
    assert_eq!(hours[0].0, "2026-11-01T11:00+01:00");
    assert_eq!(hours.len(), 5);
}

#[test]
fn sums_are_exact_and_what_is_not_known_is_counted() {
    let shelf = Shelf::with(&few());
    let total = shelf.reader().report(&question(&[])).expect("a report").total;
    assert_eq!(total.cost, "0.003775000002".parse().unwrap());
    assert_eq!((total.calls, total.errors, total.unpriced, total.uncounted), (5, 1, 1, 0));
    assert_eq!(total.cost_text(), "≥ $0.003775");
}

#[test]
fn filters_take_patterns_and_half_open_periods() {
    let shelf = Shelf::with(&few());
    let reader = shelf.reader();
    let count = |filter: Filter| reader.report(&Question { filter, ..question(&[]) }).expect("a report").total.calls;
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
    assert_eq!(count(Filter { model: globs(&["claude-*"]), ..Filter::default() }), 2, "the model that answered");
    assert_eq!(count(Filter { model: globs(&["claude-*", "gpt-?"]), ..Filter::default() }), 5);
    assert_eq!(count(Filter { provider: globs(&["open*"]), user: globs(&["carol"]), ..Filter::default() }), 1);
    assert_eq!(count(Filter { program: globs(&["[a-n]*"]), ..Filter::default() }), 3);
    assert_eq!(count(Filter { user: globs(&["' OR 1=1 --"]), ..Filter::default() }), 0);
    let period = |since: &str, until: &str| {
        let period = Period { since: Some(timestamp(at(since))), until: Some(timestamp(at(until))) };
        count(Filter { period, ..Filter::default() })
    };
    assert_eq!(period("2026-11-01T23:00:00Z", "2026-11-02T01:00:00Z"), 2);
    assert_eq!(period("2026-11-01T10:00:00.000001Z", "2026-11-01T22:59:59.999999Z"), 0);
}

#[test]
fn what_is_rolled_up_is_in_reports_once() {
    let mut old = few();
    old.push(Record { started: at("2026-11-02T02:00:00Z"), ..charged(Decimal::ONE) });
    let shelf = Shelf::with(&old);
    let by: Vec<Dimension> = Dimension::ALL.into_iter().filter(|by| *by != Dimension::Day).collect();
    let report = |reader: &Reader| reader.report(&question(&by)).expect("a report");
    let before = report(&shelf.reader());
    let mut charges = 0;
    let ledger = shelf.writer(Some(Duration::from_hours(24)));
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let reader = shelf.reader();
        assert_eq!(report(&reader), before, "at every moment");
        let left = reader.last(&mut Cursor::new(Filter::default()), None).expect("lines").len();
        if left == 0 {
            reader.each(&Filter::default(), |charge| charges += charge.calls * u64::from(charge.is_sum)).expect("sums");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{left} are not rolled up");
        std::thread::sleep(Duration::from_millis(20));
    }
    ledger.close();
    assert_eq!(charges, old.len() as u64);
}

#[test]
fn each_exchange_is_told_once_as_it_ends_however_long_it_took() {
    let shelf = Shelf::new();
    let ledger = shelf.writer(None);
    let new = |ago: u64| Record { id: Id::new(), started: SystemTime::now() - Duration::from_secs(ago), ..chat() };
    let (before, long, short) = (new(100), new(7_200), new(1));
    ledger.settled(&before);
    ledger.opened(&opening(&long));
    let wait = |what: &str, mut done: Box<dyn FnMut() -> bool + '_>| {
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        while !done() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait("the file is made", Box::new(|| Reader::open(&shelf.file()).is_ok()));
    let reader = shelf.reader();
    wait(
        "one is in flight, one has ended",
        Box::new(|| {
            let flights = reader.in_flight().unwrap();
            let ended = reader.report(&question(&[])).unwrap();
            assert_eq!(ended.in_flight, flights.len() as u64);
            flights.len() == 1 && ended.total.calls == 1
        }),
    );
    let flight = &reader.in_flight().unwrap()[0];
    assert_eq!((&*flight.program, flight.model.as_deref()), ("python3.13", Some("gpt-5")));

    let mut cursor = Cursor::new(Filter::default());
    let ids = |lines: &[Line<'_>]| lines.iter().map(|line| line.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&reader.last(&mut cursor, Some(0)).unwrap()), [""; 0], "none of the last ones is asked for");
    ledger.settled(&short);
    ledger.settled(&Record { duration: Duration::from_hours(2), ..long.clone() });
    let mut told = Vec::new();
    wait(
        "both are told",
        Box::new(|| {
            told.extend(ids(&reader.next(&mut cursor).unwrap()));
            told.len() >= 2
        }),
    );
    ledger.close();
    told.extend(ids(&reader.next(&mut cursor).unwrap()));
    told.sort();
    let mut expected = [short.id.to_string(), long.id.to_string()];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(reader.in_flight().unwrap(), []);
    let recent =
        reader.ended_since(&mut Cursor::new(Filter::default()), timestamp(SystemTime::now() - Duration::from_mins(1)));
    assert_eq!(recent.unwrap().len(), 1, "neither the one that ended before, nor the one that took hours");
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = Reader::open(&folder.path().join("none.db")).err().expect("nothing is there");
    assert!(error.is_missing() && error.to_string().contains("none.db"), "{error}");
    let other = folder.path().join("other");
    std::fs::write(&other, "not a database, but long enough to be taken for one".repeat(100)).unwrap();
    let error = Reader::open(&other).err().expect("it is none");
    assert!(error.is_damage() && !error.is_missing() && !error.is_denied(), "{error}");
    std::fs::write(&other, "").unwrap();
    assert!(Reader::open(&other).is_err(), "an empty file is no ledger");
}

prop_compose! {
    fn usage()(
        counts in vec(0_u64..1_000_000, 19),
        tier in prop::sample::select(vec![ServiceTier::Standard, ServiceTier::Batch, ServiceTier::Priority]),
    ) -> Usage {
        let mut counts = counts.into_iter();
        let mut next = || counts.next().unwrap_or_default();
        Usage {
            input: next(), output: next(), cache_read: next(), cache_write: next(), cache_write_1h: next(),
            reasoning: next(), input_audio: next(), cache_read_audio: next(), output_audio: next(), output_image: next(),
            input_image: next(), cache_read_image: next(), input_tool: next(), web_searches: next(), server_tools: next(),
            images: next(), audio_ms: next(), characters: next(), search_units: next(), tier,
        }
    }
}

fn name() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(vec!["a", "b", "gpt-5", "ü'\n\u{1}\"", "=cmd()", ""]).prop_map(Arc::from)
}

prop_compose! {
    fn record()(
        (seconds, micros, duration) in (1_790_000_000_u64..1_800_000_000, 0_u32..1_000_000, 0_u64..100_000_000),
        (provider, host, region, request_model, response_model) in
            (name(), name(), option::of(name()), option::of(name()), option::of(name())),
        (program, user, unit, container) in (name(), name(), option::of(name()), option::of(name())),
        usage in option::of(usage()),
        (source, cost, scale) in (0..4_usize, option::of(0_i64..1_000_000_000_000), 6_u32..=18),
        (status, outcome) in (option::of(prop::sample::select(vec![101_u16, 200, 429, 500])), 0..6_usize),
        (operation, error) in (0..5_usize, option::of(Just(ErrorKind::Overloaded))),
        (credential, stream, first) in (option::of(name()), option::of(any::<bool>()), option::of(0_u64..10_000_000)),
        (team, cost_center, end_user, user_agent, rule) in
            (option::of(name()), option::of(name()), option::of(name()), option::of(name()), option::of(name())),
        (pod, pod_name, namespace, service_account) in
            (option::of(name()), option::of(name()), option::of(name()), option::of(name())),
        charge in option::of((1_i64..1_000_000_000_000, 0_u32..=18, any::<bool>())),
    ) -> Record {
        let sources = [UsageSource::Provider, UsageSource::Partial, UsageSource::Estimated, UsageSource::None];
        let operations =
            [Operation::Chat, Operation::Embeddings, Operation::Other, Operation::CountTokens, Operation::GenerateContent];
        let outcomes = [
            Outcome::Completed, Outcome::Completed, Outcome::ClientGone, Outcome::Stopped,
            Outcome::Refused(Refusal::Policy), Outcome::UpstreamFailed(UpstreamFailure::Reset),
        ];
        let started = SystemTime::UNIX_EPOCH + Duration::new(seconds, micros * 1_000);
        let pod = pod.map(|uid| Arc::new(Pod { uid, name: pod_name, namespace, service_account, labels: Vec::new() }));
        let caller = Caller {
            program, user, unit, container, executable: Some("/bin/x".into()), uid: 7, pid: 9, cgroup: None, pod,
            system_unit: None,
        };
        let charges = charge.map(|(amount, scale, shared)| Charge {
            budget: "b".into(), group: if shared { "".into() } else { "g".into() }, window: 7,
            counts: None, amount: Decimal::new(amount, scale),
        });
        Record {
            id: Id::new(), started, duration: Duration::from_micros(duration), provider, host, region, request_model,
            response_model, usage, usage_source: sources[source], cost: cost.map(|cost| Decimal::new(cost, scale)),
            price_from: None, price_status: cost.map(|_| PriceStatus::Alias),
            status: status.map(|status| StatusCode::from_u16(status).expect("a status")), outcome: outcomes[outcome],
            operation: operations[operation], error, credential, stream,
            time_to_first_byte: first.map(Duration::from_micros), time_to_first_token: first.map(Duration::from_micros),
            request_bytes: 1, response_bytes: 2, request_id: Some("r".into()), caller: Arc::new(caller),
            attribution: Attribution { team, cost_center, end_user, user_agent }, rule,
            charges: charges.into_iter().collect(),
        }
    }
}

proptest! {
    // Each case writes a file to the disk.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn by_whatever_it_is_grouped_rows_add_up_to_the_records(
        records in vec(record(), 0..60),
        by in prop::sample::subsequence(Dimension::ALL.to_vec(), 0..=Dimension::ALL.len()).prop_shuffle(),
    ) {
        let shelf = Shelf::with(&records);
        let mut expected = Totals::default();
        for record in &records {
            expected.merge(&Totals::of(record));
        }
        let report = shelf.reader().report(&question(&by)).expect("a report");
        prop_assert_eq!(&report.total, &expected);
        let mut sum = Totals::default();
        for row in &report.rows {
            prop_assert_eq!(row.key.len(), by.len());
            sum.merge(&row.totals);
        }
        prop_assert_eq!(&sum, &expected);
    }

    #[test]
    fn a_line_read_back_is_the_line_that_was_logged(records in vec(record(), 1..20)) {
        let shelf = Shelf::with(&records);
        let lines = shelf.reader().last(&mut Cursor::new(Filter::default()), None).expect("lines");
        let told: BTreeMap<_, _> = lines.into_iter().map(|line| (line.id.to_string(), line)).collect();
        prop_assert_eq!(told.len(), records.len());
        for record in &records {
            prop_assert_eq!(&told[&record.id.to_string()], &Line::from(record));
        }
    }
}
