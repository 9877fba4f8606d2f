//! h2load of nghttp2: HTTP/1.1 and HTTP/2, at saturation or at a fixed rate.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tollgate_world::Program;

use crate::contender::Running;
use crate::load;
use crate::measure::{Usage, cpu_time};
use crate::stage::Stage;

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// HTTP/2, or else HTTP/1.1.
    pub h2: bool,
    /// Connections.
    pub clients: u32,
    /// Requests in flight on each connection: 1 for HTTP/1.1.
    pub streams: u32,
    /// The file that is sent with each request.
    pub body: PathBuf,
    /// How long it is measured.
    pub time: Duration,
    /// How long before that it runs without being measured.
    pub warm_up: Duration,
}

/// What h2load measured, with what the contender and the provider used at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Answers a second.
    pub rate: f64,
    /// Requests without a good answer.
    pub failed: u64,
    /// Processors that the contender kept busy; none for direct calls.
    pub cores: Option<f64>,
    /// Processors that the provider kept busy.
    pub provider_cores: f64,
}

/// h2load's own numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    rate: f64,
    done: u64,
    good: u64,
    failed: u64,
}

/// Runs it at saturation.
pub fn saturate(stage: &Stage, target: &Running, load: &Load) -> Result<Outcome> {
    let started = command(stage, target, load)
        .arg(format!("--duration={}", milliseconds(load.time)))
        .arg(format!("--warm-up-time={}", milliseconds(load.warm_up)))
        .timeout(Duration::from_mins(2))
        .start()?;
    // What a contender uses is read well inside the time that h2load counts, when all connections are there.
    let edge = load.time / 20;
    thread::sleep(load.warm_up + edge);
    let before = usages(stage, target)?;
    thread::sleep(load.time.saturating_sub(edge * 2));
    let after = usages(stage, target)?;
    let output = started.wait(Duration::from_mins(1))?;
    let text = output.text();
    let summary =
        parse(&text).with_context(|| format!("h2load says something unexpected: {text}{}", output.errors()))?;
    ensure!(summary.good > 0, "no request succeeded: {}", brief(&text));
    let cores = |pair: (Option<Usage>, Option<Usage>)| Some(crate::measure::cores_between(pair.0?, pair.1?));
    Ok(Outcome {
        rate: summary.good as f64 / load.time.as_secs_f64(),
        failed: summary.failed + summary.done.saturating_sub(summary.good),
        cores: cores((before.0, after.0)),
        provider_cores: cores((Some(before.1), Some(after.1))).unwrap_or_default(),
    })
}

fn usages(stage: &Stage, target: &Running) -> Result<(Option<Usage>, Usage)> {
    let own = target.cgroup.as_deref().map(cpu_time).transpose()?;
    Ok((own, cpu_time(stage.origin_cgroup())?))
}

/// The command without what says how long or how often.
pub(crate) fn command(stage: &Stage, target: &Running, load: &Load) -> Program {
    let mut program = stage
        .load("h2load")
        .arg(format!("--clients={}", load.clients))
        .arg(format!("--max-concurrent-streams={}", load.streams))
        .arg(format!("--data={}", load.body.display()))
        .args(["-H", "content-type: application/json", "-H", "authorization: Bearer sk-bench"]);
    if !load.h2 {
        program = program.arg("--h1");
    }
    for (name, value) in &target.headers {
        program = program.arg("-H").arg(format!("{name}: {value}"));
    }
    if let Some(address) = target.address {
        program = program.arg(format!("--connect-to={address}"));
    }
    program.arg(load::chat_url(target))
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn parse(text: &str) -> Option<Summary> {
    let rate = text.lines().find(|line| line.starts_with("finished in "))?;
    let rate = rate.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.trim().parse().ok()?;
    let requests = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| -> Option<u64> {
        requests.split(", ").find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let codes = text.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    let good = codes.split(", ").find_map(|part| part.trim().strip_suffix(" 2xx")?.parse().ok())?;
    Some(Summary { rate, done: count("done")?, good, failed: count("failed")? })
}

fn brief(text: &str) -> String {
    text.lines()
        .filter(|line| line.starts_with("requests:") || line.starts_with("status codes:"))
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "starting benchmark...\nTLS Protocol: TLSv1.3\n\nfinished in 3.00s, 12345.67 req/s, 12.83MB/s\n\
        requests: 37037 total, 37100 started, 37037 done, 37030 succeeded, 7 failed, 2 errored, 0 timeout\n\
        status codes: 37030 2xx, 0 3xx, 4 4xx, 3 5xx\ntraffic: 38.49MB (40363590) total\n";

    #[test]
    fn the_summary_of_h2load_is_read() {
        let summary = Summary { rate: 12345.67, done: 37037, good: 37030, failed: 7 };
        assert_eq!(parse(SAID), Some(summary));
        assert_eq!(parse("h2load: bad option"), None);
    }
}
