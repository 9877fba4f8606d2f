//! What a call pays for its budgets and limits.

#![allow(missing_docs, reason = "criterion's macros write functions")]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use tollgate_llm::Operation;
use tollgate_policy::{
    Actual, Amount, Ask, Budget, Count, Engine, Field, Limit, Measure, Mode, OnExhausted, Policy, Selector, Spec,
    Subject, Unit, Unpriced, Window,
};
use tollgate_workload::Caller;

const GROUPS: usize = 10_000;

fn budget(name: &str, per: &[Field], amount: Amount, unit: Unit) -> Budget {
    Budget {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: per.to_vec(),
        amount,
        window: Window { unit, zone: TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC) },
        soft: vec![50, 80],
        on_exhausted: OnExhausted::Finish,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn limit(name: &str, measure: Measure) -> Limit {
    Limit {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: vec![Field::EndUser],
        measure,
        amount: 1 << 40,
        period: Duration::from_mins(1),
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn caller() -> Caller {
    Caller {
        program: "python3".into(),
        executable: None,
        user: "alice".into(),
        uid: 1000,
        pid: 4711,
        cgroup: Some("/system.slice/app.service".into()),
        unit: None,
        system_unit: None,
        container: None,
        pod: None,
    }
}

fn subject<'a>(caller: &'a Caller, end_user: &'a str) -> Subject<'a> {
    Subject {
        caller,
        credential: None,
        provider: "openai",
        region: None,
        host: "api.openai.com",
        operation: Operation::Chat,
        model: Some("gpt-5"),
        stream: true,
        max_output_tokens: None,
        end_user: Some(end_user),
        user_agent: None,
    }
}

/// A call from its decision to its settlement.
fn call(engine: &Engine, subject: &Subject<'_>, now: Timestamp) {
    let cost = Some(Decimal::new(123, 3));
    let ask = Ask { input: 1000, output: 4096, cost, input_cost: None, stream: true };
    let (_, decided) = engine.decide(subject, now);
    let reserve = pin!(decided.expect("there are no rules").reserve(subject, &ask));
    let Poll::Ready(Ok(reservation)) = reserve.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("there is room");
    };
    let cost = Some(Decimal::new(12, 3));
    let actual = Actual { input: Some(1000), output: Some(123), cost, is_billable: true };
    drop(black_box(reservation.settle(&actual)));
}

fn spend(criterion: &mut Criterion) {
    let huge = Amount::Money(Decimal::from(1_u64 << 60));
    let budgets = || {
        vec![
            budget("all", &[], huge, Unit::Month),
            budget("user", &[Field::User], huge, Unit::Day),
            budget("end-user", &[Field::EndUser], Amount::Tokens(u64::MAX, Count::Total), Unit::Day),
        ]
    };
    let limits = || vec![limit("rpm", Measure::Requests), limit("tpm", Measure::Tokens(Count::Total))];
    let policies = [
        ("no policy", Spec::default()),
        ("3 budgets", Spec { budgets: budgets(), ..Spec::default() }),
        ("3 budgets, 2 limits", Spec { budgets: budgets(), limits: limits(), ..Spec::default() }),
    ];
    let (caller, now) = (caller(), Timestamp::now());
    let users: Vec<_> = (0..GROUPS).map(|number| format!("user-{number}@example.com")).collect();
    let mut group = criterion.benchmark_group("decide, reserve, settle");
    for (name, spec) in policies {
        let engine = Engine::new(Policy::new(spec));
        let before = resident();
        for user in &users {
            call(&engine, &subject(&caller, user), now);
        }
        if let (Some(before), Some(after)) = (before, resident()) {
            println!("{name}: {GROUPS} groups have grown the process by {} KiB", after.saturating_sub(before));
        }
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // A prime step, so that neighbours do not follow each other.
                next = (next + 7919) % GROUPS;
                call(&engine, &subject(&caller, &users[next]), now);
            });
        });
        if name == "3 budgets" {
            group.bench_function("what the status page costs", |bencher| bencher.iter(|| engine.budgets(100, now)));
        }
    }
    group.finish();
}

/// Memory of this process, in KiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}

criterion_group!(benches, spend);
criterion_main!(benches);
