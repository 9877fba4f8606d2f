//! What the programs log, passed on to this process's log.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tracing::Level;

/// The target of the programs' events, for filters.
const TARGET: &str = "kernel_programs";

/// Reads the programs' log.
pub(super) struct ProgramLog(EbpfLogger<Forward>);

impl ProgramLog {
    /// The level up to which programs log at all: the verifier removes the rest.
    pub(super) fn level() -> u8 {
        if tracing::enabled!(target: TARGET, Level::DEBUG) {
            aya_log::Level::Debug as u8
        } else {
            aya_log::Level::Warn as u8
        }
    }

    /// Takes the log out of the object; none if it has none.
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, Forward).map(Self).ok()
    }

    /// Passes on what has been logged since the last time.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

/// To the log of this process.
struct Forward;

impl log::Log for Forward {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let program = record.module_path().unwrap_or_default();
        match record.level() {
            log::Level::Error | log::Level::Warn => tracing::warn!(target: TARGET, program, "{}", record.args()),
            _ => tracing::debug!(target: TARGET, program, "{}", record.args()),
        }
    }

    fn flush(&self) {}
}
