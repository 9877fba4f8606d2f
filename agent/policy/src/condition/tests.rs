use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use proptest::prelude::*;
use tollgate_llm::Operation;
use tollgate_workload::{Caller, Pod};

use super::*;

fn caller() -> Caller {
    let labels = [("app", "trainer"), ("env", "prod"), ("empty", "")];
    Caller {
        program: "python3.13".into(),
        executable: Some("/usr/bin/python3.13".into()),
        user: "alice".into(),
        uid: 1000,
        pid: 4711,
        cgroup: Some("/system.slice/search-api.service".into()),
        unit: Some("search-api.service".into()),
        system_unit: Some("search-api.service".into()),
        container: None,
        pod: Some(Arc::new(Pod {
            uid: "u".into(),
            name: Some("trainer-0".into()),
            namespace: Some("research".into()),
            service_account: None,
            labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        })),
    }
}

fn subject(caller: &Caller) -> Subject<'_> {
    Subject {
        caller,
        credential: Some("ab12"),
        provider: "openai",
        region: None,
        host: "api.openai.com",
        operation: Operation::Chat,
        model: Some("gpt-5-mini"),
        stream: true,
        max_output_tokens: Some(4096),
        end_user: Some("customer-7"),
        user_agent: Some("openai-python"),
    }
}

fn evaluate(text: &str) -> Result<bool, String> {
    let condition = Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (caller, named) = (caller(), Named { team: Some("research".into()), cost_center: None });
    // A Monday.
    let now: Timestamp = "2026-11-23T09:30:00Z".parse().unwrap();
    condition.evaluate(&subject(&caller), &named, now)
}

#[test]
fn conditions_see_the_caller_the_request_the_team_and_the_time() {
    for holds in [
        "caller.uid >= 1000 && caller.uid < 60000",
        "caller.user == 'alice' && caller.program.startsWith('python')",
        "caller.executable == '/usr/bin/python3.13'",
        "caller.unit.endsWith('.service') && caller.user_unit == ''",
        "caller.pid == 4711",
        "caller.container == ''",
        "caller.namespace in ['research', 'ml']",
        "caller.labels.app == 'trainer' && caller.labels['env'] == 'prod'",
        "has(caller.labels.app) && !has(caller.labels.tier)",
        "'empty' in caller.labels && !('tier' in caller.labels)",
        "caller.labels.tier == ''",
        "caller.labels.exists(name, name.startsWith('en') && caller.labels[name] == 'prod')",
        "caller.labels.all(name, size(name) < 10)",
        "size(caller.labels) == 3",
        "['gpt-5-mini', 'gpt-5-nano'].exists_one(model, model == request.model)",
        "request.provider == 'openai' && request.host == 'api.openai.com' && request.region == ''",
        "request.operation == 'chat' && request.stream",
        "request.max_output_tokens <= 4096",
        "request.model.matches('^gpt-[0-9]+-(mini|nano)$')",
        "request.end_user.contains('customer') && request.user_agent == 'openai-python'",
        "request.credential == 'ab12'",
        "team == 'research' && cost_center == ''",
        "now > timestamp('2026-01-01T00:00:00Z') && now.getDayOfWeek() == 1",
        "now.getHours('Europe/Berlin') == 10",
        "now - timestamp('2026-11-23T09:00:00Z') == duration('30m')",
        "request.stream ? caller.uid == 1000 : false",
    ] {
        assert_eq!(evaluate(holds), Ok(true), "{holds}");
    }
    for fails in ["caller.uid == 0", "team != 'research'", "request.model.matches('^o[0-9]')", "!request.stream"] {
        assert_eq!(evaluate(fails), Ok(false), "{fails}");
    }
}

#[test]
fn what_is_not_known_is_empty_or_zero() {
    let (mut caller, named) = (caller(), Named::default());
    caller.pod = None;
    let subject = Subject { model: None, max_output_tokens: None, end_user: None, ..subject(&caller) };
    for text in [
        "request.model == '' && request.max_output_tokens == 0 && request.end_user == ''",
        "caller.namespace == '' && caller.labels.app == '' && size(caller.labels) == 0",
        "team == ''",
    ] {
        let condition = Condition::compile(text).unwrap();
        assert_eq!(condition.evaluate(&subject, &named, Timestamp::UNIX_EPOCH), Ok(true), "{text}");
    }
}

#[test]
fn a_condition_that_cannot_be_told_does_not_hold_and_says_why() {
    for (text, why) in [
        ("100 / (request.max_output_tokens - 4096) > 1", "division by zero"),
        ("int(request.model) > 1", "could not convert"),
        ("caller.labels[request.model] == 'x'", "label is not there"),
    ] {
        let error = evaluate(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains("gpt-5-mini"), "{text}: {error} tells what the request says");
        let caller = caller();
        let condition = Condition::compile(text).unwrap();
        assert!(!condition.holds(&subject(&caller), &Named::default(), Timestamp::UNIX_EPOCH), "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_what_to_write() {
    for (text, why) in [
        ("", "column 1"),
        ("caller.uid >=", "it ends too early, at column 14"),
        ("caller.uid = 1", "column"),
        ("\ncaller.uid >= && 1", "line 2"),
        ("caller.uuid == 1", "do you mean caller.uid?"),
        ("caller.frobnication == 1", "it has program, executable"),
        ("request.modle == 'x'", "do you mean request.model?"),
        ("model == 'x'", "do you mean request.model?"),
        ("Caller.uid == 1", "do you mean caller?"),
        ("teams == 'x'", "do you mean team?"),
        ("xyzzy", "there are caller, request, team"),
        ("caller == 1", "needs one of its fields"),
        ("caller['uid'] == 1", "needs one of its fields"),
        ("team.name == 'x'", "only caller, request"),
        ("has(caller.pod)", "always there"),
        ("request.model.startWith('x')", "do you mean startsWith?"),
        ("request.model.lowerAscii() == 'x'", "there is no function lowerAscii"),
        ("caller.uid > 'x'", "is not for"),
        ("request.model + 1 == 'x'", "not for"),
        ("request.model", "of type string where bool is wanted"),
        ("!request.model", "is not for"),
        ("request.model.matches(request.end_user)", "takes a text in quotes"),
        ("request.model.matches('(')", "no regular expression"),
        (r"request.model.matches('(\\pL{1000}){1000}')", "too much memory"),
        ("matches(request.model, 'x')", "is written text.matches"),
        ("[1, 2].map(x, x + 1) == [2, 3]", "write all or exists"),
        ("[1, 2].filter(x, x > 1) == [2]", "write all or exists"),
        ("[1].all(x, [2].all(y, x < y))", "within each other"),
        ("[1].all(team, team > 0)", "is taken"),
        ("{'a': 1}.a == 1", "write a list"),
        ("size({'a': 1}) == 1", "write a list"),
        ("Caller{uid: 1} == 1", "write a list"),
        ("caller.?uid == 1", "cannot be read"),
        ("type(caller.uid) == int", "no function type"),
        ("''[0] == ''", "[] is not for string and int"),
        ("caller.uid == 1 caller.uid == 2", "'caller' is out of place, at column 17"),
        ("caller.user == 'alice", "column 16"),
    ] {
        match Condition::compile(text) {
            Ok(_) => panic!("{text} is taken for a condition"),
            Err(error) => assert!(error.0.contains(why), "{text}: {error}"),
        }
    }
}

#[test]
fn what_a_loop_may_take_is_bounded() {
    let list = |many: usize| format!("[{}]", vec!["0"; many].join(","));
    let body = |many: usize| vec!["x == 1"; many].join(" || ");
    for (range, parts, is_fine) in [
        (list(1000), 1, true),
        (list(1000), 100, false),
        (list(10), 300, true),
        ("caller.labels".to_owned(), 10, true),
        ("caller.labels".to_owned(), 50, false),
    ] {
        let text = format!("{range}.exists(x, {})", body(parts));
        assert_eq!(Condition::compile(&text).is_ok(), is_fine, "{text:.50} {parts}");
    }
}

#[test]
fn whether_the_body_is_needed_shows_in_the_condition() {
    for text in [
        "request.model == 'x'",
        "request.stream",
        "caller.uid == 1 && request.max_output_tokens > 5",
        "['a'].exists(x, x == request.end_user)",
        "request.model.matches('x')",
    ] {
        assert!(Condition::compile(text).unwrap().needs_body(), "{text}");
    }
    for text in ["request.host == 'x' && team == 'x'", "caller.labels.model == 'x'", "request.operation == 'stream'"] {
        assert!(!Condition::compile(text).unwrap().needs_body(), "{text}");
    }
}

/// The stack of a thread of tokio is two mebibytes. A condition must get by with much less, unoptimised as here.
fn with_little_stack(run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn the_deepest_conditions_are_evaluated_on_a_small_stack() {
    with_little_stack(|| {
        let sum = |depth| format!("{}1 == {}", "1+".repeat(depth), depth + 1);
        let choice = |depth| format!("{}true", "false ? true : ".repeat(depth));
        let element = |depth| format!("[1].all(x, {}x == {})", "1+".repeat(depth), depth + 1);
        for deepest in [sum(22), choice(22), element(19), format!("{}true", "true && ".repeat(400))] {
            assert_eq!(evaluate(&deepest), Ok(true), "{deepest}");
        }
        for deeper in [sum(30), choice(30), element(30)] {
            assert!(Condition::compile(&deeper).is_err(), "{deeper}");
        }
    });
}

#[test]
fn hostile_texts_are_refused_and_end_nothing() {
    let bounded = |text: String| if text.len() > LONGEST { text[..LONGEST].to_owned() } else { text };
    let repeat = move |what: &str| bounded(what.repeat(LONGEST / what.len()));
    with_little_stack(move || {
        for text in [
            repeat("("),
            repeat("!"),
            repeat("-"),
            repeat("["),
            repeat("{"),
            repeat("a."),
            repeat("1+"),
            repeat("true||"),
            repeat("true?1:"),
            repeat("\""),
            repeat("'\\"),
            repeat("a["),
            repeat("f("),
            repeat("0"),
            repeat("\u{0}"),
            repeat("ä"),
            repeat("// "),
            repeat("r'"),
            repeat("b'''"),
            repeat("has("),
            repeat(".a"),
            repeat(",,"),
            repeat("9e"),
            repeat("1 in "),
            repeat("\n"),
            format!("{}true", repeat("!").split_at(2000).0),
            format!("{}1 == 1", "1+".repeat(2000)),
            format!("{}1 == 1", "1+".repeat(24)),
            format!("{}true", "true ? true : ".repeat(24)),
            format!("{}true", "true && ".repeat(500)),
            format!("{}true{}", "(".repeat(16), ")".repeat(16)),
            format!("{}1{} == 1", "[".repeat(16), "]".repeat(16)),
            "(".repeat(100_000),
            "'\\uD800' == ''".to_owned(),
            "'\\U00110000' == ''".to_owned(),
            "9223372036854775808 == 1".to_owned(),
            "-9223372036854775808 / -1 == 1".to_owned(),
            "-9223372036854775808 % -1 == 1".to_owned(),
            "18446744073709551616u == 1u".to_owned(),
            "1e999 == 1.0".to_owned(),
            "duration('9999999999999h') == duration('1s')".to_owned(),
            "timestamp('9999-12-31T23:59:59Z') + duration('1h') == now".to_owned(),
            "timestamp(9223372036854775807) == now".to_owned(),
            "now.getHours('../../etc/passwd') == 1".to_owned(),
            "int(9223372036854775808.0) == 1".to_owned(),
            "''[0] == ''".to_owned(),
            "[][-1] == 1".to_owned(),
            "now - timestamp('0001-01-01T00:00:00Z') > duration('1s')".to_owned(),
        ] {
            if let Ok(condition) = Condition::compile(&text) {
                let caller = caller();
                let _told = condition.evaluate(&subject(&caller), &Named::default(), Timestamp::MAX);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_a_condition_or_is_refused(text in ".{0,60}") {
        let _compiled = Condition::compile(&text);
    }

    #[test]
    fn anything_of_the_language_is_a_condition_or_is_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "caller", ".uid", ".labels", "request", ".model", "team", "now", "'a'", "1", "1.5", "true", "==", "!=", "<", "&&", "||", "!",
            "-", "+", "*", "/", "%", "?", ":", "(", ")", "[", "]", ",", " in ", ".matches(", ".size()", "size(", ".exists(x,", ".all(y,",
            "has(", "x", "y", ".startsWith(", ".getHours()", "timestamp(", "duration('1s')", "int(", "string(", "{", "}", "null", "u",
        ]), 1..14),
    ) {
        let text = words.concat();
        if let Ok(condition) = Condition::compile(&text) {
            let caller = caller();
            let _told = condition.evaluate(&subject(&caller), &Named::default(), Timestamp::UNIX_EPOCH);
        }
    }
}
