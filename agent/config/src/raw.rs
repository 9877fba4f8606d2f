use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Config;
use crate::admin::RawAdmin;
use crate::audit::RawAudit;
use crate::ca::RawCa;
use crate::check::{Checks, at};
use crate::document::Document;
use crate::drain::RawDrain;
use crate::error::Problem;
use crate::intercept::RawIntercept;
use crate::kubernetes::{Kubernetes, KubernetesApi, RawKubernetes};
use crate::ledger::RawLedger;
use crate::log::Log;
use crate::metering::RawMetering;
use crate::peek::RawPeek;
use crate::policy::{RawPolicy, RawTeam};
use crate::prices::RawPrices;
use crate::provider::{self, RawProvider};
use crate::terminate::Terminate;
use crate::upstream::RawUpstream;

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    /// What is intercepted, and what happens when the agent is not there.
    intercept: RawIntercept,
    /// Whose TLS is opened.
    terminate: Terminate,
    /// Providers to add to the built-in ones: private hosts, and servers that speak a provider's
    /// dialect, such as vLLM. A host that a built-in provider also has goes to the one named here.
    providers: Vec<RawProvider>,
    /// Connections to providers. Their certificates are always verified.
    upstream: RawUpstream,
    /// What is done so that calls can be counted to the token.
    metering: RawMetering,
    /// The ledger: one row for each call, on disk. Reports read it.
    ledger: RawLedger,
    /// The certificate authority that intercepted clients meet.
    ca: RawCa,
    /// Metrics, health and status, over plain HTTP.
    admin: RawAdmin,
    /// How the agent stops.
    drain: RawDrain,
    /// The agent's own log. It never holds keys, prompts or answers.
    log: Log,
    /// What models cost, beside the bundled list of prices.
    prices: RawPrices,
    /// How long, and for how much, is waited until it is known what a new connection is.
    peek: RawPeek,
    /// Names for groups of callers, for reports, rules, budgets and limits. The first that matches is the caller's.
    /// Examples are in [policy.md](policy.md).
    teams: Vec<RawTeam>,
    /// Who may call what, and how much of it. Examples are in [policy.md](policy.md).
    policy: RawPolicy,
    /// The audit: what was refused, changed or spent, one line each, chained so that a missing line shows.
    audit: RawAudit,
    /// Kubernetes, which tells of a pod what the kernel does not know.
    kubernetes: RawKubernetes,
}

impl Raw {
    pub(crate) fn check(self, document: &Document) -> Result<Config, Vec<Problem>> {
        let mut checks = Checks::new(document);
        let providers = provider::check(self.providers, &mut checks);
        let builtin = tollgate_llm::Catalogue::builtin();
        let mut names: Vec<String> = builtin.providers().iter().map(|provider| provider.name.to_string()).collect();
        names.extend(providers.iter().map(|provider| provider.name.to_string()));
        let kubernetes = Kubernetes::from(self.kubernetes);
        let pods = kubernetes.api != KubernetesApi::Off;
        let mut config = Config {
            intercept: self.intercept.check(&mut checks),
            terminate: self.terminate,
            providers,
            upstream: self.upstream.into(),
            metering: self.metering.check(&mut checks),
            ledger: self.ledger.into(),
            ca: self.ca.into(),
            admin: self.admin.into(),
            drain: self.drain.into(),
            log: self.log,
            prices: self.prices.into(),
            peek: self.peek.check(&mut checks),
            policy: self.policy.check(self.teams, &names, pods, &mut checks),
            audit: self.audit.check(&mut checks),
            kubernetes,
            warnings: Vec::new(),
        };
        if let Some(listen) = config.admin.listen
            && config.intercept.listen_ports.ports().contains(&listen.port())
        {
            let message = format!("port {} is one that intercepted connections are taken at", listen.port());
            checks.report(&at("admin", "listen"), message, "choose one outside `intercept.listen_ports`");
        }
        config.warnings = checks.warnings();
        checks.finish(config)
    }
}
