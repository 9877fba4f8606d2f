//! A world with an agent, and the same client on both ways: directly, and through the agent.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tollgate_provider::{Builder, Exchange};
use tollgate_world::{Agent, Program, World};

use crate::probe::{self, Plan, Report};

const GENEROUS: Duration = Duration::from_mins(1);

/// A world with an agent that its client host trusts.
pub struct Stage {
    /// The world.
    pub world: World,
    /// The agent, ready.
    pub agent: Agent,
}

/// What one run of a plan showed on both ends.
pub struct Run {
    /// What the client saw.
    pub report: Report,
    /// What the stand-in provider saw, in order of arrival.
    pub exchanges: Vec<Exchange>,
}

impl Stage {
    /// Starts both. `config` is YAML and may be empty.
    pub fn new(config: &str) -> Result<Self> {
        Self::with_provider(config, |provider| provider)
    }

    /// The same, with a stand-in provider set up by `configure`.
    pub fn with_provider(
        config: &str,
        configure: impl FnOnce(Builder<'_>) -> Builder<'_> + Send + 'static,
    ) -> Result<Self> {
        let world = World::with_provider(configure)?;
        let agent = world.agent(config)?;
        world.trust(&agent.ca_pem()?)?;
        Ok(Self { world, agent })
    }

    /// Carries a plan out without and with the agent, and makes sure that it was so.
    pub fn both(&self, probe: &str, plan: &Plan) -> Result<(Run, Run)> {
        let (direct, steered) = (self.direct(probe, plan)?, self.steered(probe, plan)?);
        ensure!(direct.report.certificate != steered.report.certificate, "the call did not pass the agent");
        Ok((direct, steered))
    }

    /// Carries a plan out without the agent, from beside its cgroup.
    pub fn direct(&self, probe: &str, plan: &Plan) -> Result<Run> {
        self.run(self.world.agent_command(probe), plan)
    }

    /// Carries a plan out from where the agent steers, as it shows.
    pub fn steered(&self, probe: &str, plan: &Plan) -> Result<Run> {
        self.run(self.world.client_command(probe), plan)
    }

    /// What the stand-in provider saw, once no exchange is open.
    pub fn settled(&self) -> Result<Vec<Exchange>> {
        let truth = self.world.provider().truth().clone();
        self.world.in_internet(move || async move {
            let settled = tokio::time::timeout(GENEROUS, truth.settled()).await;
            settled.with_context(|| format!("an exchange does not end: {:#?}", truth.exchanges()))?;
            Ok(truth.exchanges())
        })
    }

    fn run(&self, program: Program, plan: &Plan) -> Result<Run> {
        self.world.provider().truth().clear();
        let report = probe::run(program, plan)?;
        Ok(Run { report, exchanges: self.settled()? })
    }
}
