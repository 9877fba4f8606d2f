//! A namespace is a thread that unshared itself and runs a small tokio runtime there.
//!
//! Nothing names it outside: when the thread ends, or the process is killed, the kernel frees it and all it holds.

use std::future::Future;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, panic, process, thread};

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A private network namespace (and perhaps mount namespace), with a runtime whose tasks live in it.
pub struct Namespace {
    handle: Handle,
    // Both hold the namespace open, so that it can be entered by path without knowing the thread.
    net: fs::File,
    thread: Option<thread::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// What the thread found once inside.
struct Entered {
    handle: Handle,
    net: fs::File,
}

impl Namespace {
    /// Makes the namespaces that `flags` name (`CLONE_NEWNET`, and `CLONE_NEWNS` where asked) and a thread inside them.
    pub(crate) fn new(name: &str, flags: CloneFlags) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (report, entered) = mpsc::sync_channel::<Result<Entered>>(1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = match enter(flags) {
                    Ok((runtime, net)) => {
                        let handle = runtime.handle().clone();
                        report.send(Ok(Entered { handle, net })).expect("`new` waits for this report");
                        runtime
                    }
                    Err(error) => return report.send(Err(error)).expect("`new` waits for this report"),
                };
                // An error means that the sender is gone, which asks for the same.
                let _asked: Result<(), _> = runtime.block_on(stopped);
                runtime.shutdown_timeout(Duration::from_secs(2));
            })
            .context("cannot start a thread for a namespace")?;
        let Entered { handle, net } = entered.recv().context("the thread of a namespace died at its start")??;
        Ok(Self { handle, net, thread: Some(thread), stop: Some(stop) })
    }

    /// Runs `work` on the namespace's thread and waits for what it returns; a panic in it is passed on.
    ///
    /// It blocks the caller, so call it from the test's own thread and never from inside a namespace.
    pub fn run<W, F, T>(&self, work: W) -> T
    where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let inside = self.thread.as_ref().is_some_and(|own| own.thread().id() == thread::current().id());
        assert!(!inside, "`run` was called from inside the namespace it would wait for; await the work instead");
        let (send, receive) = mpsc::sync_channel(1);
        let work = self.handle.spawn(async move { work().await });
        self.handle.spawn(async move { send.send(work.await) });
        match receive.recv().expect("the runtime runs until the namespace is dropped") {
            Ok(value) => value,
            Err(failed) => panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Starts `task` on the namespace's thread; it ends with the world at the latest.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(task)
    }

    /// The runtime, for code that spawns by itself. Sockets made in its tasks belong to this namespace.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The network namespace's file, for `setns`.
    pub fn net(&self) -> &fs::File {
        &self.net
    }

    /// A path that names the network namespace for programs such as `ip`, valid while the namespace lives.
    pub fn net_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/{}/fd/{}", process::id(), self.net.as_raw_fd()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already printed, and there is nobody here to act on it.
            let _ended: thread::Result<()> = thread.join();
        }
    }
}

fn enter(flags: CloneFlags) -> Result<(tokio::runtime::Runtime, fs::File)> {
    unshare(flags).map_err(|error| anyhow!("cannot make a namespace ({flags:?}): {error}"))?;
    let mounts = flags.contains(CloneFlags::CLONE_NEWNS);
    if mounts {
        // Where the machine shares its mounts, ours must not travel back.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("cannot make the mounts of a new mount namespace private")?;
    }
    let net = fs::File::open("/proc/thread-self/ns/net").context("cannot open the new network namespace")?;
    let mnt = fs::File::open("/proc/thread-self/ns/mnt").context("cannot open the new mount namespace")?;
    let net_of_blocking = net.try_clone().context("cannot duplicate a namespace's file")?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        // Threads for blocking work are cloned from whoever asks for the work, who may be outside.
        .on_thread_start(move || {
            setns(&net_of_blocking, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace it holds");
            if mounts {
                unshare(CloneFlags::CLONE_FS).expect("a thread may stop sharing its working directory");
                setns(&mnt, CloneFlags::CLONE_NEWNS).expect("root may enter a mount namespace it holds");
            }
        })
        .build()
        .context("cannot start a runtime in a namespace")?;
    Ok((runtime, net))
}
