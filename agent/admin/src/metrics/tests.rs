#![expect(clippy::float_cmp, reason = "what is read back was written from exact values")]

use std::time::Duration;

use http::StatusCode;
use rust_decimal::Decimal;
use tollgate_ledger::{Id, Outcome, Refusal, UpstreamFailure};
use tollgate_llm::{ErrorKind, Operation, PriceStatus, Usage, UsageSource};
use tollgate_workload::Caller;

use super::*;

/// A good streamed chat of one program.
fn chat() -> Record {
    Record {
        id: Id::new(),
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_millis(1_500),
        time_to_first_byte: Some(Duration::from_millis(250)),
        time_to_first_token: None,
        region: None,
        provider: "openai".into(),
        host: "api.openai.com".into(),
        operation: Operation::Chat,
        request_model: Some("gpt-5".into()),
        response_model: Some("gpt-5-2025-08-07".into()),
        usage: Some(Usage { input: 1_200, output: 340, cache_read: 1_000, reasoning: 64, ..Usage::default() }),
        usage_source: UsageSource::Provider,
        cost: Some(Decimal::new(3_775, 6)),
        price_from: None,
        price_status: Some(PriceStatus::Exact),
        request_id: None,
        credential: None,
        status: Some(StatusCode::OK),
        outcome: Outcome::Completed,
        error: None,
        stream: Some(true),
        request_bytes: 5_120,
        response_bytes: 20_480,
        caller: Arc::new(caller("python3.13", "alice")),
        attribution: tollgate_ledger::Attribution::default(),
        rule: None,
        charges: Vec::new(),
    }
}

fn caller(program: &str, user: &str) -> Caller {
    Caller {
        program: program.into(),
        executable: None,
        user: user.into(),
        uid: 1,
        pid: 1,
        cgroup: None,
        unit: None,
        container: None,
        pod: None,
        system_unit: None,
    }
}

fn metrics(records: &[Record]) -> Metrics {
    let metrics = Metrics::new("own", "1.2.3");
    for record in records {
        metrics.record(record);
    }
    metrics
}

/// The value of the one line that begins with the name and holds every label given.
#[track_caller]
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let found: Vec<&str> = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    let [line] = found[..] else { panic!("{name} {labels:?}: {found:#?}\n{text}") };
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const CHAT: [&str; 6] = [
    "gen_ai_provider_name=\"openai\"",
    "gen_ai_operation_name=\"chat\"",
    "gen_ai_request_model=\"gpt-5\"",
    "gen_ai_response_model=\"gpt-5-2025-08-07\"",
    "program=\"python3.13\"",
    "user=\"alice\"",
];

fn with(label: &str) -> Vec<&str> {
    CHAT.into_iter().chain([label]).collect()
}

#[test]
fn a_call_is_counted_under_the_names_and_buckets_of_open_telemetry() {
    let text = metrics(&[chat(), chat()]).encode();
    let tokens = "gen_ai_client_token_usage";
    assert_eq!(value(&text, &format!("{tokens}_sum"), &with("gen_ai_token_type=\"input\"")), 2_400.0);
    assert_eq!(value(&text, &format!("{tokens}_count"), &with("gen_ai_token_type=\"output\"")), 2.0);
    let bucket = |bound| value(&text, &format!("{tokens}_bucket"), &["gen_ai_token_type=\"input\"", bound]);
    assert_eq!(bucket("le=\"1024.0\""), 0.0);
    assert_eq!(bucket("le=\"4096.0\""), 2.0);
    assert_eq!(bucket("le=\"67108864.0\""), 2.0);
    let seconds = "gen_ai_client_operation_duration_seconds";
    assert_eq!(value(&text, &format!("{seconds}_sum"), &with("error_type=\"\"")), 3.0);
    assert_eq!(value(&text, &format!("{seconds}_bucket"), &["le=\"1.28\""]), 0.0);
    assert_eq!(value(&text, &format!("{seconds}_bucket"), &["le=\"2.56\""]), 2.0);
    let first = "gen_ai_server_time_to_first_token_seconds";
    assert_eq!(value(&text, &format!("{first}_sum"), &CHAT), 0.5);
    assert_eq!(value(&text, &format!("{first}_bucket"), &["le=\"0.1\""]), 0.0);
}

#[test]
fn a_call_is_counted_under_the_agents_own_names() {
    let text = metrics(&[chat(), chat()]).encode();
    assert_eq!(value(&text, "own_requests_total", &with("outcome=\"completed\",error_type=\"\",status=\"200\"")), 2.0);
    assert_eq!(value(&text, "own_cost_usd_total", &CHAT), 0.007_55);
    assert_eq!(value(&text, "own_cache_read_tokens_total", &CHAT), 2_000.0);
    assert_eq!(value(&text, "own_cache_write_tokens_total", &CHAT), 0.0);
    assert_eq!(value(&text, "own_reasoning_tokens_total", &CHAT), 128.0);
    assert_eq!(value(&text, "own_request_body_bytes_total", &CHAT), 10_240.0);
    assert_eq!(value(&text, "own_response_body_bytes_total", &CHAT), 40_960.0);
    assert!(!text.contains("own_cost_unknown_requests_total{"), "{text}");
}

#[test]
fn failures_are_counted_by_outcome_status_and_error_type() {
    let text = metrics(&[
        Record { status: Some(StatusCode::TOO_MANY_REQUESTS), usage: None, cost: None, ..chat() },
        Record { error: Some(ErrorKind::Overloaded), ..chat() },
        Record { outcome: Outcome::UpstreamFailed(UpstreamFailure::Certificate), status: None, ..chat() },
        Record { outcome: Outcome::Refused(Refusal::Policy), status: Some(StatusCode::FORBIDDEN), ..chat() },
        Record { outcome: Outcome::ClientGone, ..chat() },
    ])
    .encode();
    for labels in [
        "outcome=\"completed\",error_type=\"rate_limited\",status=\"429\"",
        "outcome=\"completed\",error_type=\"overloaded\",status=\"200\"",
        "outcome=\"upstream_failed\",error_type=\"certificate\",status=\"\"",
        "outcome=\"refused\",error_type=\"policy\",status=\"403\"",
        "outcome=\"client_gone\",error_type=\"client_gone\",status=\"200\"",
    ] {
        assert_eq!(value(&text, "own_requests_total", &with(labels)), 1.0);
    }
    let duration = "gen_ai_client_operation_duration_seconds_count";
    assert_eq!(value(&text, duration, &with("error_type=\"rate_limited\"")), 1.0);
}

#[test]
fn invented_models_do_not_take_the_places_of_real_ones() {
    let invented = |n: u32| Record {
        request_model: Some(format!("invented-{n}").into()),
        response_model: None,
        status: Some(StatusCode::NOT_FOUND),
        usage: None,
        cost: None,
        ..chat()
    };
    let records: Vec<Record> = (0..1_000).map(invented).chain([chat()]).collect();
    let text = metrics(&records).encode();
    assert_eq!(value(&text, "own_requests_total", &with("status=\"200\"")), 1.0, "the real model has its name");
    assert!(!text.contains("invented-"), "{text}");
}

#[test]
fn an_unknown_cost_is_counted_and_never_nothing() {
    let text = metrics(&[
        Record { cost: None, ..chat() },
        Record { usage: None, usage_source: UsageSource::None, cost: None, ..chat() },
        Record { usage_source: UsageSource::Partial, ..chat() },
        Record { usage_source: UsageSource::Estimated, ..chat() },
    ])
    .encode();
    for reason in ["unpriced", "uncounted", "partial", "estimated"] {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(value(&text, "own_cost_unknown_requests_total", &with(&label)), 1.0);
    }
    assert_eq!(value(&text, "own_cost_usd_total", &CHAT), 0.007_55);
}

#[test]
fn the_time_to_the_first_token_is_that_of_streams_only() {
    let whole = Record { stream: Some(false), ..chat() };
    let failed = Record { status: Some(StatusCode::BAD_GATEWAY), ..chat() };
    let text = metrics(&[whole, failed]).encode();
    assert!(!text.contains("gen_ai_server_time_to_first_token_seconds_count"), "{text}");
}

#[test]
fn the_time_per_token_is_told_of_whole_streams_that_the_provider_counted() {
    let told = chat();
    let cut = Record { outcome: Outcome::ClientGone, ..chat() };
    let guessed = Record { usage_source: UsageSource::Estimated, ..chat() };
    let single = Record { usage: Some(Usage { output: 1, ..Usage::default() }), ..chat() };
    let text = metrics(&[told, cut, guessed, single]).encode();
    assert_eq!(value(&text, "gen_ai_server_time_per_output_token_seconds_count", &CHAT), 1.0);
    // 1.25 s for the 339 tokens after the first.
    let each = value(&text, "gen_ai_server_time_per_output_token_seconds_sum", &CHAT);
    assert!((each - 1.25 / 339.0).abs() < 1e-9, "{each}");
}

#[test]
fn the_first_token_is_told_where_it_is_known_and_else_the_first_byte() {
    let text = metrics(&[Record { time_to_first_token: Some(Duration::from_millis(750)), ..chat() }, chat()]).encode();
    assert_eq!(value(&text, "gen_ai_server_time_to_first_token_seconds_sum", &CHAT), 1.0);
}

#[test]
fn what_is_billed_by_the_piece_is_counted_by_its_unit() {
    let usage = Usage { web_searches: 2, audio_ms: 1_500, ..Usage::default() };
    let text = metrics(&[Record { usage: Some(usage), ..chat() }]).encode();
    assert_eq!(value(&text, "own_usage_units_total", &with("unit=\"web_searches\"")), 2.0);
    assert_eq!(value(&text, "own_usage_units_total", &with("unit=\"audio_milliseconds\"")), 1_500.0);
    assert!(!text.contains("unit=\"images\""));
}

#[test]
fn steps_of_our_own_are_told_in_seconds() {
    let metrics = Metrics::new("own", "1.2.3");
    metrics.took(Step::Handshake, Duration::from_millis(3));
    metrics.took(Step::Request, Duration::from_micros(20));
    let text = metrics.encode();
    assert_eq!(value(&text, "own_tls_handshake_duration_seconds_sum", &[]), 0.003);
    assert_eq!(value(&text, "own_request_processing_seconds_count", &[]), 1.0);
    assert_eq!(value(&text, "own_request_processing_seconds_bucket", &["le=\"0.000025\""]), 1.0);
    assert_eq!(value(&text, "own_upstream_connect_duration_seconds_count", &[]), 0.0);
}

#[test]
fn looks_for_a_price_are_counted_by_what_they_came_to() {
    let unknown = Record { price_status: Some(PriceStatus::UnknownModel), cost: None, ..chat() };
    let text = metrics(&[chat(), unknown, Record { price_status: None, ..chat() }]).encode();
    assert_eq!(value(&text, "own_price_lookups_total", &["status=\"exact\""]), 1.0);
    assert_eq!(value(&text, "own_price_lookups_total", &["status=\"unknown_model\""]), 1.0);
    assert_eq!(value(&text, "own_price_lookups_total", &["status=\"no_rate\""]), 0.0);
}

#[test]
fn money_is_added_exactly_before_it_is_written_as_floating_point() {
    let tenth = Record { cost: Some(Decimal::new(1, 1)), ..chat() };
    let text = metrics(&[tenth.clone(), tenth.clone(), tenth]).encode();
    // In binary floating point, 0.1 + 0.1 + 0.1 is 0.30000000000000004.
    assert!(text.lines().any(|line| line.starts_with("own_cost_usd_total") && line.ends_with(" 0.3")), "{text}");
}

#[test]
fn a_hundred_thousand_callers_keep_series_and_labels_bounded() {
    let metrics = Metrics::new("own", "1.2.3");
    let base = chat();
    for number in 0..100_000u32 {
        let program = format!("program-{number}-{}", "x".repeat(300));
        metrics.record(&Record {
            request_model: Some(format!("model-{}", number % 977).into()),
            response_model: Some(format!("model-{number}").into()),
            provider: format!("provider-{}", number % 331).into(),
            caller: Arc::new(caller(&program, &format!("user-{}", number % 3_000))),
            ..base.clone()
        });
    }
    let text = metrics.encode();
    let requests: Vec<&str> = text.lines().filter(|line| line.starts_with("own_requests_total{")).collect();
    assert!(requests.len() <= 1_201, "{}", requests.len());
    let counted: f64 = requests.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(counted, 100_000.0, "none is lost");
    assert!(value(&text, "own_folded_requests_total", &[]) > 0.0);
    assert!(text.lines().all(|line| line.len() < 1_000));
    for label in ["program", "user", "gen_ai_request_model", "gen_ai_provider_name"] {
        let start = format!("{label}=\"");
        let values: std::collections::HashSet<&str> =
            requests.iter().filter_map(|line| line.split(&start).nth(1)?.split('"').next()).collect();
        assert!(values.len() <= 101 && values.contains("other"), "{label}: {}", values.len());
    }
    let before = text.len();
    for number in 0..10_000u32 {
        let caller = caller(&format!("late-{number}"), "late");
        metrics.record(&Record { caller: Arc::new(caller), ..base.clone() });
    }
    assert!(metrics.encode().len() < before + before / 10, "the page does not grow with new callers");
}

#[test]
fn endings_of_one_caller_are_bounded() {
    let records: Vec<Record> =
        (200..1_000).map(|status| Record { status: StatusCode::from_u16(status).ok(), ..chat() }).collect();
    let text = metrics(&records).encode();
    let lines = text.lines().filter(|line| line.starts_with("own_requests_total{")).count();
    assert!(lines < 100, "{lines}");
}

#[test]
fn hostile_names_cannot_break_the_format() {
    let hostile = "a\"} 1\nforged_total{x=\"\\\u{1b}";
    let text = metrics(&[Record {
        request_model: Some(hostile.into()),
        caller: Arc::new(caller(hostile, hostile)),
        ..chat()
    }])
    .encode();
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert_eq!(text.lines().filter(|line| line.starts_with("own_cost_usd_total{")).count(), 1);
}

#[test]
fn connections_are_counted_by_fate_and_reason() {
    let metrics = Metrics::new("own", "1.2.3");
    metrics.connection("intercepted", "");
    metrics.connection("tunnelled", "not_tls");
    metrics.connection("tunnelled", "not_tls");
    metrics.connection("client_refused", "unknown_ca");
    metrics.tunnel(100, 2_000);
    metrics.upstream("resent");
    metrics.stray();
    metrics.leaked();
    let text = metrics.encode();
    assert_eq!(value(&text, "own_connections_total", &["fate=\"intercepted\",reason=\"\""]), 1.0);
    assert_eq!(value(&text, "own_connections_total", &["fate=\"tunnelled\",reason=\"not_tls\""]), 2.0);
    assert_eq!(value(&text, "own_connections_total", &["fate=\"client_refused\",reason=\"unknown_ca\""]), 1.0);
    assert_eq!(value(&text, "own_tunnel_bytes_total", &["direction=\"received\""]), 2_000.0);
    assert_eq!(value(&text, "own_upstream_events_total", &["event=\"resent\""]), 1.0);
    assert_eq!(value(&text, "own_stray_connections_total", &[]), 1.0);
    assert_eq!(value(&text, "own_leaked_exchanges_total", &[]), 1.0);
}

#[test]
fn kernel_counters_are_read_at_each_scrape() {
    let metrics = Metrics::new("own", "1.2.3");
    assert!(!metrics.encode().contains("own_kernel_events"));
    let count = Arc::new(std::sync::atomic::AtomicU64::new(7));
    let watched = Arc::clone(&count);
    metrics.watch_kernel(move || vec![("redirected", watched.load(std::sync::atomic::Ordering::Relaxed))]);
    assert_eq!(value(&metrics.encode(), "own_kernel_events_total", &["reason=\"redirected\""]), 7.0);
    count.store(8, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(value(&metrics.encode(), "own_kernel_events_total", &["reason=\"redirected\""]), 8.0);
}

#[test]
fn version_and_start_are_told_and_the_page_is_complete() {
    let text = Metrics::new("own", "1.2.3").encode();
    assert_eq!(value(&text, "own_build_info", &["version=\"1.2.3\""]), 1.0);
    let started = value(&text, "process_start_time_seconds", &[]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 3_600.0..=now).contains(&started), "{started}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn records_are_counted_while_a_scrape_is_written() {
    let metrics = metrics(&[chat()]);
    std::thread::scope(|scope| {
        let recording: Vec<_> = (0..4)
            .map(|thread| {
                let metrics = &metrics;
                scope.spawn(move || {
                    for number in 0..2_000 {
                        let caller = caller(&format!("program-{thread}-{number}"), "alice");
                        metrics.record(&Record { caller: Arc::new(caller), ..chat() });
                    }
                })
            })
            .collect();
        while recording.iter().any(|thread| !thread.is_finished()) {
            assert!(metrics.encode().ends_with("# EOF\n"));
        }
    });
    let text = metrics.encode();
    let counted: f64 = text
        .lines()
        .filter(|line| line.starts_with("own_requests_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, 8_001.0);
}
