//! Many calls at once by one curl, and what became of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tollgate_e2e::{CHAT, samples, sum};
use tollgate_provider::Gate;
use tollgate_world::{Agent, Output, Program, World};

/// The most output tokens that each of these calls allows. The stand-in writes fewer.
pub(crate) const RESERVED: u64 = 1_000;

pub(crate) const GENEROUS: Duration = Duration::from_mins(2);

/// So many streamed chats by `program`, a curl, all at once. Only the agent's certificate is trusted, so that none gets past it. Each
/// writes its status on a line of its own.
pub(crate) fn streams(world: &World, agent: &Agent, program: Program, count: usize, faults: &str) -> Result<Program> {
    let certificate = world.directory().join("agent-alone.pem");
    std::fs::write(&certificate, agent.ca_pem()?)?;
    let body = json!({
        "model": "gpt-4o-mini", "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": RESERVED,
        "messages": [{"role": "user", "content": "Hello, world"}],
    });
    Ok(program
        .args(["--silent", "--no-buffer", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", "300"])
        .args(["--header", "content-type: application/json", "--header", "authorization: Bearer sk-of-the-caller"])
        .args(["--header", &format!("x-provider-fault: {faults}"), "--data-binary", &body.to_string()])
        .args(["--write-out", "\nstatus %{http_code}\n", "--cacert"])
        .arg(certificate)
        .arg(format!("{CHAT}?n=[1-{count}]"))
        .timeout(GENEROUS))
}

/// How many calls ended with this status.
pub(crate) fn with_status(output: &Output, status: u16) -> usize {
    let line = format!("status {status}");
    String::from_utf8_lossy(&output.stdout).lines().filter(|found| *found == line).count()
}

/// How many streams came to their end.
pub(crate) fn whole(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| *line == "data: [DONE]").count()
}

/// Waits until something is so.
pub(crate) fn until(agent: &Agent, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + GENEROUS;
    while !holds()? {
        ensure!(Instant::now() < deadline, "never came to be: {what}\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Waits until so many streams wait at the gate.
pub(crate) fn held(agent: &Agent, gate: &Gate, count: usize) -> Result<()> {
    until(agent, &format!("{count} streams at the gate"), || {
        let waiting = gate.waiting();
        ensure!(waiting <= count, "{waiting} streams were let through, not {count}");
        Ok(waiting == count)
    })
}

/// Waits until so many calls were refused for this reason.
pub(crate) fn refused(agent: &Agent, reason: &str, count: u64) -> Result<()> {
    let label = format!(r#""{reason}""#);
    until(agent, &format!("{count} refusals by {reason}"), || {
        Ok(sum(&samples(agent)?, "tollgate_requests_total", &["refused", &label]) == count)
    })
}

/// Runs `tollgate policy budgets --output json` with the agent's configuration.
pub(crate) fn budgets(world: &World, agent: &Agent) -> Result<serde_json::Value> {
    let command = world.tollgate()?.args(["policy", "budgets", "--output", "json", "--config"]);
    let text = command.arg(agent.config_file()).run()?.success()?.text();
    serde_json::from_str(&text).with_context(|| text.clone())
}
