//! Hands what the proxy tells to whoever wants it: the log, the metrics, the ledger, the audit, the summary.

use std::sync::Arc;
use std::time::Duration;

use tollgate_admin::Metrics;
use tollgate_audit::Audit;
use tollgate_kernel::Kernel;
use tollgate_ledger::store::Ledger;
use tollgate_ledger::{Opened, Record, Summary};
use tollgate_policy::{Mode, Notice};
use tollgate_proxy::fate::{ConnectionRecord, Fate};
use tollgate_proxy::observe::{Observer, PolicyEvent, Step, UpstreamEvent};

use crate::audit;

/// Everyone who is told. Counting and printing a line are all they do, so the request path never waits for them long.
pub(crate) struct Observers {
    metrics: Arc<Metrics>,
    ledger: Option<Arc<Ledger>>,
    audit: Option<Arc<Audit>>,
    summary: Option<Arc<Summary>>,
}

impl Observers {
    pub(crate) fn new(metrics: Arc<Metrics>, ledger: Option<Arc<Ledger>>, summary: Option<Arc<Summary>>) -> Self {
        Self { metrics, ledger, audit: None, summary }
    }

    /// With an audit, where one is kept.
    pub(crate) fn with_audit(self, audit: Option<Arc<Audit>>) -> Self {
        Self { audit, ..self }
    }

    /// Has the kernel programs' counters shown among the metrics.
    pub(crate) fn watch_kernel(&self, kernel: &Arc<Kernel>) {
        let kernel = Arc::downgrade(kernel);
        self.metrics.watch_kernel(move || kernel.upgrade().map(|kernel| kernel.counters()).unwrap_or_default());
    }
}

impl Observer for Observers {
    fn opened(&self, opened: &Opened) {
        if let Some(ledger) = &self.ledger {
            ledger.opened(opened);
        }
    }

    fn settled(&self, record: Record) {
        // First: what is on the ledger stays, should the rest come to grief.
        if let Some(ledger) = &self.ledger {
            ledger.settled(&record);
        }
        self.metrics.record(&record);
        record.log();
        if let Some(summary) = &self.summary {
            summary.add(&record);
        }
    }

    fn connection(&self, record: ConnectionRecord) {
        self.metrics.connection(record.fate.name(), record.fate.reason());
        match record.fate {
            Fate::Tunnelled(_) => self.metrics.tunnel(record.carried.sent, record.carried.received),
            Fate::ClientRefused(_) => {
                if let Some(audit) = &self.audit {
                    audit.note(audit::trust_refused(&record));
                }
            }
            _ => {}
        }
        tracing::debug!(
            program = %record.caller.program, user = %record.caller.user, pid = record.caller.pid,
            host = record.host.as_deref(), destination = %record.destination,
            fate = record.fate.name(), reason = record.fate.reason(),
            sent = record.carried.sent, received = record.carried.received, duration = ?record.duration,
            "connection"
        );
    }

    fn stray(&self) {
        self.metrics.stray();
    }

    fn upstream(&self, event: UpstreamEvent) {
        self.metrics.upstream(event.name());
    }

    fn policy(&self, event: &PolicyEvent<'_>) {
        self.metrics.policy(event.notice);
        if let Some(audit) = &self.audit {
            audit.note(audit::policy(event));
        }
        tell(event);
    }

    fn took(&self, step: Step, time: Duration) {
        self.metrics.took(
            match step {
                Step::Handshake => tollgate_admin::Step::Handshake,
                Step::Connect => tollgate_admin::Step::Connect,
                Step::Request => tollgate_admin::Step::Request,
                Step::Response => tollgate_admin::Step::Response,
            },
            time,
        );
    }

    fn leaked(&self) {
        self.metrics.leaked();
        tracing::error!("an exchange ended without a record; please report this defect");
    }
}

/// A line of the log: each decision for whoever looks closely, and budgets that run out for everybody.
fn tell(event: &PolicyEvent<'_>) {
    let PolicyEvent { notice, id, caller, attribution, .. } = *event;
    let (program, user, team) = (&*caller.program, &*caller.user, attribution.team.as_deref());
    match notice {
        Notice::Refused { what, name, mode } => {
            let told = if *mode == Mode::Enforce { "a call was refused" } else { "a call would have been refused" };
            tracing::debug!(%id, program, user, team, kind = what.as_str(), %name, "{told}");
        }
        Notice::Clamped { rule, from, to, mode } => {
            let is_done = *mode == Mode::Enforce;
            tracing::debug!(%id, program, user, team, %rule, from, to, is_done, "a request's largest answer is too large");
        }
        Notice::Cut { budget } => {
            tracing::debug!(%id, program, user, team, %budget, "an answer was ended, as the budget is spent");
        }
        Notice::Spent { budget, group, percent, window } => {
            let window = audit::window_word(*window);
            tracing::warn!(%budget, group = &**group, percent, window, "so much of a budget is spent");
        }
    }
}
