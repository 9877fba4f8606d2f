//! What the end-to-end tests share: calls by curl, which knows nothing of the agent.
#![forbid(unsafe_code)]

pub mod calls;
pub mod logged;
pub mod origin;
pub mod probe;
pub mod stage;
pub mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tollgate_world::{Agent, Output, Program, World};

/// The path of OpenAI's chat completions.
pub const CHAT: &str = "https://api.openai.com/v1/chat/completions";

/// A chat completion by curl, which does not trust the agent unless told to.
pub fn chat(world: &World, model: &str, stream: bool) -> Program {
    let body = format!(
        r#"{{"model":"{model}","stream":{stream},"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"Hello, world"}}]}}"#
    );
    let body = if stream { body } else { body.replace(r#","stream_options":{"include_usage":true}"#, "") };
    post(world, CHAT, &body)
}

/// A POST of JSON by curl. The status is its last line.
pub fn post(world: &World, url: &str, body: &str) -> Program {
    world
        .client_command("curl")
        .args(["--silent", "--show-error", "--no-buffer", "--write-out", "\n%{http_code}", "--http1.1"])
        .args([
            "--header",
            "content-type: application/json",
            "--header",
            "authorization: Bearer sk-secret-of-the-caller",
        ])
        .args(["--data-binary", body, url])
}

/// What curl got: body and status.
pub fn answer(output: Output) -> Result<(String, u16)> {
    let text = output.success()?.text();
    let (body, status) = text.rsplit_once('\n').context("curl wrote no status")?;
    Ok((body.to_owned(), status.trim().parse().context("curl wrote no status")?))
}

/// The JSON that curl got, which must have come with status 200.
pub fn json(output: Output) -> Result<Value> {
    let (body, status) = answer(output)?;
    anyhow::ensure!(status == 200, "status {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("not JSON: {body}"))
}

/// The counts on the agent's metrics page, by name and labels.
pub fn samples(agent: &Agent) -> Result<BTreeMap<String, u64>> {
    let page = agent.metrics()?;
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
}

/// Waits until a metric's samples with these labels add up to `expected`: what ends is counted a moment after its client
/// has gone.
pub fn wait_for_count(agent: &Agent, name: &str, labels: &[&str], expected: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let samples = samples(agent)?;
        let counted = sum(&samples, name, labels);
        if counted == expected {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{name} {labels:?} is {counted}, not {expected}: {samples:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The sum of all samples of a metric whose labels contain each of `labels`.
pub fn sum(samples: &BTreeMap<String, u64>, name: &str, labels: &[&str]) -> u64 {
    let matches = |key: &str| key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label));
    samples.iter().filter(|(key, _)| matches(key)).map(|(_, value)| value).sum()
}
