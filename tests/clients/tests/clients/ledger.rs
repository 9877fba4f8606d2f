//! The sum of what SDKs used, on the ledger: with and without their asking for it, when they leave half-way, and with faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tollgate_clients::{python, source};
use tollgate_provider::{Exchange, Outcome};
use tollgate_world::{Agent, World};

/// A loaded machine starts interpreters slowly.
const PATIENCE: Duration = Duration::from_mins(4);

/// One run of the SDKs through an agent.
struct Run {
    rows: Vec<Value>,
    truth: Vec<Exchange>,
}

fn run(config: &str) -> Result<Option<Run>> {
    let Some(python) = python("3.11", "")? else { return Ok(None) };
    let world = World::new()?;
    let agent = world.agent(config)?;
    let root = world.root_file();
    let client = world
        .client_command(python)
        .env("SSL_CERT_FILE", &root)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(agent.trust_variables()?)
        .arg(source("python").join("leaving.py"))
        .timeout(PATIENCE)
        .run()?
        .success()?;
    let settled = world.provider().truth().clone();
    let truth = settled.clone();
    world.in_internet(move || async move { settled.settled().await });
    let truth = truth.exchanges();
    let rows = ledger(&world, &agent, truth.len()).with_context(|| client.text())?;
    agent.stop(Duration::from_mins(1))?.success()?;
    Ok(Some(Run { rows, truth }))
}

/// The rows of the ledger, once there are so many.
fn ledger(world: &World, agent: &Agent, count: usize) -> Result<Vec<Value>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = world.tollgate()?.args(["tail", "--json", "-n", "10000"]).run()?;
        let rows = output.success()?.text();
        let rows: Vec<Value> = rows.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        if rows.len() >= count || Instant::now() > deadline {
            ensure!(rows.len() == count, "{} rows for {count} exchanges\n{}", rows.len(), agent.log());
            return Ok(rows);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Both sides of each exchange, which are told apart by what was asked: SDKs make one call after the other.
fn pairs(run: &Run) -> Vec<(&Value, &Exchange)> {
    let mut rows: Vec<&Value> = run.rows.iter().collect();
    // Version 7 of UUIDs sorts by time.
    rows.sort_by_key(|row| row["id"].as_str().expect("each row has an id").to_owned());
    let mut truth: Vec<&Exchange> = run.truth.iter().collect();
    truth.sort_by_key(|exchange| exchange.id);
    rows.into_iter().zip(truth).collect()
}

fn tokens(row: &Value) -> Option<(u64, u64)> {
    Some((row["input_tokens"].as_u64()?, row["output_tokens"].as_u64()?))
}

fn by_source(run: &Run) -> BTreeMap<String, usize> {
    let mut sources = BTreeMap::new();
    for row in &run.rows {
        *sources.entry(row["usage_source"].to_string()).or_default() += 1;
    }
    sources
}

fn about(run: &Run, row: &Value, exchange: &Exchange) -> String {
    format!("{row:#}\n{exchange:#?}\n{:?}", by_source(run))
}

#[test]
fn what_sdks_used_is_on_the_ledger_to_the_token_where_streams_are_read_to_their_end_for_those_who_leave() -> Result<()>
{
    let Some(run) = run("metering:\n  on_disconnect: drain\n")? else { return Ok(()) };
    let (mut counted, mut served) = ((0, 0), (0, 0));
    let mut drained = 0;
    for (row, exchange) in pairs(&run) {
        let about = || about(&run, row, exchange);
        ensure!(row["request_model"].as_str() == exchange.model.as_deref(), "{}", about());
        if exchange.outcome != Outcome::Completed || exchange.status != 200 {
            continue;
        }
        let truth = exchange.usage.context("a whole stream has its usage").with_context(about)?;
        ensure!(row["usage_source"] == "provider", "{}", about());
        ensure!(tokens(row) == Some((truth.input, truth.output)), "{}", about());
        drained += u64::from(row["outcome"] == "client_gone");
        let (input, output) = tokens(row).context("it was just compared")?;
        counted = (counted.0 + input, counted.1 + output);
        served = (served.0 + truth.input, served.1 + truth.output);
    }
    ensure!(drained > 0, "nobody who left was read on for: {:?}", by_source(&run));
    ensure!(counted == served && counted.1 > 0, "{counted:?} on the ledger, {served:?} in truth");
    Ok(())
}

#[test]
fn who_leaves_half_way_is_charged_what_was_told_and_an_estimate_that_says_so() -> Result<()> {
    let Some(run) = run("")? else { return Ok(()) };
    let mut left = 0;
    for (row, exchange) in pairs(&run) {
        let about = || about(&run, row, exchange);
        ensure!(row["request_model"].as_str() == exchange.model.as_deref(), "{}", about());
        let source = row["usage_source"].as_str().with_context(about)?;
        let planned = exchange.planned_usage;
        match exchange.outcome {
            // It was quicker than its client's leaving could travel.
            Outcome::Completed if row["outcome"] == "client_gone" => {}
            Outcome::Completed if exchange.status == 200 => {
                let truth = exchange.usage.context("a whole stream has its usage").with_context(about)?;
                ensure!(source == "provider" && tokens(row) == Some((truth.input, truth.output)), "{}", about());
            }
            // An error is not charged.
            _ if exchange.status != 200 => ensure!(source == "none" && row["cost_usd"].is_null(), "{}", about()),
            Outcome::ClientGone => {
                left += 1;
                let (input, output) = tokens(row).context("it is charged something").with_context(about)?;
                let planned = planned.context("a stream has a usage at its end").with_context(about)?;
                ensure!(row["outcome"] == "client_gone", "{}", about());
                ensure!(matches!(source, "estimated" | "partial"), "{}", about());
                // Told at the start there, and by every chunk here.
                if matches!(row["provider"].as_str(), Some("anthropic" | "gcp.gemini")) {
                    ensure!(input == planned.input, "{}", about());
                }
                ensure!(output <= planned.output, "more than the whole answer would have been: {}", about());
                ensure!(output > 0, "some of it had come: {}", about());
            }
            _ => ensure!(source != "provider", "it was cut off: {}", about()),
        }
    }
    ensure!(left >= 10, "{left} left: {:?}", by_source(&run));
    Ok(())
}
