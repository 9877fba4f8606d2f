use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;

use super::text::{counters, gauge};

type KernelCounters = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The process itself, and its programs in the kernel.
pub(super) struct Process {
    prefix: String,
    version: &'static str,
    started: SystemTime,
    kernel: RwLock<Option<KernelCounters>>,
}

impl Process {
    pub(super) fn new(prefix: &str, version: &'static str) -> Self {
        Self { prefix: prefix.into(), version, started: SystemTime::now(), kernel: RwLock::default() }
    }

    pub(super) fn watch_kernel(&self, counters: KernelCounters) {
        *self.kernel.write() = Some(counters);
    }

    pub(super) fn started(&self) -> SystemTime {
        self.started
    }

    pub(super) fn version(&self) -> &'static str {
        self.version
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let prefix = &self.prefix;
        if let Some(read) = &*self.kernel.read() {
            let series = read().into_iter().map(|(reason, count)| ([("reason", reason)], count));
            let help = "What the programs in the kernel did, by reason.";
            counters(&mut encoder, &format!("{prefix}_kernel_events"), help, series)?;
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let help = "When the process started, in seconds since 1970.";
        gauge(&mut encoder, "process_start_time_seconds", help, started)?;
        let name = format!("{prefix}_build");
        let info = encoder.encode_descriptor(&name, "The version that runs.", None, MetricType::Info)?;
        Info::new([("version", self.version)]).encode(info)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}
