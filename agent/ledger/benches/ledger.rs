//! What a ledger of a million exchanges costs: on the request path, in writing, on disk, in reports, in rolling up.
//! Run it with `cargo bench -p tollgate-ledger`; it prints, it does not judge.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use rust_decimal::Decimal;
use tollgate_ledger::query::{Dimension, Filter, Question, Reader};
use tollgate_ledger::store::{FILE, Ledger, Settings};
use tollgate_ledger::{Id, Opened, Outcome, Record, Totals};
use tollgate_llm::{Operation, Usage, UsageSource};
use tollgate_workload::Caller;

const DAY: Duration = Duration::from_hours(24);

fn main() {
    let count = std::env::var("EXCHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000_u64);
    let folder = tempfile::tempdir().expect("a folder");
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let settings = |retention| Settings {
        directory: folder.path().join("ledger"),
        journals: vec![memory.path().into()],
        retention,
    };
    let file = folder.path().join("ledger").join(FILE);

    let ledger = Ledger::start(settings(None)).expect("a thread");
    let callers: Vec<Arc<Caller>> = (0..50).map(caller).collect();
    // 120 days of it.
    let from = SystemTime::now() - DAY * 120;
    let apart = DAY * 120 / u32::try_from(count).expect("not so many");
    let (begun, mut path) = (Instant::now(), Duration::ZERO);
    for number in 0..count {
        let record = record(number, from + apart * number as u32, &callers);
        let opened = opened(&record);
        let asked = Instant::now();
        ledger.opened(&opened);
        ledger.settled(&record);
        path += asked.elapsed();
        while ledger.figures().queued > 8_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    ledger.close();
    let took = begun.elapsed();
    println!("on the request path  {:>8} ns for an open and a close", path.as_nanos() / u128::from(count));
    println!("written              {:>8.0} exchanges/s, {took:.1?} in all", count as f64 / took.as_secs_f64());
    println!("file                 {:>8} bytes an exchange, {} MB", size(&file) / count, size(&file) / 1_000_000);
    assert_eq!((ledger.figures().lost, ledger.figures().written), (0, count));

    let before = reports(&file);

    let begun = Instant::now();
    let ledger = Ledger::start(settings(Some(DAY * 30))).expect("a thread");
    let left = || {
        let file = tollgate_ledger::store::open_read_only(&file).expect("a ledger");
        let old = "SELECT count(*) FROM (SELECT 1 FROM exchange WHERE started < (unixepoch() - 30 * 86400 - 901) * 1000000 LIMIT 1)";
        file.query_row(old, [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    while left() > 0 {
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("rolled up            {:>8.1?} for three quarters of them, in the background", begun.elapsed());
    // Its pages are given back little by little.
    std::thread::sleep(Duration::from_secs(20));
    ledger.close();
    println!("file                 {:>8} MB after that", size(&file) / 1_000_000);
    assert_eq!(reports(&file), before, "no sum changes");
}

fn reports(file: &Path) -> Vec<Totals> {
    use Dimension::{Day, Model, Program, Provider, User};
    let reader = Reader::open(file).expect("a ledger");
    let mut totals = Vec::new();
    for by in [vec![], vec![Provider, Model], vec![Day], vec![User, Program, Model]] {
        let begun = Instant::now();
        let question = Question { by: by.clone(), filter: Filter::default(), zone: jiff::tz::TimeZone::UTC };
        let report = reader.report(&question).expect("a report");
        let names: Vec<_> = by.iter().map(|dimension| dimension.as_str()).collect();
        println!("report               {:>8.0?} by {names:?}, {} rows", begun.elapsed(), report.rows.len());
        totals.push(report.total);
    }
    totals
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).expect("it is there").len()
}

fn caller(number: u32) -> Arc<Caller> {
    Arc::new(Caller {
        program: format!("program-{}", number % 10).into(),
        executable: Some(format!("/usr/bin/program-{}", number % 10).into()),
        user: format!("user-{}", number % 7).into(),
        uid: 1000 + number % 7,
        pid: 4000 + number,
        cgroup: Some(format!("/system.slice/app-{number}.service").into()),
        unit: Some(format!("app-{number}.service").into()),
        container: None,
    })
}

fn record(number: u64, started: SystemTime, callers: &[Arc<Caller>]) -> Record {
    let model: Arc<str> = format!("gpt-5-{}", number % 5).into();
    Record {
        id: Id::new(),
        started,
        duration: Duration::from_micros(2_000_000 + number % 9_999_999),
        time_to_first_byte: Some(Duration::from_micros(300_000 + number % 99_999)),
        time_to_first_token: Some(Duration::from_micros(310_000 + number % 99_999)),
        provider: "openai".into(),
        region: None,
        host: "api.openai.com".into(),
        operation: Operation::Chat,
        request_model: Some(Arc::clone(&model)),
        response_model: Some(format!("{model}-2025-08-07").into()),
        usage: Some(Usage {
            input: 1_000 + number % 50_000,
            output: 100 + number % 3_000,
            cache_read: number % 900,
            reasoning: number % 97,
            ..Usage::default()
        }),
        usage_source: UsageSource::Provider,
        cost: Some(Decimal::new(1_234_567 + (number % 1_000_000).cast_signed(), 9)),
        price_from: Some("genai-prices 0.2.1".into()),
        price_status: None,
        status: Some(StatusCode::OK),
        outcome: Outcome::Completed,
        error: None,
        stream: Some(true),
        request_bytes: 4_000 + number % 40_000,
        response_bytes: 20_000 + number % 90_000,
        request_id: Some(format!("req_{:032x}", u128::from(number) << 40).into()),
        credential: Some(format!("{:016x}", number % 20).into()),
        caller: Arc::clone(&callers[number as usize % callers.len()]),
    }
}

fn opened(record: &Record) -> Opened {
    Opened {
        id: record.id,
        started: record.started,
        provider: Arc::clone(&record.provider),
        region: record.region.clone(),
        host: Arc::clone(&record.host),
        operation: record.operation,
        request_model: None,
        credential: record.credential.clone(),
        caller: Arc::clone(&record.caller),
    }
}
