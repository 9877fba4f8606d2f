//! The log: one line an event, on stderr.

use std::io::IsTerminal as _;

use tollgate_config::{Format, Log};
use tracing::Metadata;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

/// Lines that may wait for a slow reader of stderr. Beyond them lines are lost, because requests must not wait for a log.
const WAITING: usize = 16 * 1024;

/// What decides which lines are written, to be changed while the agent runs.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Of a log that nobody writes.
    #[cfg(test)]
    pub(crate) fn unused() -> Self {
        Self(reload::Layer::new(filter("info")).1)
    }

    /// From now on only lines at least as important as this are written, unless `TOLLGATE_LOG` says otherwise.
    pub(crate) fn set(&self, level: tollgate_config::Level) {
        if let Err(error) = self.0.reload(filter(level.as_str())) {
            tracing::warn!(%error, "log.level could not be changed");
        }
    }
}

/// Starts the log of `run`. What is still waiting is written when the guard is dropped.
pub(crate) fn start(config: &Log) -> (WorkerGuard, Level) {
    start_at(config, config.level.as_str())
}

/// Starts the log of `exec`, which shares the command's terminal: only what the caller must know, unless they asked for more.
pub(crate) fn start_quiet(config: &Log) -> WorkerGuard {
    start_at(config, "error").0
}

/// `TOLLGATE_LOG` overrides the configuration, for one run: `debug`, or `tollgate_proxy=debug,info`.
fn filter(level: &str) -> EnvFilter {
    let default = level.parse().expect("the names of levels are directives");
    let asked = std::env::var("TOLLGATE_LOG").unwrap_or_default();
    // Nothing is said at `trace`, and a filter does not take what is not compiled in.
    let asked = asked.split(',').map(|one| match one.strip_suffix("trace") {
        Some(target) if target.is_empty() || target.ends_with('=') => format!("{target}debug"),
        _ => one.to_owned(),
    });
    EnvFilter::builder().with_default_directive(default).parse_lossy(asked.collect::<Vec<_>>().join(","))
}

fn start_at(config: &Log, level: &str) -> (WorkerGuard, Level) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let (filter, handle) = reload::Layer::new(filter(level));
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let json = match config.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !terminal,
    };
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(crate::exit::colour(terminal)).with_target(false).boxed()
    };
    // One filter: of two, one inside the other, what the inner one never lets through is asked about each time it is said.
    tracing_subscriber::registry().with(layer.with_filter(filter.and(filter_fn(is_ours)))).init();
    (guard, Level(handle))
}

/// Libraries may print what passes through them, keys and prompts included. Only what is wrong is taken from them, whatever level
/// was asked for.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= tracing::Level::WARN || target.starts_with("tollgate") || target == "exchange"
}
