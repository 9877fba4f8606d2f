use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use jiff::civil::{Weekday, time};
use jiff::tz::TimeZone;
use tollgate_llm::Operation;
use tollgate_workload::{Caller, Pod};

use super::*;
use crate::{
    Amount, Budget, Count, Decided, Engine, Hours, Limit, Mode, Notice, Parameter, Patterns, Refused, Rule, Team, Unit,
    Unpriced, What, Window,
};

mod property;

/// A Monday, 10:30 in Berlin.
const NOW: &str = "2026-11-23T09:30:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn caller() -> Caller {
    let labels = [("app", "trainer"), ("tier", "")];
    Caller {
        program: "python3.13".into(),
        executable: Some(PathBuf::from("/usr/bin/python3.13")),
        user: "alice".into(),
        uid: 1000,
        pid: 4711,
        cgroup: Some("/system.slice/search-api.service".into()),
        unit: Some("search-api.service".into()),
        system_unit: Some("search-api.service".into()),
        container: None,
        pod: Some(Arc::new(Pod {
            uid: "6d3c".into(),
            name: Some("trainer-0".into()),
            namespace: Some("research".into()),
            service_account: Some("default".into()),
            labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        })),
    }
}

fn subject(caller: &Caller) -> Subject<'_> {
    Subject {
        caller,
        credential: Some("ab12cd"),
        provider: "openai",
        region: None,
        host: "api.openai.com",
        operation: Operation::Chat,
        model: Some("gpt-5"),
        stream: false,
        max_output_tokens: None,
        end_user: None,
        user_agent: Some("openai-python"),
    }
}

fn selector(fields: &[(&str, &[&str])]) -> Selector {
    let mut selector = Selector::default();
    for (name, patterns) in fields {
        let patterns = Patterns::parse(patterns).unwrap();
        match name.strip_prefix("labels.") {
            Some(label) => selector.labels.push((label.to_owned(), patterns)),
            None => selector.fields.push((name.parse().unwrap(), patterns)),
        }
    }
    selector
}

fn rule(name: &str, fields: &[(&str, &[&str])]) -> Rule {
    Rule {
        name: name.into(),
        matches: selector(fields),
        when: None,
        action: Action::Allow,
        mode: Mode::Enforce,
        models: None,
        hours: None,
        max_output_tokens: None,
        require: Vec::new(),
        message: None,
        contact: None,
    }
}

fn deny(name: &str, fields: &[(&str, &[&str])]) -> Rule {
    Rule { action: Action::Deny, ..rule(name, fields) }
}

fn team(name: &str, fields: &[(&str, &[&str])]) -> Team {
    Team { name: name.into(), cost_center: Some(format!("CC-{name}").into()), matches: selector(fields), when: None }
}

fn rules(rules: impl Into<Vec<Rule>>) -> Spec {
    Spec { rules: rules.into(), contact: Some("platform@example.com".into()), ..Spec::default() }
}

fn decide(spec: &Spec, subject: &Subject<'_>) -> Result<Decided, Refused> {
    Engine::new(Policy::new(spec.clone())).decide(subject, now()).1
}

fn refusal(spec: &Spec, subject: &Subject<'_>) -> Refused {
    decide(spec, subject).expect_err("it is refused")
}

fn budget(name: &str, fields: &[(&str, &[&str])]) -> Budget {
    Budget {
        name: name.into(),
        matches: selector(fields),
        when: None,
        per: Vec::new(),
        amount: Amount::Tokens(1_000_000, Count::Total),
        window: Window { unit: Unit::Day, zone: TimeZone::UTC },
        soft: Vec::new(),
        on_exhausted: OnExhausted::Finish,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn limit(name: &str, fields: &[(&str, &[&str])]) -> Limit {
    Limit {
        name: name.into(),
        matches: selector(fields),
        when: None,
        per: Vec::new(),
        measure: Measure::Requests,
        amount: 100,
        period: Duration::from_mins(1),
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

#[test]
fn a_policy_of_nothing_allows_everything_and_needs_nothing() {
    let caller = caller();
    let decided = decide(&Spec::default(), &subject(&caller)).unwrap();
    assert_eq!((decided.named, decided.clamp, decided.assumed_output_tokens), (Named::default(), None, 16_384));
    assert_eq!(Policy::default().needs(), Needs::default());
}

#[test]
fn the_first_rule_that_matches_decides() {
    let caller = caller();
    let spec = rules([
        deny("others", &[("user", &["bob"])]),
        rule("python", &[("program", &["python*"]), ("host", &["API.OpenAI.com"])]),
        deny("alice", &[("user", &["alice"])]),
    ]);
    assert!(decide(&spec, &subject(&caller)).is_ok());
    let curl = Caller { program: "curl".into(), ..caller };
    assert_eq!(&*refusal(&spec, &subject(&curl)).name, "alice");
    let root = Caller { user: "root".into(), ..curl };
    assert!(decide(&spec, &subject(&root)).is_ok(), "no rule matches, and the default allows");
}

#[test]
fn what_no_rule_matches_is_refused_where_the_default_says_so() {
    let caller = caller();
    let spec = Spec { default: Action::Deny, ..rules([rule("bob", &[("user", &["bob"])])]) };
    let refused = refusal(&spec, &subject(&caller));
    assert_eq!((refused.what, &*refused.name, refused.status), (What::Rule, "default", StatusCode::FORBIDDEN));
    assert_eq!(
        refused.message,
        "No rule allows this call, and what no rule allows is refused. Ask platform@example.com."
    );
}

#[test]
fn a_caller_is_of_the_first_team_that_matches_and_rules_see_it() {
    let caller = caller();
    let mut spec = rules([deny("no-research", &[("team", &["res*"])])]);
    spec.teams = vec![
        team("ml", &[("namespace", &["ml-*"])]),
        Team { when: Some(Condition::compile("caller.uid < 1000").unwrap()), ..team("system", &[]) },
        team("research", &[("namespace", &["research", "!x"]), ("labels.app", &["train*"]), ("labels.tier", &["*"])]),
        team("all", &[]),
    ];
    let engine = Engine::new(Policy::new(spec.clone()));
    let (named, decided) = engine.decide(&subject(&caller), now());
    assert_eq!(named, Named { team: Some("research".into()), cost_center: Some("CC-research".into()) });
    assert_eq!(&*decided.unwrap_err().name, "no-research");
    let (named, decided) = engine.decide(&subject(&Caller { pod: None, ..caller }), now());
    assert_eq!((named.team.as_deref(), decided.is_ok()), (Some("all"), true));
    assert_eq!(decided.unwrap().named.team.as_deref(), Some("all"));
}

#[test]
fn a_users_own_unit_does_not_pass_for_the_systems() {
    let mut caller = caller();
    caller.system_unit = Some("user@1000.service".into());
    let spec =
        rules([deny("search", &[("unit", &["search-*.service"])]), deny("own", &[("user_unit", &["search-*"])])]);
    assert_eq!(&*refusal(&spec, &subject(&caller)).name, "own");
}

#[test]
fn an_observing_rule_tells_what_it_would_have_done_and_the_next_is_asked() {
    let caller = caller();
    let observe = |rule| Rule { mode: Mode::Observe, ..rule };
    let mut spec = rules([
        observe(deny("no-chat", &[("operation", &["chat"])])),
        observe(Rule { max_output_tokens: Some(100), ..rule("short", &[]) }),
        observe(rule("harmless", &[])),
        observe(deny("no-image", &[("operation", &["image"])])),
        Rule { max_output_tokens: Some(500), ..rule("long", &[]) },
    ]);
    let decided = decide(&spec, &subject(&caller)).unwrap();
    let observed = [
        Notice::Refused { what: What::Rule, name: "no-chat".into(), mode: Mode::Observe },
        Notice::Clamped { rule: "short".into(), from: None, to: 100, mode: Mode::Observe },
    ];
    assert_eq!(decided.notices[..2], observed);
    let clamped = Notice::Clamped { rule: "long".into(), from: None, to: 500, mode: Mode::Enforce };
    assert_eq!((decided.clamp, &decided.notices[2..]), (Some(500), &[clamped][..]));

    spec.rules.insert(3, deny("nothing", &[]));
    assert_eq!(refusal(&spec, &subject(&caller)).notices, observed, "what was observed is told of a refused call too");
}

#[test]
fn only_the_models_of_a_rule_may_be_called() {
    let caller = caller();
    let models = Patterns::parse(&["gpt-5-mini*", "claude-haiku-*"]).unwrap();
    let spec = rules([Rule { models: Some(models), ..rule("small-models", &[]) }]);
    let asks = |model, operation| Subject { operation, model, ..subject(&caller) };
    assert!(decide(&spec, &asks(Some("gpt-5-mini-2025"), Operation::Chat)).is_ok());
    let refused = refusal(&spec, &asks(Some("gpt-5"), Operation::Chat));
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(
        refused.message,
        "Rule \"small-models\" does not allow the model \"gpt-5\". It allows: gpt-5-mini*, claude-haiku-*. \
         Ask platform@example.com."
    );
    // Some providers take it so.
    assert!(decide(&spec, &asks(Some("GPT-5-Mini"), Operation::Chat)).is_ok());
    let denied = rules([Rule { action: Action::Deny, ..rule("no-large", &[("model", &["GPT-5"])]) }]);
    assert!(decide(&denied, &asks(Some("Gpt-5"), Operation::Chat)).is_err());
    for operation in [Operation::Chat, Operation::Embeddings, Operation::Batch, Operation::Image] {
        for model in [None, Some("")] {
            let message = refusal(&spec, &asks(model, operation)).message;
            assert!(message.contains("does not say which"), "{message}");
        }
    }
    for operation in [Operation::Other, Operation::File, Operation::Session, Operation::CountTokens] {
        assert!(decide(&spec, &asks(None, operation)).is_ok(), "{operation:?} runs no model of its own");
        assert!(decide(&spec, &asks(Some("gpt-5"), operation)).is_err(), "{operation:?} of a model is one of it");
    }
}

#[test]
fn outside_its_hours_a_rule_refuses_and_says_when_it_opens() {
    let caller = caller();
    let hours = |from, until| Hours {
        days: vec![Weekday::Monday, Weekday::Tuesday],
        from,
        until,
        zone: TimeZone::get("Europe/Berlin").expect("the time zones of the system"),
    };
    let of = |hours| rules([Rule { hours: Some(hours), ..rule("office", &[]) }]);
    assert!(decide(&of(hours(time(8, 0, 0, 0), time(18, 0, 0, 0))), &subject(&caller)).is_ok());
    let refused = refusal(&of(hours(time(11, 0, 0, 0), time(18, 0, 0, 0))), &subject(&caller));
    assert_eq!((refused.status, refused.retry_after), (StatusCode::FORBIDDEN, Some(Duration::from_mins(30))));
    assert_eq!(
        refused.message,
        "Rule \"office\" allows this call at certain hours only: mon, tue 11:00 to 18:00 (Europe/Berlin). \
         It opens again at 2026-11-23T11:00:00+01:00 (Europe/Berlin). Ask platform@example.com."
    );
    // It counts when the rule denies nothing else, and nothing of it when the rule denies.
    let denied = rules([Rule { hours: Some(hours(time(8, 0, 0, 0), time(18, 0, 0, 0))), ..deny("never", &[]) }]);
    assert_eq!(refusal(&denied, &subject(&caller)).retry_after, None);
}

#[test]
fn a_clamp_only_makes_smaller_and_only_what_generates_text() {
    let caller = caller();
    let spec = rules([Rule { max_output_tokens: Some(4096), ..rule("short", &[]) }]);
    let asks = |max_output_tokens, operation| Subject { operation, max_output_tokens, ..subject(&caller) };
    for (asked, operation, clamp) in [
        (None, Operation::Chat, Some(4096)),
        (Some(4097), Operation::Chat, Some(4096)),
        (Some(u64::MAX), Operation::GenerateContent, Some(4096)),
        (Some(4096), Operation::Chat, None),
        (Some(0), Operation::TextCompletion, None),
        (None, Operation::Embeddings, None),
        (Some(9999), Operation::Image, None),
        (None, Operation::Other, None),
    ] {
        let decided = decide(&spec, &asks(asked, operation)).unwrap();
        assert_eq!(decided.clamp, clamp, "{asked:?} {operation:?}");
        let told = Notice::Clamped { rule: "short".into(), from: asked, to: 4096, mode: Mode::Enforce };
        assert_eq!(decided.notices, clamp.map(|_| told).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_request_must_say_what_a_rule_requires() {
    let caller = caller();
    let all = vec![Parameter::MaxOutputTokens, Parameter::EndUser, Parameter::Stream];
    let spec = rules([Rule { require: all, ..rule("told", &[]) }]);
    let refused = refusal(&spec, &subject(&caller));
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    for part in ["max_tokens", "whom it is for", "\"stream\": true", "Rule \"told\""] {
        assert!(refused.message.contains(part), "{} lacks {part}", refused.message);
    }
    let one = Subject { max_output_tokens: Some(1), end_user: Some(""), stream: true, ..subject(&caller) };
    let refused = refusal(&spec, &one);
    assert!(
        refused.message.contains("whom it is for") && !refused.message.contains("max_tokens"),
        "{}",
        refused.message
    );
    let told = Subject { end_user: Some("customer-7"), ..one };
    assert!(decide(&spec, &told).is_ok());
    let embeddings = Subject { operation: Operation::Embeddings, end_user: Some("x"), ..subject(&caller) };
    assert!(decide(&spec, &embeddings).is_ok(), "embeddings have no largest answer and are no streams");
    let file = Subject { operation: Operation::File, ..subject(&caller) };
    assert!(decide(&spec, &file).is_ok());
}

#[test]
fn a_refusal_says_which_rule_and_by_what_of_the_callers_own() {
    let caller = caller();
    let own = deny("no-chat", &[("operation", &["chat", "image"]), ("credential", &["ab*"]), ("region", &["!eu"])]);
    let refused = refusal(&rules([own.clone()]), &subject(&caller));
    assert_eq!(
        refused.message,
        "Rule \"no-chat\" does not allow this call (operation chat). Ask platform@example.com."
    );
    let message = Some("Chat is off until the audit is over.".into());
    let worded = rules([Rule { message, contact: Some("#llm".into()), ..own.clone() }]);
    assert_eq!(refusal(&worded, &subject(&caller)).message, "Chat is off until the audit is over. Ask #llm.");
    let message = Some("Write to #llm.".into());
    let worded = rules([Rule { message, contact: Some("#llm".into()), ..own }]);
    assert_eq!(refusal(&worded, &subject(&caller)).message, "Write to #llm.");
    let long = "x".repeat(5000);
    let asks = Subject { model: Some(&long), ..subject(&caller) };
    assert!(refusal(&rules([deny("m", &[("model", &["x*"])])]), &asks).message.len() < 400);
}

#[test]
fn conditions_that_cannot_be_told_do_not_hold_and_are_counted() {
    let caller = caller();
    let when = Some(Condition::compile("int(request.model) > 5").unwrap());
    let engine = Engine::new(Policy::new(rules([Rule { when, ..deny("odd", &[]) }])));
    assert!(engine.decide(&subject(&caller), now()).1.is_ok());
    assert_eq!(engine.policy().condition_errors(), 1);
    let nine = Subject { model: Some("9"), ..subject(&caller) };
    assert!(engine.decide(&nine, now()).1.is_err());
    engine.policy().explain(&subject(&caller), now());
    assert_eq!(engine.policy().condition_errors(), 1, "to explain is not to decide");
}

#[test]
fn what_is_empty_is_absent() {
    let caller = Caller { user: "".into(), ..caller() };
    let spec = rules([deny("any-user", &[("user", &["*"])]), deny("no-user", &[("user", &["!*"])])]);
    assert_eq!(&*refusal(&spec, &subject(&caller)).name, "no-user");
}

#[test]
fn the_body_is_needed_only_where_something_hangs_on_it() {
    let needs = |spec: Spec| Policy::new(spec).needs();
    let head = Needs { anything: true, ..Needs::default() };
    let body = Needs { body: true, ..head };
    let when = |text| Some(Condition::compile(text).unwrap());
    let base = || rule("r", &[("host", &["x"]), ("operation", &["chat"]), ("user_agent", &["x"])]);
    assert_eq!(needs(rules([base()])), head);
    assert_eq!(needs(Spec { default: Action::Deny, ..Spec::default() }), head);
    assert_eq!(needs(Spec { teams: vec![team("t", &[("user", &["x"])])], ..Spec::default() }), head);
    assert_eq!(needs(rules([Rule { when: when("caller.uid == 1 && now.getHours() > 2"), ..base() }])), head);
    for rule in [
        rule("r", &[("model", &["x"])]),
        rule("r", &[("end_user", &["!x"])]),
        Rule { when: when("request.stream"), ..base() },
        Rule { models: Some(Patterns::parse(&["x"]).unwrap()), ..base() },
        Rule { max_output_tokens: Some(1), ..base() },
        Rule { require: vec![Parameter::Stream], ..base() },
        Rule { mode: Mode::Observe, ..rule("r", &[("model", &["x"])]) },
    ] {
        assert_eq!(needs(rules([rule.clone()])), body, "{rule:?}");
    }
    assert_eq!(needs(Spec { teams: vec![team("t", &[("end_user", &["x"])])], ..Spec::default() }), body);
    let limits = |limit| needs(Spec { limits: vec![limit], ..Spec::default() });
    assert!(!limits(limit("rpm", &[("host", &["x"])])).body);
    assert!(limits(Limit { per: vec![Field::EndUser], ..limit("rpm", &[]) }).body);
    assert!(limits(Limit { measure: Measure::Streams, ..limit("s", &[]) }).body);
    assert!(limits(Limit { measure: Measure::Tokens(Count::Total), ..limit("t", &[]) }).ask);
    let budgets = needs(Spec { budgets: vec![budget("b", &[])], ..Spec::default() });
    assert!(budgets.ask && budgets.body && !budgets.cut);
}

#[test]
fn budgets_and_limits_of_a_call_are_all_that_match_in_their_order() {
    let caller = caller();
    let spec = Spec {
        teams: vec![team("research", &[("namespace", &["research"])])],
        budgets: vec![
            budget("all", &[]),
            budget("ml", &[("team", &["ml"])]),
            budget("research", &[("team", &["research"])]),
            Budget { when: Some(Condition::compile("request.model == 'o3'").unwrap()), ..budget("o3", &[]) },
        ],
        limits: vec![limit("img", &[("operation", &["image"])]), limit("pod", &[("pod", &["trainer-*"])])],
        ..Spec::default()
    };
    let policy = Policy::new(spec);
    let subject = subject(&caller);
    let call = policy.call(&subject, now());
    assert_eq!(policy.matching(&call), Matching { budgets: vec![0, 2], limits: vec![1] });
}

#[test]
fn an_explanation_says_of_everything_why() {
    let caller = caller();
    let when = |text| Some(Condition::compile(text).unwrap());
    let spec = Spec {
        teams: vec![
            team("ml", &[("namespace", &["ml-*"]), ("user", &["x"])]),
            team("research", &[("namespace", &["res*"])]),
            team("late", &[]),
        ],
        rules: vec![
            deny("absent", &[("region", &["eu", "us"])]),
            deny("label", &[("labels.app", &["!train*"])]),
            Rule { when: when("caller.uid == 0"), ..deny("root", &[]) },
            Rule { when: when("int(request.model) > 0"), ..deny("odd", &[]) },
            Rule { mode: Mode::Observe, ..deny("tried", &[]) },
            Rule { max_output_tokens: Some(10), ..rule("short", &[("team", &["research"])]) },
            deny("after", &[]),
        ],
        budgets: vec![
            Budget { per: vec![Field::User], ..budget("mine", &[]) },
            budget("theirs", &[("user", &["bob"])]),
        ],
        limits: vec![limit("rpm", &[])],
        ..Spec::default()
    };
    let policy = Policy::new(spec);
    let explained = policy.explain(&subject(&caller), now());
    let differs = |field: &str, value: Option<&str>, patterns: &str| Verdict::Differs {
        field: field.into(),
        value: value.map(str::to_owned),
        patterns: patterns.into(),
    };
    let verdicts = |looked: &[Looked]| looked.iter().map(|looked| looked.verdict.clone()).collect::<Vec<_>>();
    assert_eq!(explained.named.team.as_deref(), Some("research"));
    assert_eq!(
        verdicts(&explained.teams),
        [differs("namespace", Some("research"), "ml-*"), Verdict::Matches, Verdict::NotReached]
    );
    let fails = |condition: &str, error: Option<&str>| Verdict::Fails {
        condition: condition.into(),
        error: error.map(str::to_owned),
    };
    assert_eq!(
        verdicts(&explained.rules),
        [
            differs("region", None, "eu, us"),
            differs("labels.app", Some("trainer"), "!train*"),
            fails("caller.uid == 0", None),
            fails("int(request.model) > 0", Some("int could not convert its argument")),
            Verdict::Observes {
                would: Some(Notice::Refused { what: What::Rule, name: "tried".into(), mode: Mode::Observe })
            },
            Verdict::Matches,
            Verdict::NotReached,
        ]
    );
    assert_eq!(explained.decision, Decision { rule: Some("short".into()), clamp: Some(10), refused: None });
    assert_eq!(verdicts(&explained.budgets), [Verdict::Matches, differs("user", Some("alice"), "bob")]);
    assert_eq!((&*explained.budgets[0].group, &*explained.limits[0].group), ("user=alice", ""));

    let refused = Policy::new(Spec { default: Action::Deny, ..Spec::default() }).explain(&subject(&caller), now());
    assert_eq!(refused.decision.rule, None);
    assert_eq!(refused.decision.refused.map(|refused| refused.status), Some(StatusCode::FORBIDDEN));
}
