//! Hands what the proxy tells to whoever wants it: the log, the metrics, the ledger, the summary.

use std::sync::Arc;
use std::time::Duration;

use tollgate_admin::Metrics;
use tollgate_kernel::Kernel;
use tollgate_ledger::store::Ledger;
use tollgate_ledger::{Opened, Record, Summary};
use tollgate_proxy::fate::{ConnectionRecord, Fate};
use tollgate_proxy::observe::{Observer, Step, UpstreamEvent};

/// Everyone who is told. Counting and printing a line are all they do, so the request path never waits for them long.
pub(crate) struct Observers {
    metrics: Arc<Metrics>,
    ledger: Option<Arc<Ledger>>,
    summary: Option<Arc<Summary>>,
}

impl Observers {
    pub(crate) fn new(metrics: Arc<Metrics>, ledger: Option<Arc<Ledger>>, summary: Option<Arc<Summary>>) -> Self {
        Self { metrics, ledger, summary }
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
        if let Fate::Tunnelled(_) = record.fate {
            self.metrics.tunnel(record.carried.sent, record.carried.received);
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
