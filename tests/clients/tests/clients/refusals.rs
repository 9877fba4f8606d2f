//! Refusals by policy as SDKs see them: the exception that each raises for a rule, a budget and a limit, for whole answers and for
//! streams, and for a stream that is cut; and that none is tried again where waiting does not help.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tollgate_clients::{first_python, packages, python, source};
use tollgate_world::World;

/// A loaded machine starts interpreters slowly.
const PATIENCE: Duration = Duration::from_mins(4);

/// What each case of the scripts meets. A call there reserves at least its 20 tokens of output.
const POLICY: &str = r#"
providers:
  - { name: ollama, dialect: ollama, hosts: [ollama.com] }
policy:
  contact: platform@example.com
  rules:
    - { name: not-this-one, match: { model: "*-denied" }, action: deny }
  budgets:
    - { name: nothing-left, match: { model: "*-spent" }, limit: 1 tokens, window: month }
    - { name: cut-short, match: { model: "*+words=300" }, per: [model], limit: 150 tokens, window: month, on_exhausted: cut }
  limits:
    - { name: once-a-day, match: { model: "*+words=3" }, per: [model], requests: 1/day }
    - { name: one-voice, match: { model: gpt-realtime }, requests: 1/day }
"#;

/// What an SDK made of one case.
struct Told {
    exception: String,
    status: Option<u64>,
    message: String,
}

/// Runs a script in a world with that policy, and gives what it told, what reached the provider, and the ledger's rows.
fn run_script(
    program: PathBuf,
    set: impl FnOnce(tollgate_world::Program) -> tollgate_world::Program,
) -> Result<(BTreeMap<String, Told>, usize, String)> {
    let world = World::new()?;
    let agent = world.agent(POLICY)?;
    let root = world.root_file();
    let client = world.client_command(program).env("SSL_CERT_FILE", &root).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = set(client.envs(agent.trust_variables()?)).timeout(PATIENCE).run()?.success()?.text();
    let mut told = BTreeMap::new();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| output.clone())?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let case = format!("{}: {}", text("api"), text("case"));
        let what = Told { exception: text("exception"), status: line["status"].as_u64(), message: text("message") };
        ensure!(told.insert(case, what).is_none(), "told twice: {line}");
    }
    let truth = world.provider().truth().clone();
    let settled = truth.clone();
    world.in_internet(move || async move { settled.settled().await });
    agent.stop(Duration::from_mins(1))?.success()?;
    let rows = world.tollgate()?.args(["tail", "--json", "-n", "10000"]).run()?.success()?.text();
    Ok((told, truth.exchanges().len(), rows))
}

/// Runs a script, and checks that nothing was tried twice. `sent` of its calls reach the provider.
fn run(
    program: PathBuf,
    set: impl FnOnce(tollgate_world::Program) -> tollgate_world::Program,
    sent: usize,
) -> Result<BTreeMap<String, Told>> {
    let (told, reached, rows) = run_script(program, set)?;
    ensure!(reached == sent, "{reached} calls reached the provider, not {sent}\n{rows}");
    let calls = told.len();
    ensure!(rows.lines().count() == calls, "a row for each call and no try more: {calls} calls\n{rows}");
    Ok(told)
}

/// Holds one SDK's exceptions against what it documents for the statuses.
fn check(told: &BTreeMap<String, Told>, api: &str, denied: &str, spent: &str, late: &str) {
    let said = |case: &str| told.get(case).unwrap_or_else(|| panic!("{case} was not tried"));
    for way in [api.to_owned(), format!("{api}, streamed")] {
        let Told { exception, status, message } = said(&format!("{way}: denied"));
        assert_eq!((exception.as_str(), *status), (denied, Some(403)), "{way}: {message}");
        assert!(message.contains("not-this-one") && message.contains("platform@example.com"), "{way}: {message}");
        let Told { exception, status, message } = said(&format!("{way}: spent"));
        assert_eq!((exception.as_str(), *status), (spent, Some(429)), "{way}: {message}");
        assert!(message.contains("nothing-left") && message.contains("platform@example.com"), "{way}: {message}");
    }
    if let Some(first) = told.get(&format!("{api}: first")) {
        assert_eq!(first.exception, "", "{api}: {}", first.message);
        let Told { exception, status, message } = said(&format!("{api}: often"));
        assert_eq!((exception.as_str(), *status), (spent, Some(429)), "{api}: {message}");
        assert!(message.contains("once-a-day"), "{api}: {message}");
    }
    let Told { exception, message, .. } = said(&format!("{api}: late"));
    assert_eq!(exception, late, "{api}: {message}");
    // Mistral's SDK says no more of an error in a stream than that it is no chunk.
    let names_it = ["cut-short", "insufficient_qu"].iter().any(|name| message.contains(name));
    assert!(names_it, "{api}: {message}");
}

#[test]
fn python_sdks_raise_the_exception_that_goes_with_each_refusal() -> Result<()> {
    let Some(python) = python("3.11", "")? else { return Ok(()) };
    // Of each of the four APIs one call that is the first, and one that is cut.
    let told = run(python, |program| program.arg(source("python").join("refused_sdks.py")), 8)?;
    check(&told, "chat", "PermissionDeniedError", "RateLimitError", "APIError");
    check(&told, "responses", "PermissionDeniedError", "RateLimitError", "APIError");
    check(&told, "messages", "PermissionDeniedError", "RateLimitError", "APIStatusError");
    check(&told, "gemini", "ClientError", "ClientError", "ClientError");
    Ok(())
}

#[test]
fn python_sdks_of_other_dialects_raise_the_exception_that_goes_with_each_refusal() -> Result<()> {
    let python = first_python("-clouds")?;
    let script = source("python").join("refused_clouds.py");
    let told = run(python, |program| program.env("OLLAMA_HOST", "https://ollama.com").arg(script), 4)?;
    check(&told, "bedrock", "AccessDeniedException", "ThrottlingException", "EventStreamError");
    // Its streams end by saying that they failed, as the provider's own do, and it raises nothing.
    check(&told, "cohere", "ForbiddenError", "TooManyRequestsError", "");
    check(&told, "mistral", "SDKError", "SDKError", "ResponseValidationError");
    check(&told, "ollama", "ResponseError", "ResponseError", "ResponseError");
    Ok(())
}

#[test]
fn node_sdks_raise_the_exception_that_goes_with_each_refusal() -> Result<()> {
    let modules = packages("node")?.join("node_modules");
    let node =
        modules.join(format!("node-linux-{}/bin/node", if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" }));
    let script = source("node").join("refused_sdks.cjs");
    let told = run(node, |program| program.env("NODE_PATH", &modules).arg(script), 8)?;
    check(&told, "chat", "PermissionDeniedError", "RateLimitError", "APIError");
    check(&told, "responses", "PermissionDeniedError", "RateLimitError", "APIError");
    check(&told, "messages", "PermissionDeniedError", "RateLimitError", "APIError");
    check(&told, "gemini", "ApiError", "ApiError", "ApiError");
    Ok(())
}

#[test]
fn on_a_websocket_a_refusal_is_an_error_event_and_the_session_goes_on() -> Result<()> {
    let Some(python) = python("3.11", "")? else { return Ok(()) };
    let (told, _, rows) = run_script(python, |program| program.arg(source("python").join("refused_websocket.py")))?;
    let said = |case: &str| {
        let told = told.get(&format!("websocket: {case}")).unwrap_or_else(|| panic!("{case} was not tried\n{rows}"));
        (told.exception.as_str(), told.message.as_str())
    };
    for good in ["first", "again"] {
        assert_eq!(said(good).0, "response.completed", "{good}: {}", said(good).1);
    }
    assert_eq!(said("realtime, first").0, "response.done", "{}", said("realtime, first").1);
    for (case, name) in [("denied", "not-this-one"), ("spent", "nothing-left"), ("realtime, often", "one-voice")] {
        let (event, message) = said(case);
        assert_eq!(event, "error", "{case}");
        assert!(message.contains(name) && message.contains("platform@example.com"), "{case}: {message}");
    }
    assert_eq!(said("realtime, goes on").0, "session.updated");
    let refused = rows.lines().filter(|row| row.contains(r#""outcome":"refused""#)).count();
    assert_eq!(refused, 3, "{rows}");
    Ok(())
}
