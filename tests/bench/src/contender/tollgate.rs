//! Tollgate as it is shipped: the default policy, with metering and the ledger on.

use std::process::Command;

use anyhow::{Context as _, Result};
use tollgate_world::agent;

use super::{Contender, Kind, Running, Traits};
use crate::stage::Stage;

/// No contender writes a line for each request: what passed through Tollgate is on its ledger.
const CONFIG: &str = "log: { level: warn }";

/// The agent, steering by eBPF.
pub(super) struct Tollgate;

impl Contender for Tollgate {
    fn name(&self) -> &'static str {
        "tollgate"
    }

    fn traits(&self) -> Traits {
        Traits { kind: Kind::Ours, client_tls: true, upstream_tls: true, client_h2: true, streams: true, note: "" }
    }

    fn version(&self) -> Result<String> {
        let said = Command::new(agent::binary()?).arg("version").output().context("cannot ask tollgate's version")?;
        Ok(String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned())
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let agent = stage.agent(CONFIG)?;
        let root = stage.file("tollgate-root.pem", &(agent.ca_pem()? + stage.world.root_pem()))?;
        let (cgroup, pid) = (Some(stage.world.agent_cgroup()), Some(agent.pid()));
        Ok(Running { cgroup, pid, root, keep: vec![Box::new(agent)], ..Running::new(stage) })
    }
}
