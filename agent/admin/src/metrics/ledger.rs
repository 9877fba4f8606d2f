use std::fmt;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tollgate_ledger::store::Figures;

use super::text::{counters, gauge};

type Read = Box<dyn Fn() -> Figures + Send + Sync>;

/// How the ledger is, read at each scrape. Nothing where none is kept.
pub(super) struct Ledger {
    prefix: String,
    read: RwLock<Option<Read>>,
}

impl Ledger {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), read: RwLock::default() }
    }

    pub(super) fn watch(&self, read: Read) {
        *self.read.write() = Some(read);
    }
}

impl Collector for Ledger {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.read.read().as_ref().map(|read| read()) else { return Ok(()) };
        let prefix = &self.prefix;
        let help = "Whether the ledger can be written: 1 if so, 0 if not.";
        gauge(&mut encoder, &format!("{prefix}_ledger_up"), help, f64::from(figures.trouble.is_none()))?;
        let help = "Rows that wait for the ledger's writer.";
        gauge(&mut encoder, &format!("{prefix}_ledger_queued_rows"), help, figures.queued as f64)?;
        let help = "How long the oldest settled call has been waiting to be in the ledger.";
        gauge(&mut encoder, &format!("{prefix}_ledger_lag_seconds"), help, figures.lag.as_secs_f64())?;
        let help = "Bytes of the journal of what is not in the ledger yet.";
        gauge(&mut encoder, &format!("{prefix}_ledger_journal_bytes"), help, figures.journal_bytes as f64)?;
        let help = "Calls that were written to the ledger, recovered after an agent was killed, or lost because neither the \
                    ledger nor memory had room.";
        let series = [("written", figures.written), ("recovered", figures.recovered), ("lost", figures.lost)];
        let series = series.map(|(what, count)| ([("what", what)], count));
        counters(&mut encoder, &format!("{prefix}_ledger_calls"), help, series)?;
        let help = "Attempts to write the ledger that failed.";
        let none: [(&str, &str); 0] = [];
        counters(&mut encoder, &format!("{prefix}_ledger_failures"), help, [(none, figures.failures)])
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_ledger::store::Trouble;

    use super::*;
    use crate::Metrics;

    #[test]
    fn a_ledger_that_cannot_be_written_shows_and_none_shows_nothing() {
        let metrics = Metrics::new("own", "1");
        assert!(!metrics.encode().contains("ledger"));
        metrics.watch_ledger(|| Figures {
            lost: 3,
            lag: Duration::from_millis(1500),
            trouble: Some(Trouble { kind: "full", what: "no room".into() }),
            ..Figures::default()
        });
        let page = metrics.encode();
        for line in ["own_ledger_up 0", "own_ledger_lag_seconds 1.5", "own_ledger_calls_total{what=\"lost\"} 3"] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        assert!(page.contains("own_ledger_failures_total{} 0"), "{page}");
    }
}
