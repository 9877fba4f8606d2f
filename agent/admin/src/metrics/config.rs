use std::fmt;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::text::{counters, gauge};

/// What became of attempts to take another configuration over while the agent runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConfigFigures {
    /// How many were taken over.
    pub taken_over: u64,
    /// How many were refused.
    pub refused: u64,
    /// Whether the last one was taken over, or there was none.
    pub is_good: bool,
    /// When what is in force was read, in seconds of Unix time.
    pub loaded: i64,
}

type Read = Box<dyn Fn() -> ConfigFigures + Send + Sync>;

/// Which configuration is in force, read at each scrape.
pub(super) struct Config {
    prefix: String,
    read: RwLock<Option<Read>>,
}

impl Config {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), read: RwLock::default() }
    }

    pub(super) fn watch(&self, read: Read) {
        *self.read.write() = Some(read);
    }
}

impl Collector for Config {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.read.read().as_ref().map(|read| read()) else { return Ok(()) };
        let prefix = &self.prefix;
        let help = "Configurations read again while the agent runs, by what became of them.";
        let series = [("success", figures.taken_over), ("failure", figures.refused)];
        let series = series.map(|(result, count)| ([("result", result)], count));
        counters(&mut encoder, &format!("{prefix}_config_reloads"), help, series)?;
        let help = "Whether the configuration that was read last is in force: 1 if so, 0 if it was refused and an older one is.";
        let is_good = f64::from(figures.is_good);
        gauge(&mut encoder, &format!("{prefix}_config_last_reload_successful"), help, is_good)?;
        let help = "When the configuration in force was read, in Unix time.";
        let loaded = figures.loaded as f64;
        gauge(&mut encoder, &format!("{prefix}_config_last_reload_success_timestamp_seconds"), help, loaded)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn a_configuration_that_was_refused_shows() {
        let metrics = Metrics::new("own", "1");
        assert!(!metrics.encode().contains("config"));
        metrics.watch_config(|| ConfigFigures { taken_over: 3, refused: 1, is_good: false, loaded: 1_700_000_000 });
        let page = metrics.encode();
        for line in [
            "own_config_reloads_total{result=\"success\"} 3",
            "own_config_reloads_total{result=\"failure\"} 1",
            "own_config_last_reload_successful 0",
            "own_config_last_reload_success_timestamp_seconds 1700000000",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
