use std::time::Duration;

use jiff::civil::{Time, Weekday};
use proptest::prelude::*;
use tollgate_policy::{
    Action, Amount, Condition, Count, Field, Measure, Mode, OnExhausted, Parameter, Spec, Unit, Unpriced,
};

use crate::{Config, Error};

fn parse(text: &str) -> Config {
    Config::parse("t.yaml", text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn errors(text: &str) -> String {
    Config::parse("t.yaml", text).expect_err(text).to_string()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text).warnings.iter().map(ToString::to_string).collect()
}

const WHOLE: &str = r#"
teams:
  - { name: search, cost_center: CC-1042, match: { unit: "search-*.service" } }
  - { name: research, match: { namespace: [research, "ml-*", "!ml-prod"], labels: { app: "train*", gpu: true } }, when: 'caller.uid >= 1000' }
  - { name: ci, match: { uid: 1001 } }
policy:
  default: deny
  contact: platform@example.com
  body_limit: 1MiB
  assumed_output_tokens: 8k
  rules:
    - { name: ci-small-models, match: { team: ci }, models: ["gpt-5-mini*", "claude-haiku-*"], clamp: { max_output_tokens: 4096 }, require: [max_output_tokens, end_user],
        hours: { days: [mon-fri, wed], from: 08:00, until: "18:00", time_zone: Europe/Berlin }, message: "…", contact: "ci@example.com" }
    - { name: no-image, match: { operation: image }, action: deny, mode: observe }
  budgets:
    - { name: research-month, match: { team: research }, per: [user], limit: $500, window: month, time_zone: Europe/Berlin, soft: [50%, 80%], on_exhausted: cut, unpriced: { assume: { input: $5, output: $25 } }, mode: observe }
    - { name: all-day-tokens, limit: 10M tokens, window: day }
  limits:
    - { name: rpm, per: pod, requests: 60/minute, wait: 5s }
    - { name: tpm, tokens: 100k/minute }
    - { name: calls, concurrent: 20 }
audit: { directory: /var/log/elsewhere, max_size: 1MiB, keep: 3 }
kubernetes: { api: in-cluster }
"#;

#[test]
fn a_key_of_a_rule_without_a_value_is_an_error_and_not_a_rule_for_all() {
    for (text, field) in [
        ("policy: { rules: [{ name: a, match: { user: } }] }", "policy.rules[0].match.user"),
        ("policy: { rules: [{ name: a, match: { labels: { app: } } }] }", "policy.rules[0].match.labels.app"),
        ("policy: { rules: [{ name: a, match: }] }", "policy.rules[0].match"),
        ("policy: { rules: [{ name: a, when: }] }", "policy.rules[0].when"),
        ("policy: { rules: [{ name: a, models: }] }", "policy.rules[0].models"),
        ("policy: { budgets: [{ name: a, limit: $5, window: day, per: }] }", "policy.budgets[0].per"),
        ("policy: { limits: [{ name: a, requests: 5/minute, mode: ~ }] }", "policy.limits[0].mode"),
        ("policy: { default: }", "policy.default"),
        ("teams: [{ name: a, match: { unit: } }]", "teams[0].match.unit"),
    ] {
        let told = errors(text);
        assert!(told.contains(&format!("{field}: nothing stands here; write a value")), "{text}\n{told}");
    }
    // All of a list may be commented out.
    parse("teams:\npolicy:\n  rules:\n  # - { name: a }\n");
}

#[test]
fn without_a_policy_all_is_allowed_and_nothing_counted() {
    let Config { policy, audit, warnings, .. } = Config::default();
    let Spec { default, contact, assumed_output_tokens, teams, rules, budgets, limits } = &*policy.spec;
    assert_eq!((*default, contact, *assumed_output_tokens), (Action::Allow, &None, Some(16_384)));
    assert!(teams.is_empty() && rules.is_empty() && budgets.is_empty() && limits.is_empty() && warnings.is_empty());
    assert_eq!(policy.body_limit, 32 << 20);
    assert_eq!(audit.directory.as_deref(), Some("/var/log/tollgate".as_ref()));
    assert_eq!((audit.max_size, audit.keep), (64 << 20, 10));
    assert_eq!(parse("audit: { directory: off }").audit.directory, None);
}

#[test]
fn teams_and_rules_are_read() {
    let config = parse(WHOLE);
    let spec = &config.policy.spec;
    assert_eq!((spec.default, spec.contact.as_deref()), (Action::Deny, Some("platform@example.com")));
    assert_eq!((spec.assumed_output_tokens, config.policy.body_limit), (Some(8_000), 1 << 20));
    let [search, research, ci] = &spec.teams[..] else { panic!("three teams") };
    assert_eq!((&*search.name, search.cost_center.as_deref()), ("search", Some("CC-1042")));
    assert_eq!(search.matches.fields[0].0, Field::Unit);
    assert!(search.matches.fields[0].1.matches(Some("search-api.service")));
    let namespaces = &research.matches.fields[0].1;
    assert!(namespaces.matches(Some("ml-dev")) && !namespaces.matches(Some("ml-prod")));
    assert_eq!(research.when.as_ref().map(Condition::as_str), Some("caller.uid >= 1000"));
    let labels: Vec<_> = research.matches.labels.iter().map(|(label, patterns)| (label.as_str(), patterns)).collect();
    assert!(labels[0].0 == "app" && labels[0].1.matches(Some("trainer")));
    assert!(labels[1].0 == "gpu" && labels[1].1.matches(Some("true")));
    assert!(ci.matches.fields[0].1.matches(Some("1001")));

    let [small, image] = &spec.rules[..] else { panic!("two rules") };
    assert_eq!((small.action, small.mode, small.max_output_tokens), (Action::Allow, Mode::Enforce, Some(4096)));
    assert!(small.models.as_ref().unwrap().matches(Some("gpt-5-mini-2025-08-07")));
    assert_eq!(small.require, [Parameter::MaxOutputTokens, Parameter::EndUser]);
    let hours = small.hours.as_ref().unwrap();
    assert_eq!((hours.days.len(), hours.days[0]), (5, Weekday::Monday));
    assert_eq!((hours.from, hours.until), (Time::constant(8, 0, 0, 0), Time::constant(18, 0, 0, 0)));
    assert_eq!(hours.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!((small.message.as_deref(), small.contact.as_deref()), (Some("…"), Some("ci@example.com")));
    assert_eq!((image.action, image.mode), (Action::Deny, Mode::Observe));
    assert!(image.hours.is_none() && image.models.is_none() && image.require.is_empty());
}

#[test]
fn every_property_of_a_call_can_be_matched_and_shared_by() {
    for field in Field::ALL {
        let text = format!(
            "teams: [{{ name: x }}]\npolicy: {{ budgets: [{{ name: a, match: {{ {field}: x }}, per: {field}, limit: $1, window: day }}] }}"
        );
        let config = parse(&text);
        let budget = &config.policy.spec.budgets[0];
        assert_eq!(
            (budget.matches.fields[0].0, budget.matches.fields.len(), &budget.per[..]),
            (field, 1, &[field][..])
        );
    }
}

#[test]
fn budgets_limits_and_the_audit_are_read() {
    let config = parse(WHOLE);
    let [month, day] = &config.policy.spec.budgets[..] else { panic!("two budgets") };
    assert_eq!((month.amount, &month.per[..]), (Amount::Money(500.into()), &[Field::User][..]));
    assert_eq!((month.window.unit, month.window.zone.iana_name()), (Unit::Month, Some("Europe/Berlin")));
    assert_eq!((&month.soft[..], month.on_exhausted, month.mode), (&[50, 80][..], OnExhausted::Cut, Mode::Observe));
    assert_eq!(month.unpriced, Unpriced::Assume { input: 5.into(), output: 25.into() });
    assert_eq!((day.amount, day.window.unit), (Amount::Tokens(10_000_000, Count::Total), Unit::Day));
    assert_eq!((day.unpriced, day.on_exhausted, day.mode), (Unpriced::Allow, OnExhausted::Finish, Mode::Enforce));
    let [rpm, tpm, calls] = &config.policy.spec.limits[..] else { panic!("three limits") };
    assert_eq!((rpm.measure, rpm.amount, rpm.period), (Measure::Requests, 60, Duration::from_mins(1)));
    assert_eq!((rpm.wait, &rpm.per[..]), (Some(Duration::from_secs(5)), &[Field::Pod][..]));
    assert_eq!((tpm.measure, tpm.amount, tpm.wait), (Measure::Tokens(Count::Total), 100_000, None));
    assert_eq!((calls.measure, calls.amount), (Measure::Concurrent, 20));
    assert_eq!((config.audit.max_size, config.audit.keep), (1 << 20, 3));
    assert_eq!(config.warnings, []);
}

#[test]
fn what_was_written_tells_whether_a_policy_is_another() {
    let again = WHOLE.replace("  default: deny", "  # a comment\n  default:   deny").replace("$500", "$500.00");
    assert_eq!(parse(&again), parse(WHOLE));
    for (from, to) in [("$500", "$501"), ("CC-1042", "CC-1043"), (">= 1000", "> 1000"), ("mon-fri", "mon-sat")] {
        assert_ne!(parse(&WHOLE.replace(from, to)).policy, parse(WHOLE).policy, "{to}");
    }
}

#[test]
fn single_values_that_are_wrong_are_told_by_place_and_remedy() {
    for (text, told) in wrong_values() {
        let errors = errors(&text);
        assert!(errors.contains(told) && errors.lines().count() == 1, "{text}\n{errors}\n{told}");
    }
}

/// Each with what is told of it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn wrong_values() -> Vec<(String, &'static str)> {
    let rule = |rest: &str| format!("policy: {{ rules: [{{ name: a, {rest} }}] }}");
    let budget = |rest: &str| format!("policy: {{ budgets: [{{ name: a, {rest} }}] }}");
    let limit = |rest: &str| format!("policy: {{ limits: [{{ name: a, {rest} }}] }}");
    vec![
        (
            rule("match: { modle: x }"),
            "1:39: policy.rules[0].match.modle: this key is not known; did you mean `model`?",
        ),
        (
            rule("match: { model: { a: b } }"),
            "rules[0].match.model: a group of keys stands where one value or a list is expected; write a pattern, such as `gpt-5-mini*`",
        ),
        (
            rule("match: { model: [] }"),
            "rules[0].match.model: the list is empty; name at least one pattern, or leave the key out",
        ),
        (
            rule("match: { labels: [a] }"),
            "rules[0].match.labels: a list stands where keys are expected; write a key and its value, such as `app: web`",
        ),
        (
            rule("match: { labels: { a: { b: c } } }"),
            "rules[0].match.labels.a: a group of keys stands where one value or a list is expected",
        ),
        (rule("match: x"), "rules[0].match: a single value stands where keys are expected"),
        (rule("action: refuse"), "rules[0].action: `refuse` is not possible here; write `allow` or `deny`"),
        (rule("mode: observ"), "rules[0].mode: `observ` is not possible here; did you mean `observe`?"),
        (
            rule("hours: { from: 8am }"),
            "rules[0].hours.from: `8am` is not a time of day; write a time of day, such as `08:30`",
        ),
        (
            rule("hours: { days: [mon, tomorrow] }"),
            "rules[0].hours.days[1]: `tomorrow` is not a day of the week or several in a row",
        ),
        (
            rule("hours: { time_zone: Europe/Berln }"),
            "rules[0].hours.time_zone: `Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?",
        ),
        (
            rule("clamp: { max_tokens: 1 }"),
            "rules[0].clamp.max_tokens: this key is not known; the keys here are `max_output_tokens`",
        ),
        (
            rule("clamp: { max_output_tokens: 0 }"),
            "clamp.max_output_tokens: `0` is not a number: it must be above zero",
        ),
        (
            rule("require: [stream, user]"),
            "rules[0].require[1]: `user` is not possible here; write `max_output_tokens`, `end_user` or `stream`",
        ),
        (
            rule("require: max_output_token"),
            "rules[0].require: `max_output_token` is not possible here; did you mean `max_output_tokens`?",
        ),
        (rule("message: ' '"), "rules[0].message: ` ` is not a text: it must have 1 to 500 characters on one line"),
        (rule("when: 'caller.uid >'"), "rules[0].when: `caller.uid >` is not a condition (CEL)"),
        (
            budget("limit: 500, window: day"),
            "budgets[0].limit: `500` is not a sum or a number of tokens: money begins with `$`, and a number of tokens is followed by `tokens`; write a sum or a number of tokens, such as `$500`, `10M tokens`, `2M output tokens`",
        ),
        (budget("limit: $5"), "budgets[0]: `window` is missing; add it: write `hour`, `day`, `week` or `month`"),
        (
            budget("limit: $5, window: monthly"),
            "budgets[0].window: `monthly` is not possible here; write `hour`, `day`, `week` or `month`",
        ),
        (
            budget("limit: $5, window: day, per: [usr]"),
            "budgets[0].per[0]: `usr` is not possible here; did you mean `user`?",
        ),
        (
            budget("limit: $5, window: day, soft: [50]"),
            "budgets[0].soft[0]: `50` is not a part in per cent: it has no `%`",
        ),
        (
            budget("limit: $5, window: day, unpriced: alow"),
            "budgets[0].unpriced: `alow` is not possible here; did you mean `allow`?",
        ),
        (
            budget("limit: $5, window: day, unpriced: [deny]"),
            "budgets[0].unpriced: a list stands where one value is expected; write `allow` or `deny`",
        ),
        (
            budget("limit: $5, window: day, unpriced: { asume: {} }"),
            "budgets[0].unpriced.asume: this key is not known; did you mean `assume`?",
        ),
        (
            budget("limit: $5, window: day, unpriced: { assume: { input: $1 } }"),
            "budgets[0].unpriced.assume: `output` is missing; add it: write US dollars for a million tokens, such as `$2.50`",
        ),
        (
            limit("requests: 60"),
            "limits[0].requests: `60` is not a number per `second`, `minute`, `hour` or `day`: it does not say per what",
        ),
        (limit("concurrent: none"), "limits[0].concurrent: `none` is not a number; write a number, such as `16k`"),
        (
            "policy: { rules: [{ match: {} }] }".into(),
            "policy.rules[0]: `name` is missing; add it: write a name, such as `research-month`",
        ),
        ("policy: { rules: { name: a } }".into(), "policy.rules: a group of keys stands where a list is expected"),
        ("teams: [{ name: 'a b' }]".into(), "teams[0].name: `a b` is not a name: use 1 to 64 letters"),
        ("budgets: []".into(), "budgets: this key is not known; did you mean `policy.budgets`?"),
    ]
}

#[test]
fn values_that_do_not_go_together_are_told() {
    assert_eq!(
        format!(
            "\n{}",
            errors(
                "teams:
  - { name: a, match: { team: b } }
  - { name: a }
policy:
  body_limit: 1KiB
  rules:
    - { name: r, action: deny, models: x, hours: {}, require: stream, clamp: { max_output_tokens: 1 } }
    - { name: default, match: { team: [b, '!aa', '*'] } }
    - { name: r, require: [], models: [] }
  budgets:
    - { name: b, limit: 5 tokens, window: day, unpriced: deny, per: [user, user], soft: [50%, 80%, 80%] }
    - { name: b, limit: $5, window: day }
  limits:
    - { name: l }
    - { name: l, requests: 1/s, concurrent: 5, wait: 1h }
audit: { max_size: 1KiB, keep: 1 }
"
            )
        ),
        "
t.yaml:2:31: teams[0].match.team: there is no team `b`; did you mean `a`?
t.yaml:2:31: teams[0].match.team: a team cannot be chosen by teams; name what its callers have in common, such as `unit` or \
         `namespace`
t.yaml:3:13: teams[1].name: there is a team `a` above; give it another name
t.yaml:5:15: policy.body_limit: this is too little for a request, or more than one may cost; write a size from `4KiB` to `1GiB`
t.yaml:7:40: policy.rules[0].models: a rule that refuses all that it matches allows nothing on conditions; take `action: \
         deny` away, or name these calls in `match`
t.yaml:7:50: policy.rules[0].hours: a rule that refuses all that it matches allows nothing on conditions; take `action: \
         deny` away, or name these calls in `match`
t.yaml:7:63: policy.rules[0].require: a rule that refuses all that it matches allows nothing on conditions; take `action: \
         deny` away, or name these calls in `match`
t.yaml:7:78: policy.rules[0].clamp: a rule that refuses all that it matches allows nothing on conditions; take `action: \
         deny` away, or name these calls in `match`
t.yaml:8:15: policy.rules[1].name: `default` is what refusals call the rule that is asked last; give it another name
t.yaml:8:40: policy.rules[1].match.team[0]: there is no team `b`; did you mean `a`?
t.yaml:8:43: policy.rules[1].match.team[1]: there is no team `aa`; did you mean `a`?
t.yaml:9:15: policy.rules[2].name: there is a rule `r` above; give it another name
t.yaml:9:27: policy.rules[2].require: the list is empty; name at least one, or leave the key out
t.yaml:9:39: policy.rules[2].models: the list is empty; name at least one pattern, or leave the key out
t.yaml:11:58: policy.budgets[0].unpriced: where tokens are counted, prices are not asked for; leave it out, or give the \
         budget in `$`
t.yaml:11:76: policy.budgets[0].per[1]: it is named twice; name it once
t.yaml:11:100: policy.budgets[0].soft[2]: it is not above the one before it; write the parts in rising order
t.yaml:12:15: policy.budgets[1].name: there is a budget `b` above; give it another name
t.yaml:14:7: policy.limits[0]: it does not say what it limits; add `requests`, `tokens`, `input_tokens`, `output_tokens`, \
         `concurrent` or `streams`, such as `requests: 60/minute`
t.yaml:15:15: policy.limits[1].name: there is a limit `l` above; give it another name
t.yaml:15:45: policy.limits[1].concurrent: a limit counts one thing, and this is the second; make another limit of it, with \
         a name of its own
t.yaml:15:54: policy.limits[1].wait: a client would have given up by then; write a duration of at most `10m`
t.yaml:16:20: audit.max_size: this is too little for a file, or more than anyone reads; write a size from `64KiB` to `16GiB`
t.yaml:16:32: audit.keep: a new file must not push out the only other one, nor can there be so many; write a number from \
         `2` to `10000`"
    );
}

#[test]
fn what_can_never_match_is_warned_of() {
    assert_eq!(
        warnings(
            "policy:
  rules:
    - { name: later, mode: observe }
    - { name: images, match: { operation: imagee, provider: [openai, opnai, '*'] } }
    - { name: all }
    - { name: never, action: deny, match: { operation: '!chat' } }
"
        ),
        [
            "4:43: policy.rules[1].match.operation: there is no operation `imagee`; did you mean `image`?",
            "4:70: policy.rules[1].match.provider[1]: there is no provider `opnai`; did you mean `openai`?",
            "6:7: policy.rules[3]: `never` is never asked: `all` above it matches every call; move it up, or name fewer calls above",
        ]
    );
    let pods = "teams: [{ name: a, match: { namespace: [a, b], labels: { app: x } } }]";
    let told = warnings(pods);
    assert!(told.len() == 2 && told.iter().all(|one| one.contains("`kubernetes.api` is off")), "{told:?}");
    assert_eq!(warnings(&format!("{pods}\nkubernetes: {{ api: in-cluster }}")), [""; 0]);
    let own = "providers: [{ name: vllm, hosts: [a.example.com] }]\npolicy: { rules: [{ name: a, match: { provider: vllm } }] }";
    assert_eq!(warnings(own), [""; 0]);
}

/// The first block of this kind in docs/policy.md that holds a text.
fn documented(holds: &str) -> &'static str {
    let page = include_str!("../../../../docs/policy.md");
    let blocks = page.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    blocks.into_iter().find(|block| block.contains(holds)).expect("it is there")
}

#[test]
fn the_examples_in_the_documentation_are_valid() {
    let config = parse(documented("teams:"));
    assert_eq!(config.warnings, []);
    assert_eq!((config.policy.spec.teams.len(), config.policy.spec.budgets.len()), (3, 3));
    assert_eq!(crate::parse_cases("docs/policy.md", documented("cases:")).unwrap().len(), 3);
}

#[test]
fn ten_thousand_teams_and_rules_have_room() {
    use std::fmt::Write as _;
    let (mut teams, mut rules) = (String::new(), String::new());
    for number in 0..10_000 {
        writeln!(teams, "  - {{ name: team-{number}, match: {{ user: user-{number} }} }}").unwrap();
        writeln!(rules, "    - {{ name: rule-{number}, match: {{ team: team-{number}, model: [gpt-5, 'claude-*'] }}, action: deny }}").unwrap();
    }
    let config = parse(&format!("teams:\n{teams}policy:\n  rules:\n{rules}"));
    assert_eq!((config.policy.spec.teams.len(), config.policy.spec.rules.len()), (10_000, 10_000));
}

/// Text made of the sections' own words, which gets further than random bytes.
fn section() -> impl Strategy<Value = String> {
    let words = [
        "name: a",
        "name: b",
        "match: {",
        "team: a",
        "model: [",
        "labels: {",
        "'!x*'",
        "when: 'now > now'",
        "action: deny",
        "models: x",
        "clamp: {",
        "max_output_tokens: 5",
        "hours: {",
        "days: mon-fri",
        "from: 24:00",
        "time_zone: UTC",
        "limit: $5",
        "limit: 5 tokens",
        "window: day",
        "per: [user, pod]",
        "soft: [5%, 3%]",
        "unpriced: {",
        "assume: {",
        "input: $1",
        "output: $0",
        "requests: 5/s",
        "concurrent: 1k",
        "wait: 5s",
        "mode: observe",
        "on_exhausted: cut",
        "require: stream",
        ", ",
        ", ",
        ", ",
        ", ",
        "}",
        "}",
        "]",
        "{",
        "[",
        "x",
        "~",
        ": ",
    ];
    let list = proptest::sample::select(vec![
        "teams: [{",
        "policy: { rules: [{",
        "policy: { budgets: [{",
        "policy: { limits: [{",
    ]);
    let inner = proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..20);
    (list, inner, any::<bool>()).prop_map(|(list, words, whole)| {
        let end = if list.starts_with("policy") { "}] }" } else { "}]" };
        format!("{list}{}{}", words.join(if whole { ", " } else { "" }), if whole { end } else { "" })
    })
}

proptest! {
    #[test]
    fn any_section_is_read_without_panic_and_errors_have_a_place(text in section()) {
        if let Err(Error::Invalid { problems, .. }) = Config::parse("any", &text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert_eq!(problem.place.line, 1);
                prop_assert!(!problem.to_string().contains(char::is_control), "{:?}", problem);
            }
        }
    }

    #[test]
    fn any_budget_is_kept_digit_by_digit(cents in 1u64..1_000_000_000, tokens in 1u64..1_000_000_000_000, at in 1u8..99) {
        let config = parse(&format!(
            "policy: {{ budgets: [{{ name: a, limit: ${}.{:02}, window: week, soft: [{at}%, 99%] }}, {{ name: b, limit: {tokens} input tokens, window: hour }}] }}",
            cents / 100, cents % 100,
        ));
        let budgets = &config.policy.spec.budgets;
        prop_assert_eq!(budgets[0].amount, Amount::Money(rust_decimal::Decimal::new(cents.cast_signed(), 2).normalize()));
        prop_assert_eq!(budgets[1].amount, Amount::Tokens(tokens, Count::Input));
        prop_assert_eq!(&budgets[0].soft[..], &[at, 99][..]);
    }
}
