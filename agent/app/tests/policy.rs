//! `tollgate policy` and `tollgate config` as a person or a script meets them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const CONFIG: &str = "
teams:
  - { name: search, cost_center: CC-1042, match: { unit: \"search-*.service\" } }
  - { name: ci, match: { user: jenkins } }
policy:
  contact: help@example.com
  rules:
    - { name: ci-small, match: { team: ci }, models: \"gpt-5-mini*\", clamp: { max_output_tokens: 4096 },
        hours: { days: mon-fri, from: 08:00, until: 18:00, time_zone: UTC } }
    - { name: no-images, match: { operation: image }, action: deny, mode: observe }
    - { name: adults, when: caller.uid < 1000, action: deny }
  budgets:
    - { name: search-month, match: { team: search }, limit: $500, window: month }
    - { name: tokens, per: user, limit: 10M tokens, window: day }
  limits:
    - { name: rpm, match: { team: ci }, requests: 60/minute }
admin: { listen: off }
ledger: { directory: off }
";

fn tollgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).stdin(Stdio::null()).env("TZ", "UTC").output().expect("the command starts")
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

fn explain(config: &str, more: &[&str]) -> String {
    out(&tollgate(&[&["policy", "explain", "--config", config], more].concat()))
}

fn explain_json(config: &str, more: &[&str]) -> Value {
    serde_json::from_str(&explain(config, &[more, &["--output", "json"]].concat())).expect("JSON")
}

#[test]
fn an_explanation_says_team_rule_and_why_each_other_does_not_match() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    let call = ["--unit", "search-api.service", "--user", "alice", "--uid", "1000", "--model", "gpt-5", "--stream"];
    let told = explain(&config, &[&call[..], &["--operation", "image", "--at", "2026-11-23T10:00"]].concat());
    for line in [
        "call      any program of alice (uid 1000), unit search-api.service",
        "          image of gpt-5 at api.openai.com (openai) as a stream, Mon 2026-11-23 10:00 UTC",
        "team      search, paid by CC-1042",
        "decision  allowed by policy.default, as no rule matches, as far as budgets and limits have room",
        "teams     search  matches",
        "          ci      not asked",
        "rules     ci-small   team is `search`, not ci",
        "          no-images  matches, observes, and would have refused it",
        "          adults     `caller.uid < 1000` does not hold",
        "budgets   search-month  matches",
        "          tokens        matches, share of user=alice",
        "limits    rpm  team is `search`, not ci",
    ] {
        assert!(told.lines().any(|found| found == line), "{line:?} is missing:\n{told}");
    }
    let refused =
        explain(&config, &["--user", "jenkins", "--uid", "1001", "--model", "gpt-5", "--at", "2026-11-23T10:00Z"]);
    assert!(
        refused.contains("decision  refused (403) by rule ci-small\n") && refused.contains("Ask help@example.com"),
        "{refused}"
    );
    assert!(refused.contains("no-images  not asked"), "{refused}");
}

#[test]
fn an_explanation_is_json_for_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    let call = [
        "--user",
        "jenkins",
        "--uid",
        "1001",
        "--model",
        "gpt-5-mini",
        "--label",
        "app=web",
        "--host",
        "api.openai.com",
    ];
    let told = explain_json(&config, &[&call[..], &["--at", "2026-11-23T10:00:00+01:00"]].concat());
    assert_eq!(told["team"], "ci");
    let decision = &told["decision"];
    assert_eq!((&decision["allowed"], &decision["rule"]), (&true.into(), &"ci-small".into()));
    assert_eq!(decision["max_output_tokens"], 4096);
    assert_eq!(told["rules"][1]["verdict"], "not_reached");
    assert_eq!(told["budgets"][1]["group"], "user=jenkins");
    assert_eq!(told["call"]["at"], "2026-11-23T09:00:00Z");
    let night = explain_json(&config, &[&call[..], &["--at", "2026-11-28T23:00Z"]].concat());
    assert_eq!((&night["decision"]["allowed"], &night["decision"]["status"]), (&false.into(), &403.into()));
}

#[test]
fn a_process_that_runs_here_is_looked_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    let mut process = Command::new("sleep").arg("600").spawn().expect("it starts");
    let told = explain_json(&config, &["--pid", &process.id().to_string(), "--model", "gpt-5"]);
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    let call = &told["call"];
    // `sleep` may be one of many programs in one file, such as busybox or coreutils.
    assert!(call["program"].as_str().is_some_and(|program| !program.is_empty()), "{call}");
    assert_eq!(call["uid"], nix::unistd::getuid().as_raw());
    let gone = refused(&tollgate(&["policy", "explain", "--config", &config, "--pid", &process.id().to_string()]), 66);
    assert!(gone.contains("there is no process"), "{gone}");
}

#[test]
fn a_wrong_call_is_told_with_what_is_right() {
    for (arguments, told) in [
        (&["--operation", "imagee"][..], "those that are known: chat"),
        (&["--at", "noon"], "write it as 2026-11-28T23:00"),
        (&["--label", "app"], "write it as app=web"),
        (&["--user", "no such user"], "give its --uid too"),
    ] {
        let error = refused(&tollgate(&[&["policy", "explain"], arguments].concat()), 64);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn cases_hold_or_are_told_with_what_differs_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    let good = "
cases:
  - name: search may
    call: { unit: search-api.service, uid: 1000, user: alice, model: gpt-5 }
    expect: { decision: allow, team: search, rule: default, clamp: none, budgets: [tokens, search-month], limits: [] }
  - name: builds are held short
    call: { user: jenkins, uid: 1001, model: gpt-5-mini, at: 2026-11-23T10:00:00Z }
    expect: { decision: allow, rule: ci-small, clamp: 4096, limits: [rpm] }
";
    let wrong = "
cases:
  - name: builds may use all
    call: { user: jenkins, uid: 1001, model: gpt-5, at: 2026-11-23T10:00:00Z }
    expect: { decision: allow, rule: default, team: search, clamp: 100, budgets: [search-month] }
";
    let (good, wrong) = (write(folder.path(), "good.yaml", good), write(folder.path(), "wrong.yaml", wrong));
    assert_eq!(
        out(&tollgate(&["policy", "test", "--config", &config, &good])),
        "ok    search may\nok    builds are held short\n2 of 2 cases hold\n"
    );
    let failed = tollgate(&["policy", "test", "--config", &config, &good, &wrong]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let told = String::from_utf8(failed.stdout).expect("UTF-8");
    for line in [
        &format!("wrong builds may use all ({wrong}:3)"),
        "      decision: expected allow, found deny",
        "        Rule \"ci-small\" does not allow the model \"gpt-5\". It allows: gpt-5-mini*. Ask help@example.com.",
        "      rule: expected default, found ci-small",
        "      team: expected search, found ci",
        "        search: it has no unit, and search-*.service is wanted",
        "      clamp: expected 100, found none",
        "      budgets: expected [search-month], found [tokens]",
        "        search-month: team is `ci`, not search",
        "2 of 3 cases hold",
    ] {
        assert!(told.lines().any(|found| found == line), "{line:?} is missing:\n{told}");
    }
}

#[test]
fn a_case_that_names_what_is_not_there_is_a_wrong_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    for (expect, told) in [
        ("{ rule: ci-smal }", "the configuration has no rule `ci-smal`"),
        ("{ team: nobody }", "no team `nobody`"),
        ("{ budgets: [all] }", "no budget `all`"),
        ("{ limits: [rps] }", "no limit `rps`"),
        ("{ decision: refuse }", "cases.yaml:1:40: cases[0].expect.decision: `refuse` is not possible here"),
    ] {
        let file = write(folder.path(), "cases.yaml", &format!("cases: [{{ name: a, expect: {expect} }}]\n"));
        let error = refused(&tollgate(&["policy", "test", "--config", &config, &file]), 64);
        assert!(error.contains(told), "{error}");
    }
    let missing = refused(&tollgate(&["policy", "test", "--config", &config, "/nowhere/cases.yaml"]), 64);
    assert!(missing.contains("/nowhere/cases.yaml"), "{missing}");
}

#[test]
fn a_configuration_is_checked_with_its_warnings_and_its_price_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = write(folder.path(), "good.yaml", CONFIG);
    let output = tollgate(&["config", "check", &good]);
    assert_eq!((out(&output), output.stderr.len()), (format!("{good} can be used\n"), 0));
    let odd = format!("{CONFIG}\nproviders: []\n").replace("operation: image", "operation: imagee");
    let odd = tollgate(&["config", "check", &write(folder.path(), "odd.yaml", &odd)]);
    assert!(out(&odd).contains("can be used"));
    assert!(String::from_utf8_lossy(&odd.stderr).contains("warning: "), "{odd:?}");
    let wrong = write(folder.path(), "wrong.yaml", &CONFIG.replace("$500", "500"));
    let told = refused(&tollgate(&["config", "check", &wrong]), 64);
    assert!(told.contains("wrong.yaml:13:") && told.contains("policy.budgets[0].limit"), "{told}");
    let prices = write(folder.path(), "prices.yaml", "prices: {}");
    let named = write(folder.path(), "named.yaml", &format!("prices: {{ files: [{prices}] }}"));
    assert!(refused(&tollgate(&["config", "check", &named]), 64).contains("prices.yaml:1:"));
}

#[test]
fn the_schema_names_every_section() {
    let schema: Value = serde_json::from_str(&out(&tollgate(&["config", "schema"]))).expect("JSON");
    for section in ["teams", "policy", "audit", "intercept", "kubernetes"] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn budgets_without_an_agent_or_a_ledger_are_told_to_be_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), "tollgate.yaml", CONFIG);
    let told = refused(&tollgate(&["policy", "budgets", "--config", &config]), 66);
    assert!(told.contains("no agent runs here and ledger.directory is off"), "{told}");
    let told = refused(&tollgate(&["policy", "budgets", "--config", &config, "--ledger", "/nowhere/ledger.db"]), 66);
    assert!(told.contains("/nowhere/ledger.db"), "{told}");
}
