//! Waits for the command, passes signals on, and stops and goes on with it.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use tokio::signal::unix::{self, SignalKind, signal};

/// How long a stopped command is given to show that it was only passing through.
const SETTLE: Duration = Duration::from_millis(50);

/// Waits until the command ends and gives the code to end with: its own, or 128 and the signal that ended it.
pub(super) async fn wait(command: Pid, signals: Signals) -> anyhow::Result<u8> {
    let signals = tokio::spawn(signals.pass_on(command));
    let ended = tokio::task::spawn_blocking(move || wait_blocking(command)).await.context("waiting was interrupted")?;
    signals.abort();
    ended
}

fn wait_blocking(command: Pid) -> anyhow::Result<u8> {
    loop {
        match waitpid(command, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as u8),
            Ok(WaitStatus::Stopped(..)) => stop_with(command),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("the command cannot be waited for"),
        }
    }
}

/// A command that stopped itself (Ctrl-Z in a full-screen program) must give the shell its prompt back: we stop too, and
/// wake it when the shell wakes us.
fn stop_with(command: Pid) {
    // Where the terminal stopped the whole group, we were stopped with it and are both awake again by now.
    std::thread::sleep(SETTLE);
    if is_stopped(command) {
        // Either fails only if the process is gone, which the next wait tells.
        kill(Pid::this(), Signal::SIGSTOP).ok();
        kill(command, Signal::SIGCONT).ok();
    }
}

fn is_stopped(process: Pid) -> bool {
    // The state follows the name, which stands in brackets and may hold anything, brackets too (proc(5)).
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

/// The signals that are passed on. From its making on, they do not end us.
pub(super) struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    hangup: unix::Signal,
    terminate: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
}

impl Signals {
    pub(super) fn register() -> anyhow::Result<Self> {
        let register = |kind| signal(kind).context("signals cannot be taken");
        Ok(Self {
            interrupt: register(SignalKind::interrupt())?,
            quit: register(SignalKind::quit())?,
            hangup: register(SignalKind::hangup())?,
            terminate: register(SignalKind::terminate())?,
            user1: register(SignalKind::user_defined1())?,
            user2: register(SignalKind::user_defined2())?,
        })
    }

    async fn pass_on(mut self, command: Pid) {
        loop {
            let (signal, by_terminal) = tokio::select! {
                _ = self.interrupt.recv() => (Signal::SIGINT, true),
                _ = self.quit.recv() => (Signal::SIGQUIT, true),
                _ = self.hangup.recv() => (Signal::SIGHUP, true),
                _ = self.terminate.recv() => (Signal::SIGTERM, false),
                _ = self.user1.recv() => (Signal::SIGUSR1, false),
                _ = self.user2.recv() => (Signal::SIGUSR2, false),
            };
            // What the terminal sends, it sends to the command as well; twice would be once too often (a second Ctrl-C means
            // "now" to many programs).
            if !(by_terminal && in_foreground()) {
                kill(command, signal).ok();
            }
        }
    }
}

/// Whether a terminal sends its signals to our process group, which is the command's too.
fn in_foreground() -> bool {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let group = if stdin.is_terminal() {
        tcgetpgrp(stdin)
    } else if stdout.is_terminal() {
        tcgetpgrp(stdout)
    } else if stderr.is_terminal() {
        tcgetpgrp(stderr)
    } else {
        return false;
    };
    group == Ok(getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[expect(clippy::zombie_processes, reason = "`wait` reaps it, by its id")]
    fn run(script: &str) -> Pid {
        let child = Command::new("sh").args(["-c", script]).spawn().expect("sh runs");
        Pid::from_raw(child.id().cast_signed())
    }

    #[tokio::test]
    async fn the_commands_exit_code_is_ours() {
        assert_eq!(wait(run("exit 37"), Signals::register().expect("registered")).await.expect("waited"), 37);
    }

    #[tokio::test]
    async fn a_command_ended_by_a_signal_gives_128_and_the_signal() {
        assert_eq!(
            wait(run("kill -TERM $$"), Signals::register().expect("registered")).await.expect("waited"),
            128 + 15
        );
    }
}
