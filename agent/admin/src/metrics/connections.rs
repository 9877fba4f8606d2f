use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::text::counters;

/// Connections, by what became of them. The labels are words of the agent's own, so they are few.
#[derive(Debug)]
pub(super) struct Connections {
    prefix: String,
    fates: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    upstream: Mutex<BTreeMap<&'static str, u64>>,
    sent: AtomicU64,
    received: AtomicU64,
    stray: AtomicU64,
    leaked: AtomicU64,
}

impl Connections {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            fates: Mutex::default(),
            upstream: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            stray: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
        }
    }

    pub(super) fn fate(&self, fate: &'static str, reason: &'static str) {
        *self.fates.lock().entry((fate, reason)).or_default() += 1;
    }

    pub(super) fn upstream(&self, event: &'static str) {
        *self.upstream.lock().entry(event).or_default() += 1;
    }

    pub(super) fn tunnel(&self, sent: u64, received: u64) {
        self.sent.fetch_add(sent, Relaxed);
        self.received.fetch_add(received, Relaxed);
    }

    pub(super) fn stray(&self) {
        self.stray.fetch_add(1, Relaxed);
    }

    pub(super) fn leaked(&self) {
        self.leaked.fetch_add(1, Relaxed);
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let prefix = &self.prefix;
        let encoder = &mut encoder;
        // Copied, so that no connection waits for a scrape.
        let fates = self.fates.lock().clone();
        let series = fates.into_iter().map(|((fate, reason), count)| ([("fate", fate), ("reason", reason)], count));
        let help = "Connections that were redirected here, by what became of them and why.";
        counters(encoder, &format!("{prefix}_connections"), help, series)?;

        let bytes = [("sent", &self.sent), ("received", &self.received)];
        let series = bytes.map(|(direction, bytes)| ([("direction", direction)], bytes.load(Relaxed)));
        let help = "Bytes of connections that were passed through unopened.";
        counters(encoder, &format!("{prefix}_tunnel_bytes"), help, series)?;

        let upstream = self.upstream.lock().clone();
        let series = upstream.into_iter().map(|(event, count)| ([("event", event)], count));
        let help = "Connections to providers made, reused and failed, and requests sent again.";
        counters(encoder, &format!("{prefix}_upstream_events"), help, series)?;

        let single = |count: &AtomicU64| [([("", ""); 0], count.load(Relaxed))];
        let help = "Connections to a listener that nobody was redirected by. They are reset.";
        counters(encoder, &format!("{prefix}_stray_connections"), help, single(&self.stray))?;
        let help = "Exchanges lost without a record. Any is a defect.";
        counters(encoder, &format!("{prefix}_leaked_exchanges"), help, single(&self.leaked))
    }
}
