//! Bulk downloads through the tunnel: a host behind a provider's address that is no provider, so the agent relays its bytes
//! unread. Beside it HAProxy in TCP mode.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate_world::Running as Process;

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::{Contender, Kind, TCP_RELAY};
use crate::load::bulk::{READY, Report};
use crate::measure::cpu_time;
use crate::stage::{BULK, LOAD_CPU, Stage};

/// Bulk downloads.
pub(super) struct Bulk;

/// A provider that is behind the same address, so that the agent watches it.
const NEIGHBOUR: &str = "api.anthropic.com";
/// Whom the client asks for.
const NAME: &str = "downloads.example";

impl Figure for Bulk {
    fn name(&self) -> &'static str {
        "bulk"
    }

    fn about(&self) -> &'static str {
        "Bulk download through the tunnel, beside HAProxy in TCP mode (run in the turn of `haproxy`)"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        let takes_part = matches!(contender.traits().kind, Kind::Direct | Kind::Ours) || contender.name() == "haproxy";
        if takes_part { effort.pick(1, 3) } else { 0 }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let stage = round.stage;
        stage.world.dns().set(NEIGHBOUR, &[BULK], 3600);
        let _origin = origin(stage)?;
        let contender = if round.contender.traits().kind == Kind::Relay { TCP_RELAY } else { round.contender };
        let target = contender.start(stage)?;
        let to = target.address.unwrap_or(SocketAddr::new(BULK, 443));
        let mut samples = Vec::new();
        for connections in [1, 8] {
            let used = || target.cgroup.as_deref().map(cpu_time).transpose();
            let before = used()?;
            let report = download(stage, to, connections, round.effort.pick(1.5, 2.0))?;
            let used = before.zip(used()?).map(|(before, after)| after.used.saturating_sub(before.used));
            let case = format!("{connections} connections");
            let mut add = |figure, unit, value| {
                let sample = round.sample(figure, case.as_str(), unit, value);
                samples.push(Sample { contender: contender.name(), ..sample });
            };
            add("tunnel throughput", Unit::BytesPerSecond, report.bytes as f64 / report.seconds);
            if let Some(used) = used {
                add("tunnel bytes per core", Unit::BytesPerCoreSecond, report.bytes as f64 / used.as_secs_f64());
                add("tunnel cores", Unit::Cores, used.as_secs_f64() / report.seconds);
            }
        }
        Ok(samples)
    }
}

fn download(stage: &Stage, to: SocketAddr, connections: usize, seconds: f64) -> Result<Report> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = stage.load(own).args(["load-bulk", "--to", &to.to_string(), "--name", NAME]).args([
        "--connections",
        &connections.to_string(),
        "--duration",
        &seconds.to_string(),
    ]);
    let text = program.timeout(Duration::from_mins(1)).run()?.success()?.text();
    serde_json::from_str(&text).with_context(|| format!("the generator printed `{text}`"))
}

/// The other end, in the internet.
fn origin(stage: &Stage) -> Result<Process> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let process = stage
        .world
        .command_in(stage.origin_cgroup(), "nsenter")
        .arg(format!("--net={}", stage.world.internet().net_path().display()))
        .args(["taskset", "-c", &LOAD_CPU.to_string()])
        .arg(own)
        .args(["bulk-origin", "--listen", &SocketAddr::new(BULK, 443).to_string()])
        .start()?;
    process.wait_for(READY, Duration::from_mins(1))?;
    Ok(process)
}
