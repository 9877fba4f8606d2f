//! One client in a world of its own: directly, without trust in the agent, and through it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tollgate_provider::{Exchange, Sums};
use tollgate_world::{Agent, Program, World};

use crate::counted::{self, Which};
use crate::said::Said;
use crate::served::{Served, same, served};

/// A loaded machine starts interpreters slowly.
const PATIENCE: Duration = Duration::from_mins(4);
/// For what is counted a moment after its client has ended.
pub(crate) const SETTLED: Duration = Duration::from_secs(20);

/// The header by which SDKs tell the provider that this is not their first try.
const RETRY: &[&str] = &["x-stainless-retry-count"];

/// The paths of all requests start so.
const EVERYTHING: &str = "/";

/// How a client comes to trust the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By the variables that `tollgate exec` sets.
    Variables,
    /// By the system's store of roots, to which the operator adds the agent's.
    System,
}

/// A client, and how it is held against itself.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a peculiarity of its own, and any client may have any of them"
)]
pub struct Trial {
    world: World,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    config: &'static str,
    trust: Trust,
    own_headers: &'static [&'static str],
    compared: &'static str,
    calls: usize,
    retries: bool,
    abandons: bool,
    signs: bool,
    tells_peer: bool,
    tells_issuer: bool,
    before: fn(&World) -> Result<()>,
    fill_store: fn(&World) -> Result<()>,
}

/// What one run showed.
struct Run {
    said: Said,
    exchanges: Vec<Exchange>,
    sums: Sums,
    /// How many TLS handshakes the provider finished.
    connections: u64,
}

impl Trial {
    /// A client in a new world.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            world: World::new()?,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            config: "",
            trust: Trust::Variables,
            own_headers: &[],
            compared: EVERYTHING,
            calls: 1,
            retries: true,
            abandons: false,
            signs: false,
            tells_peer: true,
            tells_issuer: true,
            before: |_| Ok(()),
            fill_store: |_| Ok(()),
        })
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The agent's configuration.
    #[must_use]
    pub fn config(mut self, config: &'static str) -> Self {
        self.config = config;
        self
    }

    /// How it comes to trust the agent; by variables unless set.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Request headers that the client itself fills differently in each run, in lower case.
    #[must_use]
    pub fn own_headers(mut self, names: &'static [&'static str]) -> Self {
        self.own_headers = names;
        self
    }

    /// The client does not try again by itself when its connection fails: its user does.
    #[must_use]
    pub fn never_retries(mut self) -> Self {
        self.retries = false;
        self
    }

    /// Only requests with such a path, which all name a model, are the same in each run; the client fills others with times and the like.
    #[must_use]
    pub fn compared(mut self, path: &'static str) -> Self {
        self.compared = path;
        self
    }

    /// The client dials more connections than it uses, and may leave some in the middle of their handshake.
    #[must_use]
    pub fn abandons_connections(mut self) -> Self {
        self.abandons = true;
        self
    }

    /// Each request is signed, which holds only as long as nothing of it is changed.
    #[must_use]
    pub fn signs(mut self) -> Self {
        self.signs = true;
        self
    }

    /// How many of the compared requests it makes, at the least.
    #[must_use]
    pub fn calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// The client cannot be made to say what getpeername() says of its connections.
    #[must_use]
    pub fn without_peers(mut self) -> Self {
        self.tells_peer = false;
        self
    }

    /// The client cannot be made to say who issued the other end's certificate.
    #[must_use]
    pub fn without_issuers(mut self) -> Self {
        self.tells_issuer = false;
        self
    }

    /// What to do before each run, so that the client finds its files as they were.
    #[must_use]
    pub fn before(mut self, before: fn(&World) -> Result<()>) -> Self {
        self.before = before;
        self
    }

    /// How the client's own store of roots is filled from the system's, where it has one.
    #[must_use]
    pub fn fill_store(mut self, fill: fn(&World) -> Result<()>) -> Self {
        self.fill_store = fill;
        self
    }

    /// Runs the client three times and fails where something differs that must not.
    pub fn run(self) -> Result<()> {
        let direct = self.directly().context("directly, without an agent")?;
        self.without_trust(&direct).context("without trust in the agent")?;
        self.through_agent(&direct).context("through the agent")
    }

    /// Runs the client directly and under `tollgate exec`, and fails where something differs that must not.
    pub fn run_under_exec(self) -> Result<()> {
        let direct = self.directly().context("directly, without an agent")?;
        self.under_exec(&direct).context("under `tollgate exec`")
    }

    fn directly(&self) -> Result<Run> {
        (self.fill_store)(&self.world)?;
        let run = self.observe(self.command())?;
        self.is_connected_to_providers(&run)?;
        let calls = run.exchanges.iter().filter(|exchange| exchange.path.starts_with(self.compared)).count();
        ensure!(calls >= self.calls, "the client made {calls} calls");
        Ok(run)
    }

    /// The client's connections are opened, and neither it nor the provider can tell.
    fn through_agent(&self, direct: &Run) -> Result<()> {
        let agent = self.world.agent(self.config)?;
        let command = match self.trust {
            Trust::Variables => self.command().envs(agent.trust_variables()?),
            Trust::System => {
                self.world.trust(&agent.ca_pem()?)?;
                (self.fill_store)(&self.world)?;
                self.command()
            }
        };
        let run = self.observe(command).with_context(|| log_of(&agent))?;
        self.compare(&run, direct, &[]).with_context(|| log_of(&agent))?;
        self.is_intercepted(&agent, &run, direct).with_context(|| log_of(&agent))
    }

    fn is_intercepted(&self, agent: &Agent, run: &Run, direct: &Run) -> Result<()> {
        let page = agent.metrics()?;
        let (intercepted, all) = (counted::connections(&page, "intercepted")?, self.connections_that_spoke(&page)?);
        ensure!(
            intercepted > 0 && intercepted == all,
            "{intercepted} of {all} were intercepted\n{}",
            counted::fates(&page)
        );
        ensure!(
            run.said.issuers.is_disjoint(&direct.said.issuers),
            "the client saw the provider's own certificate, issued by {:?}",
            run.said.issuers
        );
        counted::is_the_truth(agent, &self.comparable(run, &[]), run.sums, self.which())
    }

    /// The session's log and closing table share standard error with the client.
    fn under_exec(&self, direct: &Run) -> Result<()> {
        let command = self.world.tollgate()?.args(["exec", "--"]).arg(&self.program);
        let run = self.observe(self.furnish(command).env("TOLLGATE_LOG", "info"))?;
        self.compare(&run, direct, &[])?;
        counted::is_logged(&run.said.errors, &self.comparable(&run, &[]), self.which())?;
        counted::is_in_table(&run.said.errors, run.sums.usage)
    }

    /// The client's first connection fails; it tries again and is let through, to the provider's own certificate.
    fn without_trust(&self, direct: &Run) -> Result<()> {
        let agent = self.world.agent(self.config)?;
        // With an alert, or like Node by closing once the handshake is done.
        let refused = |page: &str| counted::connections(page, "client_refused");
        // Each host is refused once.
        let hosts = direct.exchanges.iter().map(|exchange| &exchange.host).collect::<BTreeSet<_>>().len();
        let mut served = 0;
        for host in 1..=if self.retries { 0 } else { hosts as u64 } {
            self.world.provider().truth().clear();
            let first = self.command().run()?;
            ensure!(!first.status.success(), "the client trusts what it cannot know\n{first}");
            served += self.handshakes();
            // No user is so quick that the next try overtakes this one's alert.
            agent.metrics_when(SETTLED, |page| refused(page).is_ok_and(|refused| refused >= host))?;
        }
        let run = self.observe(self.command()).with_context(|| log_of(&agent))?;
        self.compare(&run, direct, RETRY).with_context(|| log_of(&agent))?;
        ensure!(run.said.issuers == direct.said.issuers, "the client saw certificates of {:?}", run.said.issuers);
        served += run.connections;
        // A tunnel is counted at its end, a moment after the client's. The provider knows how many there were, but for those that were
        // left before they were of use.
        let ended = |page: &str| counted::connections(page, "tunnelled");
        let page = agent.metrics_when(SETTLED, |page| ended(page).is_ok_and(|ended| ended >= served))?;
        let (refused, tunnelled, all) = (refused(&page)?, ended(&page)?, self.connections_that_spoke(&page)?);
        ensure!(
            refused == hosts as u64 && refused + tunnelled == all && (tunnelled == served || self.abandons),
            "of {all} connections the client refused {refused}, and {served} reached the provider\n{}\n{}",
            counted::fates(&page),
            log_of(&agent)
        );
        agent.stop(Duration::from_mins(1))?.success()?;
        Ok(())
    }

    fn connections_that_spoke(&self, page: &str) -> Result<u64> {
        let gone = if self.abandons { counted::connections(page, "client_gone")? } else { 0 };
        Ok(counted::all_connections(page)? - gone)
    }

    fn is_connected_to_providers(&self, run: &Run) -> Result<()> {
        ensure!(run.said.peers.is_empty() != self.tells_peer, "the other ends are {:?}", run.said.peers);
        ensure!(run.said.issuers.is_empty() != self.tells_issuer, "the issuers are {:?}", run.said.issuers);
        run.said.is_connected_to_providers()
    }

    /// Both runs gave the client the same answers, and the provider the same requests but for some headers.
    fn compare(&self, run: &Run, direct: &Run, but: &[&str]) -> Result<()> {
        run.said.is_same_as(&direct.said)?;
        self.is_connected_to_providers(run)?;
        let alike = |run: &Run| {
            let mut all: Vec<_> = self.comparable(run, but).into_iter().map(Served::but_for_usage).collect();
            all.sort();
            all
        };
        same(&alike(run), &alike(direct)).context("what the provider got and gave differs from a direct run")
    }

    fn comparable(&self, run: &Run, but: &[&str]) -> Vec<Served> {
        let mut all = served(&run.exchanges, &[self.own_headers, but].concat());
        all.retain(|one| one.path.starts_with(self.compared));
        all
    }

    fn which(&self) -> Which {
        if self.compared == EVERYTHING { Which::All } else { Which::WithModel }
    }

    /// The client as its user would start it, with trust in the internet's own root alone.
    fn command(&self) -> Program {
        self.furnish(self.world.client_command(&self.program))
    }

    fn furnish(&self, command: Program) -> Program {
        let command = match self.trust {
            Trust::Variables => {
                let root = self.world.root_file();
                command.env("SSL_CERT_FILE", &root).env("NODE_EXTRA_CA_CERTS", &root).env("AWS_CA_BUNDLE", &root)
            }
            Trust::System => command,
        };
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value))).timeout(PATIENCE)
    }

    /// Runs a command and takes down what the provider saw of it.
    fn observe(&self, command: Program) -> Result<Run> {
        let truth = self.world.provider().truth().clone();
        truth.clear();
        (self.before)(&self.world)?;
        let said = Said::new(command.run()?)?;
        let settled = truth.clone();
        self.world.in_internet(move || async move { settled.settled().await });
        for exchange in truth.exchanges() {
            ensure!(!self.signs || exchange.signed == Some(true), "a signature does not hold: {exchange:?}");
        }
        Ok(Run { said, exchanges: truth.exchanges(), sums: truth.sums(), connections: self.handshakes() })
    }

    /// How many connections the provider has had since its record was cleared.
    fn handshakes(&self) -> u64 {
        let all = self.world.provider().truth().handshakes();
        all.iter().filter(|handshake| handshake.error.is_none()).count() as u64
    }
}

/// What the agent said of itself; its lines about exchanges are compared elsewhere, and long.
fn log_of(agent: &Agent) -> String {
    let log = agent.log();
    log.lines().filter(|line| !line.contains(r#""target":"exchange""#)).collect::<Vec<_>>().join("\n")
}
