//! What a ledger of a million exchanges costs: on the request path, in writing, on disk, in reports, in rolling up.
//! Run it with `cargo bench -p tollgate-ledger`; it prints, it does not judge. With `PLAIN=1` calls are put down to nobody and charged
//! to no budget, as without a policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use rust_decimal::Decimal;
use tollgate_ledger::query::{Dimension, Filter, Question, Reader};
use tollgate_ledger::store::{FILE, Ledger, Settings};
use tollgate_ledger::{Attribution, Charge, Id, Opened, Outcome, Record, Totals};
use tollgate_llm::{Operation, Usage, UsageSource};
use tollgate_workload::{Caller, Pod};

const DAY: Duration = Duration::from_hours(24);
/// Exchanges that are under way at once.
const AT_ONCE: usize = 1_000;

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
    let is_plain = std::env::var_os("PLAIN").is_some();
    let callers: Vec<Arc<Caller>> = (0..50).map(|number| caller(number, is_plain)).collect();
    // 120 days of it.
    let from = SystemTime::now() - DAY * 120;
    let apart = DAY * 120 / u32::try_from(count).expect("not so many");
    let begun = Instant::now();
    let (mut opening, mut settling) = (Vec::new(), Vec::new());
    for first in (0..count).step_by(AT_ONCE) {
        let numbers = first..count.min(first + AT_ONCE as u64);
        let records: Vec<Record> =
            numbers.map(|number| record(number, from + apart * number as u32, &callers, is_plain)).collect();
        let begins: Vec<Opened> = records.iter().map(opened).collect();
        let asked = Instant::now();
        for opened in &begins {
            ledger.opened(opened);
        }
        opening.push(asked.elapsed() / AT_ONCE as u32);
        let asked = Instant::now();
        for record in &records {
            ledger.settled(record);
        }
        settling.push(asked.elapsed() / AT_ONCE as u32);
        wait(|| ledger.figures().queued <= 20_000);
    }
    wait(|| ledger.figures().written == count);
    let (writing, took) = (writer_time(), begun.elapsed());
    ledger.close();
    println!("on the request path  {:>8?} to open, {:?} to settle", median(opening), median(settling));
    println!("writer               {:>8} ns of processor time a row", writing.as_nanos() / u128::from(count));
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
    wait(|| left() == 0);
    println!("rolled up            {:>8.1?} for three quarters of them, in the background", begun.elapsed());
    // Its pages are given back little by little, but for some.
    wait(|| {
        let file = tollgate_ledger::store::open_read_only(&file).expect("a ledger");
        file.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0)).expect("a number") <= 1_500
    });
    ledger.close();
    println!("file                 {:>8} MB after that", size(&file) / 1_000_000);
    assert_eq!(reports(&file), before, "no sum changes");
}

/// Waits for what is about to be.
fn wait(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Of many, some of which were interrupted.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Processor time that the writer's thread has taken.
fn writer_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten().map(|task| task.path());
    let is_writer = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "ledger");
    let writer = tasks.into_iter().find(is_writer).expect("it runs");
    let times = fs::read_to_string(writer.join("schedstat")).expect("the kernel keeps them");
    Duration::from_nanos(times.split(' ').next().and_then(|time| time.parse().ok()).expect("a number"))
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

fn caller(number: u32, is_plain: bool) -> Arc<Caller> {
    let pod = Pod {
        uid: format!("6d0e4c5a-0000-4000-8000-{number:012}").into(),
        name: Some(format!("app-{number}").into()),
        namespace: Some(format!("team-{}", number % 5).into()),
        service_account: Some("default".into()),
        ..Pod::default()
    };
    Arc::new(Caller {
        program: format!("program-{}", number % 10).into(),
        executable: Some(format!("/usr/bin/program-{}", number % 10).into()),
        user: format!("user-{}", number % 7).into(),
        uid: 1000 + number % 7,
        pid: 4000 + number,
        cgroup: Some(format!("/system.slice/app-{number}.service").into()),
        unit: Some(format!("app-{number}.service").into()),
        container: None,
        pod: (!is_plain).then(|| Arc::new(pod)),
        system_unit: None,
    })
}

fn record(number: u64, started: SystemTime, callers: &[Arc<Caller>], is_plain: bool) -> Record {
    let attribution = Attribution {
        team: Some(format!("team-{}", number % 5).into()),
        cost_center: Some(format!("CC-{}", number % 5).into()),
        end_user: Some(format!("user-{}", number % 1_000).into()),
        user_agent: Some("openai-python/2.8.0".into()),
    };
    // A day's budget of all, and each user's month.
    let charge = |budget: &str, group: &str, window: u64| Charge {
        budget: budget.into(),
        group: group.into(),
        window: window.cast_signed(),
        counts: None,
        amount: Decimal::new(1_234_567 + (number % 1_000_000).cast_signed(), 9),
    };
    let seconds = started.duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_secs();
    let user = format!("user-{}", number % 7);
    let charges =
        [charge("all-day", "", seconds - seconds % 86_400), charge("month", &user, seconds - seconds % 2_592_000)];
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
        attribution: if is_plain { Attribution::default() } else { attribution },
        rule: None,
        charges: if is_plain { Vec::new() } else { charges.into() },
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
        attribution: record.attribution.clone(),
        charges: record.charges.clone(),
    }
}
