//! The log: one line an event, on stderr.

use std::io::IsTerminal as _;

use tollgate_config::{Format, Log};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait for a slow reader of stderr. Beyond them lines are lost, because requests must not wait for a log.
const WAITING: usize = 16 * 1024;

/// Starts the log of `run`. What is still waiting is written when the guard is dropped.
pub(crate) fn start(config: &Log) -> WorkerGuard {
    start_at(config, config.level.as_str())
}

/// Starts the log of `exec`, which shares the command's terminal: only what the caller must know, unless they asked for more.
pub(crate) fn start_quiet(config: &Log) -> WorkerGuard {
    start_at(config, "error")
}

/// `TOLLGATE_LOG` overrides the configuration, for one run: `debug`, or `tollgate_proxy=trace,info`.
fn start_at(config: &Log, level: &str) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let default = level.parse().expect("the names of levels are directives");
    let filter = EnvFilter::builder().with_default_directive(default).with_env_var("TOLLGATE_LOG").from_env_lossy();
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let json = match config.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !terminal,
    };
    if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        builder.with_ansi(crate::exit::colour(terminal)).with_target(false).init();
    }
    guard
}
