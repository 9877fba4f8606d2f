//! Programs that run on the client host: in its network, its mounts and one of the world's cgroups.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Inner;
use crate::running::{Output, Running};

/// Long enough for a slow machine; a test that needs less says so.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Joins the cgroup before the program exists, so that every socket it makes belongs there.
const JOIN: &str = r#"echo 0 >"$0" && exec "$@""#;
const FALLBACK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to be run, built like `std::process::Command`.
///
/// Its environment is `PATH` (ours), `HOME` (the world's, empty at first, also the working directory) and `LANG`; nothing
/// that the machine exports, such as `SSL_CERT_FILE`, reaches it.
#[must_use = "nothing runs until `run` or `start`"]
pub struct Program {
    world: Arc<Inner>,
    cgroup: PathBuf,
    executable: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    user: Option<u32>,
    stdin: Vec<u8>,
    attached: bool,
    timeout: Duration,
}

impl Program {
    pub(crate) fn new(world: Arc<Inner>, cgroup: PathBuf, program: &OsStr) -> Self {
        let home = world.host.home();
        let path = std::env::var_os("PATH").unwrap_or_else(|| FALLBACK_PATH.into());
        let environment =
            vec![("PATH".into(), path), ("HOME".into(), home.clone().into()), ("LANG".into(), "C.UTF-8".into())];
        Self {
            world,
            cgroup,
            executable: program.to_owned(),
            arguments: Vec::new(),
            environment,
            directory: home,
            user: None,
            stdin: Vec::new(),
            attached: false,
            timeout: TIMEOUT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets environment variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |program, (name, value)| program.env(name, value))
    }

    /// The working directory; the world's home unless set.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        directory.as_ref().clone_into(&mut self.directory);
        self
    }

    /// Runs as this user and the group of the same number, with no other groups (needs setpriv of util-linux).
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// What the program reads from its standard input, which then ends. Nothing, unless set.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Gives the program our own standard input, output and error, terminal and process group, and captures nothing: for
    /// demonstrations.
    pub fn attached(mut self) -> Self {
        self.attached = true;
        self
    }

    /// How long [`run`](Self::run) waits before it kills the program and fails; two minutes unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the program and waits for its end. A failure exit is no error here: see [`Output::success`].
    ///
    /// It fails when the program cannot be started or outlives the timeout, and then says what was printed until then.
    pub fn run(self) -> Result<Output> {
        let timeout = self.timeout;
        self.start()?.wait(timeout)
    }

    /// Starts the program. It is killed when the handle is dropped.
    pub fn start(self) -> Result<Running> {
        let what = self.describe();
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", JOIN]).arg(self.cgroup.join("cgroup.procs"));
        if let Some(uid) = self.user {
            command
                .arg("setpriv")
                .args([format!("--reuid={uid}"), format!("--regid={uid}")])
                .args(["--clear-groups", "--"]);
        }
        command.arg(&self.executable).args(&self.arguments);
        command.env_clear().envs(self.environment).current_dir(&self.directory);
        if !self.attached {
            // Its own process group, so that a kill reaches its children and Ctrl-C at a terminal does not.
            command.process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        Running::start(self.world, command, self.stdin, self.attached, what.clone())
            .with_context(|| format!("cannot start `{what}`"))
    }

    fn describe(&self) -> String {
        let words: Vec<_> =
            std::iter::once(&self.executable).chain(&self.arguments).map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}
