use std::fmt;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tollgate_audit::Figures;

use super::text::{counters, gauge};

type Read = Box<dyn Fn() -> Figures + Send + Sync>;

/// How the audit is, read at each scrape. Nothing where none is kept.
pub(super) struct Audit {
    prefix: String,
    read: RwLock<Option<Read>>,
}

impl Audit {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), read: RwLock::default() }
    }

    pub(super) fn watch(&self, read: Read) {
        *self.read.write() = Some(read);
    }
}

impl Collector for Audit {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.read.read().as_ref().map(|read| read()) else { return Ok(()) };
        let prefix = &self.prefix;
        let none: [(&str, &str); 0] = [];
        let help = "Whether the audit can be written: 1 if so, 0 if not.";
        gauge(&mut encoder, &format!("{prefix}_audit_up"), help, f64::from(figures.trouble.is_none()))?;
        let help = "Entries that wait for the audit's writer.";
        gauge(&mut encoder, &format!("{prefix}_audit_queued_entries"), help, figures.queued as f64)?;
        let help = "Entries that were written to the audit.";
        counters(&mut encoder, &format!("{prefix}_audit_entries"), help, [(none, figures.written)])?;
        let help = "Entries for which there was no room while the audit could not be written. It says so itself, too.";
        counters(&mut encoder, &format!("{prefix}_audit_dropped"), help, [(none, figures.dropped)])?;
        let help = "Attempts to write the audit that failed.";
        counters(&mut encoder, &format!("{prefix}_audit_failures"), help, [(none, figures.failures)])
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_audit::Trouble;

    use super::*;
    use crate::Metrics;

    #[test]
    fn an_audit_that_cannot_be_written_shows_and_none_shows_nothing() {
        let metrics = Metrics::new("own", "1");
        assert!(!metrics.encode().contains("audit"));
        metrics.watch_audit(|| Figures {
            written: 7,
            dropped: 3,
            failures: 2,
            trouble: Some(Trouble { kind: "full", what: "no room".into() }),
            ..Figures::default()
        });
        let page = metrics.encode();
        for line in [
            "own_audit_up 0",
            "own_audit_entries_total{} 7",
            "own_audit_dropped_total{} 3",
            "own_audit_failures_total{} 2",
            "own_audit_queued_entries 0",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
