//! The generator as a process of its own on the client host, beside a contender that is measured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate_world::{Program, Running as Process};

use super::{ALL_OPEN, Report};
use crate::contender::Running;
use crate::load::chat_url;
use crate::measure::cpu_time;
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_mins(3);

/// What to do; the fields are those of [`super::Arguments`].
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// HTTP/2, all streams on one connection; or else HTTP/1.1, with a connection each.
    pub h2: bool,
    /// Streams at a time.
    pub streams: usize,
    /// Events of each.
    pub events: u32,
    /// Microseconds between two events; 0 is full speed.
    pub pace: u64,
    /// In which new streams follow those that end.
    pub seconds: f64,
    /// Streams begun in each second at first; 0: all at once.
    pub ramp: u32,
    /// Whether what is open at the end is cut off.
    pub cut: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self { h2: false, streams: 1, events: 500, pace: 0, seconds: 3.0, ramp: 0, cut: false }
    }
}

/// What the generator measured, and what the contender used from when all streams were open to the end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The generator's own report.
    pub report: Report,
    /// Processor time of the contender; none for direct calls.
    pub used: Option<Duration>,
}

/// Runs the generator to its end.
pub fn run_load(stage: &Stage, target: &Running, load: &Load) -> Result<Outcome> {
    let used = || target.cgroup.as_deref().map(cpu_time).transpose();
    let process = start(stage, target, load)?;
    // A generator that fails ends without saying so, and then its report says why.
    let _failed: Result<()> = process.wait_for(ALL_OPEN, PATIENCE);
    let before = used()?;
    let output = process.wait(PATIENCE)?.success()?;
    let after = used()?;
    let text = output.text();
    let report = serde_json::from_str(&text).with_context(|| format!("the generator printed `{text}`"))?;
    let used = before.zip(after).map(|(before, after)| after.used.saturating_sub(before.used));
    Ok(Outcome { report, used })
}

/// Starts the generator.
pub fn start(stage: &Stage, target: &Running, load: &Load) -> Result<Process> {
    command(stage, target, load)?.start()
}

fn command(stage: &Stage, target: &Running, load: &Load) -> Result<Program> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let mut program = stage
        .load(own)
        .args(["load-streams", "--url", &chat_url(target), "--model", &target.model])
        .arg("--ca")
        .arg(&target.root)
        .args(["--streams", &load.streams.to_string(), "--ramp", &load.ramp.to_string()])
        .args(["--events", &load.events.to_string(), "--pace", &load.pace.to_string()])
        .args(["--duration", &load.seconds.to_string()]);
    if load.h2 {
        program = program.args(["--h2", "--share", &load.streams.to_string()]);
    }
    if load.cut {
        program = program.arg("--cut");
    }
    for (name, value) in &target.headers {
        program = program.arg("--header").arg(format!("{name}: {value}"));
    }
    if let Some(address) = target.address {
        program = program.args(["--connect-to", &address.to_string()]);
    }
    Ok(program)
}
