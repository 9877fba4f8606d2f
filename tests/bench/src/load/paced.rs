//! Requests at a fixed rate, or one after the other, and the time that each took: HTTP/1.1 on kept connections.
//!
//! A request is due at a time that is fixed beforehand, evenly after the one before it, and its time counts from then, so what waits
//! behind a slow answer is counted too. h2load and wrk cannot: the one lets all its clients' requests go at the same instant, and the
//! other has no rate. Each connection is a thread that blocks, whose timers are exact.

mod connection;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::contender::Running;
use crate::load;
use crate::stage::{HOST, Stage};
use crate::stats;
use connection::Target;

/// The command line of `bench load-paced`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to send requests
    #[arg(long)]
    url: String,
    /// Connect there, and not where the URL's name leads
    #[arg(long)]
    connect: Option<SocketAddr>,
    /// The roots to trust, PEM
    #[arg(long)]
    ca: PathBuf,
    /// More headers, as `name: value`
    #[arg(long)]
    header: Vec<String>,
    /// What to send
    #[arg(long)]
    body: PathBuf,
    /// Connections
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Requests a second over all connections; 0: each as soon as the one before it is answered
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Measured time, in seconds
    #[arg(long)]
    seconds: f64,
    /// Time before it, in seconds
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
}

/// What the requests took, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Answered requests that were measured.
    pub count: usize,
    /// Requests without a good answer.
    pub failed: usize,
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// 99.9 % took no longer.
    pub p999: f64,
    /// 99 % of the requests left no later than this after they were due.
    pub late_p99: f64,
}

/// One request's.
struct Time {
    /// From when it was due to the end of its answer; none without a good one.
    took: Option<f64>,
    late: f64,
}

/// Runs this generator against a started contender.
pub fn run_load(stage: &Stage, target: &Running, connections: u32, rate: f64, time: Duration) -> Result<Outcome> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let body = stage.file("body.json", &load::chat_body(&target.model, 1000))?;
    let mut program = stage
        .load(own)
        .args(["load-paced", "--url", &load::chat_url(target), "--ca"])
        .arg(&target.root)
        .arg("--body")
        .arg(body)
        .args(["--connections", &connections.to_string(), "--rate", &rate.to_string()])
        .args(["--seconds", &time.as_secs_f64().to_string()]);
    if let Some(address) = target.address {
        program = program.args(["--connect", &address.to_string()]);
    }
    for (name, value) in &target.headers {
        program = program.args(["--header", &format!("{name}: {value}")]);
    }
    let text = program.run()?.success()?.text();
    serde_json::from_str(&text).with_context(|| format!("the generator printed `{text}`"))
}

/// Makes the load and prints the outcome as JSON.
pub fn run(args: &Args) -> Result<()> {
    let target = Target::new(args)?;
    let mut connections = (0..args.connections.max(1)).map(|_| target.connect()).collect::<Result<Vec<_>>>()?;
    let count = connections.len();
    let began = Instant::now();
    let from = began + Duration::from_secs_f64(args.warm_up);
    let end = from + Duration::from_secs_f64(args.seconds);
    let interval = (args.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / args.rate));
    let threads: Vec<_> = connections
        .drain(..)
        .enumerate()
        .map(|(number, mut connection)| {
            let target = target.clone();
            thread::spawn(move || {
                // A sleep may last this many nanoseconds longer than asked for; 50 000 unless set. Where it cannot be, `late` tells.
                let _exact = nix::sys::prctl::set_timerslack(1);
                let mut times = Vec::new();
                for turn in 0_u32.. {
                    let slot = turn * count as u32 + number as u32;
                    let due = interval.map_or_else(Instant::now, |interval| began + interval * slot);
                    if due >= end {
                        break;
                    }
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let late = due.elapsed().as_secs_f64();
                    let good = connection.exchange(&target.request);
                    if good.is_err() {
                        connection = target.connect()?;
                    }
                    if due >= from {
                        let took = matches!(good, Ok(true)).then(|| due.elapsed().as_secs_f64());
                        times.push(Time { took, late });
                    }
                }
                Ok::<_, anyhow::Error>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(of_one) => times.extend(of_one?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let outcome = outcome(&times);
    ensure!(outcome.count > 0, "no request was answered, of {}", times.len());
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&outcome)?).context("cannot print")
}

fn outcome(times: &[Time]) -> Outcome {
    let sorted = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let took = sorted(times.iter().filter_map(|time| time.took).collect());
    let late = sorted(times.iter().map(|time| time.late).collect());
    Outcome {
        count: took.len(),
        failed: times.len() - took.len(),
        p50: stats::percentile(&took, 0.5),
        p99: stats::percentile(&took, 0.99),
        p999: stats::percentile(&took, 0.999),
        late_p99: stats::percentile(&late, 0.99),
    }
}

/// The name and port that a URL's authority has, and its path.
fn split(url: &str) -> Option<(bool, &str, u16, &str)> {
    let (tls, rest) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => (authority, if tls { 443 } else { 80 }),
    };
    Some((tls, name, port, path))
}

/// The bytes of one request.
fn request(path: &str, headers: &[String], body: &[u8]) -> Vec<u8> {
    let more: String = headers.iter().flat_map(|header| [header.as_str(), "\r\n"]).collect();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\n\
         accept: application/json\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split() {
        assert_eq!(split("https://a.example/v1/x"), Some((true, "a.example", 443, "/v1/x")));
        assert_eq!(split("http://127.0.0.1:4000/x"), Some((false, "127.0.0.1", 4000, "/x")));
        assert_eq!(split("ftp://x/"), None);
        assert_eq!(split("nothing"), None);
    }

    #[test]
    fn failed_requests_are_counted_and_have_no_time() {
        let time = |took| Time { took, late: 0.0 };
        let outcome = outcome(&[time(Some(0.001)), time(None), time(Some(0.002)), time(Some(0.003))]);
        assert_eq!((outcome.count, outcome.failed), (3, 1));
        assert!((outcome.p50 - 0.002).abs() < 1e-12);
    }
}
