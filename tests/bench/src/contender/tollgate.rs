//! Tollgate as it is shipped: the default policy, with metering and the ledger on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate_world::agent::{self, Agent};

use super::{Contender, Kind, Running, Traits};
use crate::stage::Stage;

/// No contender writes a line for each request: what passed through Tollgate is on its ledger.
const CONFIG: &str = "log: { level: warn }";

/// How long it may take to end. By then nobody calls.
const END: Duration = Duration::from_secs(30);

/// The agent, steering by eBPF.
pub(super) struct Tollgate;

impl Contender for Tollgate {
    fn name(&self) -> &'static str {
        "tollgate"
    }

    fn traits(&self) -> Traits {
        Traits::of(Kind::Ours)
    }

    fn version(&self) -> Result<String> {
        let binary = agent::binary()?;
        let said = Command::new(&binary).arg("version").output().context("cannot ask tollgate's version")?;
        let version = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned();
        let is_trained = binary.parent().is_some_and(|folder| folder.ends_with("trained"));
        Ok(if is_trained { version + " (--trained)" } else { version })
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let agent = stage.agent(CONFIG)?;
        let root = stage.file("tollgate-root.pem", &(agent.ca_pem()? + stage.world.root_pem()))?;
        let (cgroup, pid) = (Some(stage.world.agent_cgroup()), Some(agent.pid()));
        Ok(Running { cgroup, pid, root, keep: vec![Box::new(Ending(Some(agent)))], ..Running::new(stage) })
    }
}

/// Ends the agent in order: one that is being watched (`cargo xtask build --trained`) tells what it did when it ends.
struct Ending(Option<Agent>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(agent) = self.0.take()
            && let Err(error) = agent.stop(END)
        {
            eprintln!("  the agent did not end in order: {error:#}");
        }
    }
}
