//! What a decision costs with ten thousand rules, and ten thousand groups: `cargo bench -p tollgate-policy`. It prints the memory
//! that such a policy takes, too.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use criterion::{Criterion, criterion_group};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollgate_llm::Operation;
use tollgate_policy::{
    Action, Actual, Amount, Ask, Budget, Condition, Count, Engine, Field, Limit, Measure, Mode, OnExhausted, Patterns,
    Policy, Rule, Selector, Spec, Subject, Team, Unit, Unpriced, Window,
};
use tollgate_workload::{Caller, Pod};

/// Rules, teams, and groups of each budget and limit.
const MANY: usize = 10_000;

/// Asks for the memory of one policy rather than for times.
const MEASURE: &str = "MEASURE";

/// Makes a policy of so many.
type Make = fn(usize) -> Spec;

const POLICIES: [(&str, Make); 5] =
    [("exact", exact), ("globs", globs), ("two fields", two_fields), ("labels", labels), ("teams", teams)];

fn decide(criterion: &mut Criterion) {
    for (name, spec) in POLICIES {
        println!("{MANY} rules, {name}: {} MB", memory(name));
        let engine = Engine::new(Policy::new(spec(MANY)));
        let callers: Vec<Caller> = (0..MANY).map(caller).collect();
        let now = Timestamp::now();
        let mut next = (0..MANY).cycle().map(|at| (at * 7919) % MANY);
        criterion.bench_function(&format!("{MANY} rules, {name}"), |bencher| {
            bencher.iter(|| {
                let caller = &callers[next.next().expect("a cycle has no end")];
                black_box(engine.decide(&subject(caller), now))
            });
        });
    }
}

fn condition(criterion: &mut Criterion) {
    let text = "caller.uid >= 1000 && request.model.startsWith('gpt-5') && !(team in ['a', 'b'])";
    let condition = Condition::compile(text).expect("a condition");
    let caller = caller(1);
    let named = tollgate_policy::Named::default();
    let now = Timestamp::now();
    criterion.bench_function("one condition", |bencher| {
        bencher.iter(|| black_box(condition.evaluate(&subject(&caller), &named, now)));
    });
    criterion.bench_function("compile a condition", |bencher| bencher.iter(|| black_box(Condition::compile(text))));
}

fn groups(criterion: &mut Criterion) {
    let engine = Engine::new(Policy::new(grouped()));
    let callers: Vec<Caller> = (0..MANY).map(caller).collect();
    let now = Timestamp::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let call = |caller: &Caller| {
        let subject = subject(caller);
        let (_, decided) = engine.decide(&subject, now);
        let ask = Ask { input: 100, output: 100, ..Ask::default() };
        let reserved = runtime.block_on(decided.expect("no rule refuses").reserve(&subject, &ask));
        let actual = Actual { input: Some(100), output: Some(50), cost: None, is_billable: true };
        black_box(reserved.expect("there is room").settle(&actual))
    };
    for caller in &callers {
        drop(call(caller));
    }
    let mut next = (0..MANY).cycle().map(|at| (at * 7919) % MANY);
    criterion.bench_function(&format!("decide, reserve and settle in one of {MANY} groups"), |bencher| {
        bencher.iter(|| call(&callers[next.next().expect("a cycle has no end")]));
    });
}

/// Each rule about a namespace of its own.
fn exact(many: usize) -> Spec {
    rules((0..many).map(|at| selector(&[(Field::Namespace, &format!("team-{at}-dev"))])))
}

/// Each rule about a beginning of its own.
fn globs(many: usize) -> Spec {
    rules((0..many).map(|at| selector(&[(Field::Namespace, &format!("team-{at}-*"))])))
}

/// A hundred namespaces and a hundred models.
fn two_fields(many: usize) -> Spec {
    rules((0..many).map(|at| {
        let (namespace, model) = (format!("team-{}-*", at / 100), format!("model-{}*", at % 100));
        selector(&[(Field::Host, "api.openai.com"), (Field::Namespace, &namespace), (Field::Model, &model)])
    }))
}

fn labels(many: usize) -> Spec {
    rules(
        (0..many).map(|at| Selector {
            labels: vec![("app".to_owned(), patterns(&format!("app-{at}")))],
            ..Selector::default()
        }),
    )
}

/// As many teams, and a rule for each.
fn teams(many: usize) -> Spec {
    let of = |at| Team {
        name: format!("team-{at}").into(),
        cost_center: None,
        matches: selector(&[(Field::Namespace, &format!("team-{at}-*"))]),
        when: None,
    };
    let spec = rules((0..many).map(|at| selector(&[(Field::Team, &format!("team-{at}")), (Field::Model, "gpt-*")])));
    Spec { teams: (0..many).map(of).collect(), ..spec }
}

fn rules(selectors: impl Iterator<Item = Selector>) -> Spec {
    let rule = |(at, matches): (usize, Selector)| Rule {
        name: format!("rule-{at}").into(),
        matches,
        when: None,
        action: Action::Allow,
        mode: Mode::Enforce,
        models: None,
        hours: None,
        max_output_tokens: Some(4096),
        require: Vec::new(),
        message: None,
        contact: None,
    };
    Spec { rules: selectors.enumerate().map(rule).collect(), ..Spec::default() }
}

fn grouped() -> Spec {
    let budget = Budget {
        name: "day".into(),
        matches: Selector::default(),
        when: None,
        per: vec![Field::Namespace],
        amount: Amount::Tokens(u64::MAX / 4, Count::Total),
        window: Window { unit: Unit::Day, zone: TimeZone::UTC },
        soft: vec![50, 80],
        on_exhausted: OnExhausted::Finish,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    };
    let limit = Limit {
        name: "minute".into(),
        matches: Selector::default(),
        when: None,
        per: vec![Field::Namespace],
        measure: Measure::Requests,
        amount: u64::from(u32::MAX),
        period: Duration::from_secs(1),
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    };
    Spec { budgets: vec![budget], limits: vec![limit], ..Spec::default() }
}

fn selector(fields: &[(Field, &str)]) -> Selector {
    Selector { fields: fields.iter().map(|(field, text)| (*field, patterns(text))).collect(), labels: Vec::new() }
}

fn patterns(text: &str) -> Patterns {
    Patterns::parse(&[text]).expect("a pattern")
}

fn caller(at: usize) -> Caller {
    let labels = [("app".to_owned(), format!("app-{at}")), ("pod-template-hash".to_owned(), format!("{at:x}"))];
    Caller {
        program: "python3.13".into(),
        executable: Some("/usr/bin/python3.13".into()),
        user: "1000".into(),
        uid: 1000,
        pid: 4711,
        cgroup: Some(format!("/kubepods.slice/pod{at}").into()),
        unit: None,
        system_unit: None,
        container: Some(format!("{at:064x}").into()),
        pod: Some(Arc::new(Pod {
            uid: format!("{at}").into(),
            name: Some(format!("app-{at}-0").into()),
            namespace: Some(format!("team-{at}-dev").into()),
            service_account: Some("default".into()),
            labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        })),
    }
}

fn subject(caller: &Caller) -> Subject<'_> {
    Subject {
        caller,
        credential: Some("ab12cd34"),
        provider: "openai",
        region: None,
        host: "api.openai.com",
        operation: Operation::Chat,
        model: Some("gpt-5-mini"),
        stream: true,
        max_output_tokens: Some(1024),
        end_user: None,
        user_agent: Some("OpenAI/Python 2.8.0"),
    }
}

/// What a policy takes in MB, what was written included: in a process of its own, so that it cannot use what others gave back.
fn memory(name: &str) -> String {
    let own = env::current_exe().expect("this program");
    let output = Command::new(own).env(MEASURE, name).output().expect("a process");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Memory of this process in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}

criterion_group!(benches, decide, condition, groups);

fn main() {
    let Ok(name) = env::var(MEASURE) else {
        benches();
        Criterion::default().configure_from_args().final_summary();
        return;
    };
    let (_, spec) = POLICIES.into_iter().find(|(own, _)| *own == name).expect("the name of a policy");
    let before = resident();
    let policy = black_box(Policy::new(spec(MANY)));
    println!("{:.1}", (resident() - before) as f64 / 1e6);
    drop(policy);
}
