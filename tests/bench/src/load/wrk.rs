//! wrk: HTTP/1.1, for what h2load does not do: a new connection for each request.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::h2load::Outcome;
use crate::contender::{Running, Scheme};
use crate::load;
use crate::measure::{cores_between, cpu_time};
use crate::stage::{HOST, Stage};

/// Requests of which each makes a new connection, with `clients` of them at once.
pub fn fresh(stage: &Stage, target: &Running, clients: u32, body: &Path, time: Duration) -> Result<Outcome> {
    let started = stage
        .load("wrk")
        .args(["--threads=1", "--timeout=10s"])
        .arg(format!("--connections={clients}"))
        .arg(format!("--duration={}s", time.as_secs().max(1)))
        .arg("--script")
        .arg(stage.file("fresh.lua", &script(target, body))?)
        .arg(url(target))
        .timeout(Duration::from_mins(2))
        .start()?;
    let edge = time / 10;
    thread::sleep(edge * 2);
    let usages = || {
        Ok::<_, anyhow::Error>((target.cgroup.as_deref().map(cpu_time).transpose()?, cpu_time(stage.origin_cgroup())?))
    };
    let before = usages()?;
    thread::sleep(time.saturating_sub(edge * 3));
    let after = usages()?;
    let output = started.wait(Duration::from_mins(1))?;
    let text = output.text();
    let (rate, good, failed) =
        parse(&text).with_context(|| format!("wrk says something unexpected: {text}{}", output.errors()))?;
    ensure!(good > 0, "no request succeeded: {text}");
    let cores = before.0.zip(after.0).map(|(before, after)| cores_between(before, after));
    Ok(Outcome { rate, failed, cores, provider_cores: cores_between(before.1, after.1) })
}

/// wrk connects where its URL says, so the provider's name is in the header, and is left out of the handshake of an address.
fn url(target: &Running) -> String {
    let path = format!("{}/chat/completions", target.path_prefix);
    match (target.scheme, target.address) {
        (Scheme::Https, Some(address)) => format!("https://{address}{path}"),
        (Scheme::Https, None) => format!("https://{HOST}{path}"),
        (Scheme::Http, _) => format!("{}{path}", load::base_url(target)),
    }
}

fn script(target: &Running, body: &Path) -> String {
    let mut headers = vec![
        ("Host".to_owned(), HOST.to_owned()),
        ("Connection".to_owned(), "close".to_owned()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Authorization".to_owned(), "Bearer sk-bench".to_owned()),
    ];
    headers.extend(target.headers.iter().cloned());
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("wrk.headers[{name:?}] = {value:?}\n")).collect();
    let headers = lines.concat();
    format!(
        "wrk.method = \"POST\"\n{headers}local file = assert(io.open({:?}, \"rb\"))\nwrk.body = file:read(\"*a\")\nfile:close()\n",
        body.display().to_string()
    )
}

/// Good answers a second, good and failed requests.
fn parse(text: &str) -> Option<(f64, u64, u64)> {
    let rate: f64 = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    let done: u64 = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    let bad = text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:"));
    let bad: u64 = bad.map_or(Some(0), |count| count.trim().parse().ok())?;
    let errors = text.lines().find_map(|line| line.trim().strip_prefix("Socket errors:")).unwrap_or_default();
    let errors: u64 = errors.split(',').filter_map(|part| part.trim().split(' ').nth(1)?.parse::<u64>().ok()).sum();
    let good = done.saturating_sub(bad);
    Some((rate * good as f64 / (done.max(1)) as f64, good, bad + errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_wrk_is_read() {
        let text = "Running 2s test @ https://x\n  1 threads and 8 connections\n  4000 requests in 2.00s, 1.0MB read\n\
            Requests/sec:   2000.00\nTransfer/sec:      0.5MB\n";
        assert_eq!(parse(text), Some((2000.0, 4000, 0)));
        let failing =
            format!("{text}  Non-2xx or 3xx responses: 1000\n  Socket errors: connect 1, read 2, write 0, timeout 3\n");
        assert_eq!(parse(&failing), Some((1500.0, 3000, 1006)));
        assert_eq!(parse("wrk: nothing"), None);
    }
}
