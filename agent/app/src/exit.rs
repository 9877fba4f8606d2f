//! Exit codes, and how an error is told on the terminal.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// The command line or the configuration is wrong (`EX_USAGE`, sysexits.h).
pub(crate) const USAGE: u8 = 64;
/// What was read is not what it should be (`EX_DATAERR`, sysexits.h).
pub(crate) const DATA: u8 = 65;
/// What was to be read is not there (`EX_NOINPUT`, sysexits.h).
pub(crate) const NO_INPUT: u8 = 66;
/// The command needs rights that it does not have (`EX_NOPERM`, sysexits.h).
pub(crate) const NO_PERMISSION: u8 = 77;
/// The command that `exec` was to run is there but cannot be run (POSIX shells).
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// The command that `exec` was to run is not there (POSIX shells).
pub(crate) const NOT_FOUND: u8 = 127;

/// An error that ends the process with a code of its own.
#[derive(Debug)]
pub(crate) struct Coded {
    code: u8,
    message: String,
}

impl Coded {
    /// An error with a code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// Tells an error on stderr, with its causes, and gives the code to exit with: its own, or 1.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(is_broken_pipe)) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let (red, plain) = if colour(std::io::stderr().is_terminal()) { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    // Nobody is left to tell if stderr is closed.
    writeln!(std::io::stderr(), "{red}tollgate:{plain} {error:#}").ok();
    ExitCode::from(error.downcast_ref::<Coded>().map_or(1, |coded| coded.code))
}

/// Whether to write in colour: to a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}
