//! What connections cost that are not ours, and how long the hooks take, by the kernel's count.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::{Contender, Kind, Running};
use crate::load::connects;
use crate::measure::{Counting, programs};
use crate::stage::Stage;

/// Connections to hosts that are no provider's, on the port that is looked at.
pub(super) struct Connect;

/// A host that nobody knows.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

const NOT_OURS: &str = "not a provider";

/// The hooks that a connection passes, by their number in `enum bpf_attach_type`, and how often each runs.
const HOOKS: &[(u32, &str)] = &[
    (10, "connect4, a connection"),
    (3, "sock_ops, an event"),
    (34, "release, a socket"),
    (0, "dns_answer, a packet"),
];

impl Figure for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn about(&self) -> &'static str {
        "Connections to hosts that are no provider's, with Tollgate attached and without, and the time of its hooks"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        match contender.traits().kind {
            Kind::Direct | Kind::Ours => effort.pick(3, 7),
            _ => 0,
        }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let taker = Other::start(round.stage)?;
        let other = taker.address;
        let case = "not a provider, one after the other";
        let time = Duration::from_millis(round.effort.pick(1000, 2000));
        connects::run_load(round.stage, other, time / 5, true)?;
        let report = connects::run_load(round.stage, other, time, true)?;
        let rate = report.connects as f64 / report.seconds;
        let mut samples = vec![
            round.sample("connects a second", case, Unit::PerSecond, rate),
            round.sample("time of connect(), p50", case, Unit::Seconds, report.p50),
            round.sample("time of connect(), p99", case, Unit::Seconds, report.p99),
        ];
        // Once is enough: these are means of many runs.
        if round.number == 0 && round.contender.traits().kind == Kind::Ours {
            for (to, whose) in [(other, NOT_OURS), (round.stage.provider(), "a provider")] {
                samples.extend(hooks(round, &target, to, whose)?);
            }
        }
        Ok(samples)
    }
}

/// The time of each hook.
fn hooks(round: &Round<'_>, target: &Running, to: SocketAddr, whose: &str) -> Result<Vec<Sample>> {
    let pid = target.pid.context("the agent is a process")?;
    let _counting = Counting::start()?;
    let before = programs(pid)?;
    connects::run_load(round.stage, to, Duration::from_millis(300), whose == NOT_OURS)?;
    let after = programs(pid)?;
    let times = HOOKS.iter().filter_map(|(hook, name)| {
        let time = after.get(hook)?.mean_since(before.get(hook).copied().unwrap_or_default())?;
        Some(round.sample("time of a hook", format!("{name}, {whose}"), Unit::Seconds, time))
    });
    Ok(times.collect())
}

/// Somebody who takes every connection.
struct Other {
    address: SocketAddr,
    taking: Vec<JoinHandle<()>>,
}

impl Other {
    fn start(stage: &Stage) -> Result<Self> {
        let address = SocketAddr::new(OTHER, 443);
        // The address is there from an earlier round, or it is added.
        let listeners = stage.world.listen(&[address]).or_else(|_| {
            stage.world.add_address(OTHER)?;
            stage.world.listen(&[address])
        })?;
        let take = |listener: TcpListener| async move { while listener.accept().await.is_ok() {} };
        let taking = listeners.into_iter().map(|one| stage.world.internet().spawn(take(one))).collect();
        Ok(Self { address, taking })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.taking.iter().for_each(JoinHandle::abort);
    }
}
