//! A hundred megabytes pass, and few of them are in the agent at any time.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate_e2e::probe::{Body, Plan, Request};
use tollgate_e2e::stage::Stage;
use tollgate_provider::{Outcome, sha256};

use crate::{GENEROUS, PROBE};

const HOST: &str = "api.openai.com";
const LENGTH: usize = 100_000_000;
/// More memory than this for one exchange would mean that it is collected, in bytes.
const BOUND: u64 = 24 << 20;

/// The agent's memory: forgets its peak when made, tells by how much it was exceeded since.
struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    fn watch(pid: u32) -> Result<Self> {
        // Resets the peak; see proc_pid_clear_refs(5).
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, before: status(pid, "VmRSS:")? })
    }

    fn grown(&self) -> Result<u64> {
        Ok(status(self.pid, "VmHWM:")?.saturating_sub(self.before))
    }
}

/// A figure of `/proc/PID/status`, in bytes.
fn status(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

fn request(http2: bool, method: &str, path: &str) -> Request {
    let host = (!http2).then(|| ("Host".to_owned(), HOST.to_owned()));
    let headers = host.into_iter().chain([("authorization".to_owned(), "Bearer key".to_owned())]).collect();
    Request { method: method.to_owned(), path: path.to_owned(), headers, ..Request::default() }
}

fn plan(http2: bool, request: Request) -> Plan {
    Plan { host: HOST.to_owned(), http2, requests: vec![request], ..Plan::default() }
}

fn upload(http2: bool, path: &str) -> Request {
    let mut request = request(http2, "POST", path);
    request.headers.push(("content-length".to_owned(), LENGTH.to_string()));
    Request { body: Some(Body { seed: 3, length: LENGTH, pieces: Vec::new() }), ..request }
}

fn assert_large_bodies_pass(http2: bool) -> Result<()> {
    let stage = Stage::new("")?;
    let body = Body { seed: 3, length: LENGTH, pieces: Vec::new() };
    let digest = body.sha256();
    stage.steered(PROBE, &plan(http2, request(http2, "GET", "/bytes/1000000")))?;
    let memory = Memory::watch(stage.agent.pid())?;
    let down = stage.steered(PROBE, &plan(http2, request(http2, "GET", &format!("/bytes/{LENGTH}?seed=3"))))?;
    let grown_down = memory.grown()?;
    let up = stage.steered(PROBE, &plan(http2, upload(http2, "/echo")))?;
    let grown = memory.grown()?;
    let answer = &down.report.answers[0];
    assert_eq!((answer.length, &answer.sha256, &answer.error), (LENGTH as u64, &digest, &None));
    let exchange = &up.exchanges[0];
    assert_eq!((exchange.request_bytes, exchange.request_sha256.as_ref()), (LENGTH as u64, Some(&digest)));
    println!("http2: {http2}: {} KiB more memory down, {} KiB both", grown_down >> 10, grown >> 10);
    assert!(grown < BOUND, "{} KiB more memory", grown >> 10);
    Ok(())
}

#[test]
fn over_http1() -> Result<()> {
    assert_large_bodies_pass(false)
}

#[test]
fn over_http2() -> Result<()> {
    assert_large_bodies_pass(true)
}

/// The client does not read: the provider must be held up, and everybody before it. `sends`: nor does it read what the client
/// sends meanwhile, as it cannot send that back.
fn assert_a_client_that_does_not_read_holds_the_provider_up(http2: bool, sends: bool) -> Result<()> {
    let stage = Stage::new("")?;
    let truth = stage.world.provider().truth().clone();
    stage.steered(PROBE, &plan(http2, request(http2, "GET", "/bytes/1000000")))?;
    truth.clear();
    let memory = Memory::watch(stage.agent.pid())?;
    let asked = if sends { upload(http2, "/mirror") } else { request(http2, "GET", &format!("/bytes/{LENGTH}")) };
    let plan = plan(http2, Request { stall: true, ..asked });
    let client = stage.world.client_command(PROBE).stdin(serde_json::to_vec(&plan)?).start()?;
    // Until nothing has moved for a while.
    let (mut written, mut still) = (0, 0);
    while still < 10 {
        sleep(Duration::from_millis(100));
        let now = truth.exchanges().first().map_or(0, |exchange| exchange.response_bytes);
        still = if now == written && now > 0 { still + 1 } else { 0 };
        written = now;
        anyhow::ensure!(client.status().is_none(), "the client ended: {}", client.stderr());
    }
    let grown = memory.grown()?;
    println!("http2: {http2}, sends: {sends}: held up at {} KiB, {} KiB more memory", written >> 10, grown >> 10);
    assert!(written < LENGTH as u64 / 2, "{written} bytes were sent to a client that does not read");
    assert!(grown < BOUND, "{} KiB more memory", grown >> 10);
    client.kill();
    if !sends {
        assert_eq!(stage.settled()?[0].outcome, Outcome::ClientGone);
        stage.agent.metrics_when(GENEROUS, |page| page.contains(r#"outcome="client_gone""#))?;
    }
    Ok(())
}

#[test]
fn a_client_that_does_not_read_holds_the_provider_up_over_http1() -> Result<()> {
    assert_a_client_that_does_not_read_holds_the_provider_up(false, false)
}

#[test]
fn a_client_that_does_not_read_holds_the_provider_up_over_http2() -> Result<()> {
    assert_a_client_that_does_not_read_holds_the_provider_up(true, false)
}

#[test]
fn a_client_that_sends_and_does_not_read_holds_the_provider_up_over_http1() -> Result<()> {
    assert_a_client_that_does_not_read_holds_the_provider_up(false, true)
}

#[test]
fn a_client_that_sends_and_does_not_read_holds_the_provider_up_over_http2() -> Result<()> {
    assert_a_client_that_does_not_read_holds_the_provider_up(true, true)
}

#[test]
fn what_the_bodies_hold_is_what_the_provider_says() {
    let body = Body { seed: 3, length: 1000, pieces: vec![7] };
    assert_eq!(body.sha256(), sha256(&body.cut().concat()));
}
