//! A running program, what it printed so far, and how it ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::Inner;

/// After a program ended, how long a child of it may hold its output open before we stop listening.
const LINGER: Duration = Duration::from_secs(2);
/// How much of each stream an error quotes, in bytes.
const QUOTED: usize = 16 * 1024;

/// A program that was started. It, and its process group, are killed when this is dropped.
pub struct Running {
    what: String,
    pid: u32,
    started: Instant,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    // Keeps the namespaces and the cgroup until the program is gone.
    _world: Arc<Inner>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open: u8,
    ended: Option<(ExitStatus, Instant)>,
}

/// Signals go through the task that also reaps the process, so that they never hit another one of the same number.
enum Order {
    Signal(Signal),
    KillGroup,
}

impl Running {
    pub(crate) fn start(
        world: Arc<Inner>,
        mut command: Command,
        input: Vec<u8>,
        attached: bool,
        what: String,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (orders, received) = mpsc::unbounded_channel();
        let sink = Arc::clone(&shared);
        let pid = world.client.run(move || async move {
            let mut child = command.spawn()?;
            let pid = child.id().expect("it was not waited for yet");
            if let Some(mut stdin) = child.stdin.take() {
                // A program that does not read its input is none of our business.
                tokio::spawn(async move { stdin.write_all(&input).await });
            }
            if let Some(stdout) = child.stdout.take() {
                sink.state.lock().open += 1;
                tokio::spawn(copy(stdout, Arc::clone(&sink), |state| &mut state.stdout));
            }
            if let Some(stderr) = child.stderr.take() {
                sink.state.lock().open += 1;
                tokio::spawn(copy(stderr, Arc::clone(&sink), |state| &mut state.stderr));
            }
            tokio::spawn(supervise(child, received, sink, attached));
            Ok::<_, anyhow::Error>(pid)
        })?;
        Ok(Self { what, pid, started: Instant::now(), shared, orders, _world: world })
    }

    /// The process id, the same inside and outside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to the process alone; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        self.order(Order::Signal(signal));
    }

    /// SIGKILL to the process and its group, and waits until the process is gone.
    pub fn kill(&self) {
        self.order(Order::KillGroup);
        self.shared.wait(Instant::now() + Duration::from_secs(30), |state| state.ended.is_some());
    }

    /// What it printed so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.shared.state.lock().stdout.clone()
    }

    /// What it printed on standard error so far, as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.shared.state.lock().stderr).into_owned()
    }

    /// The exit status, once it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.state.lock().ended.map(|(status, _)| status)
    }

    /// Waits until `seen(stdout, stderr)` holds, which is asked anew whenever something is printed.
    ///
    /// Fails, with what was printed, when the time is over or the program ends first.
    pub fn wait_until(&self, timeout: Duration, mut seen: impl FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut found = false;
        self.shared.wait(Instant::now() + timeout, |state| {
            found = seen(&state.stdout, &state.stderr);
            found || (state.ended.is_some() && state.open == 0)
        });
        if found {
            return Ok(());
        }
        bail!("`{}` never printed what the test waits for\n{}", self.what, self.snapshot());
    }

    /// Waits until standard output or standard error contains `text`.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<()> {
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.wait_until(timeout, |stdout, stderr| has(stdout) || has(stderr))
            .with_context(|| format!("looking for `{text}`"))
    }

    /// Waits for the end and gives everything printed. Kills it, and fails, when it outlives `timeout`.
    pub fn wait(self, timeout: Duration) -> Result<Output> {
        self.shared.wait(Instant::now() + timeout, |state| state.ended.is_some());
        if self.status().is_none() {
            self.kill();
            bail!("`{}` did not end within {timeout:?} and was killed\n{}", self.what, self.snapshot());
        }
        self.shared.wait(Instant::now() + LINGER, |state| state.open == 0);
        self.output().ok_or_else(|| anyhow!("`{}` has no exit status", self.what))
    }

    fn output(&self) -> Option<Output> {
        let state = self.shared.state.lock();
        let (status, ended) = state.ended?;
        Some(Output {
            what: self.what.clone(),
            status,
            stdout: state.stdout.clone(),
            stderr: state.stderr.clone(),
            elapsed: ended.duration_since(self.started),
        })
    }

    fn snapshot(&self) -> String {
        let state = self.shared.state.lock();
        let ended = state.ended.map_or_else(|| "still running".to_owned(), |(status, _)| status.to_string());
        quote(&ended, &state.stdout, &state.stderr)
    }

    fn order(&self, order: Order) {
        // The task is gone when the process is, and then there is nothing to signal.
        let _gone: Result<(), _> = self.orders.send(order);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    /// Returns when `done` or at the deadline.
    fn wait(&self, deadline: Instant, mut done: impl FnMut(&State) -> bool) {
        let mut state = self.state.lock();
        while !done(&state) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                done(&state);
                return;
            }
        }
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, to: Arc<Shared>, field: fn(&mut State) -> &mut Vec<u8>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        field(&mut to.state.lock()).extend_from_slice(&buffer[..length]);
        to.changed.notify_all();
    }
    to.state.lock().open -= 1;
    to.changed.notify_all();
}

async fn supervise(mut child: Child, mut orders: mpsc::UnboundedReceiver<Order>, shared: Arc<Shared>, attached: bool) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.unwrap_or_else(|_| ExitStatus::from_raw(0x7f00)),
            order = orders.recv() => {
                let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw) else { continue };
                let sent = match order {
                    Some(Order::Signal(signal)) => kill(pid, signal),
                    // Its group is ours.
                    Some(Order::KillGroup) | None if attached => kill(pid, Signal::SIGKILL),
                    Some(Order::KillGroup) | None => killpg(pid, Signal::SIGKILL),
                };
                sent.expect("root may signal a child that was not reaped yet");
            }
        }
    };
    shared.state.lock().ended = Some((status, Instant::now()));
    shared.changed.notify_all();
}

/// How a program ended and what it printed.
#[derive(Clone, Debug)]
pub struct Output {
    what: String,
    /// The exit status; 127 where the program was not found.
    pub status: ExitStatus,
    /// Everything from standard output.
    pub stdout: Vec<u8>,
    /// Everything from standard error.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub elapsed: Duration,
}

impl Output {
    /// Itself when the program succeeded; else an error that shows all it printed.
    pub fn success(self) -> Result<Self> {
        if self.status.success() { Ok(self) } else { bail!("{self}") }
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` took {:?}", self.what, self.elapsed)?;
        f.write_str(&quote(&self.status.to_string(), &self.stdout, &self.stderr))
    }
}

fn quote(ended: &str, stdout: &[u8], stderr: &[u8]) -> String {
    let last = |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(QUOTED)..]).into_owned();
    format!("{ended}\n--- stdout\n{}\n--- stderr\n{}", last(stdout), last(stderr))
}
