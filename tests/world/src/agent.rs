//! The built `tollgate` on the client host.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::http;
use crate::program::Program;
use crate::running::{Output, Running};
use crate::{Inner, World};

/// Where the agent's metrics and health pages are, in its own network namespace, so every world has this port free.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Generous: the verifier and a loaded machine both take their time.
const START: Duration = Duration::from_mins(1);

/// A running `tollgate run`. It is killed when this is dropped.
pub struct Agent {
    running: Running,
    directory: PathBuf,
    world: Arc<Inner>,
}

impl World {
    /// Starts `tollgate run` with this configuration (YAML, may be empty), confined to the world's client cgroup, and
    /// waits until it says that it is ready.
    ///
    /// `intercept.cgroup` and `state_dir` are added unless the text names them. Its state is kept from one agent of
    /// the same world to the next, as on a real machine.
    pub fn agent(&self, config: &str) -> Result<Agent> {
        let agent = self.agent_unready(config)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// The same, without waiting: for agents that shall not start.
    pub fn agent_unready(&self, config: &str) -> Result<Agent> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory().join("state");
        let file = self.directory().join(format!("tollgate-{number}.yaml"));
        fs::write(&file, complete(config, &self.client_cgroup(), &directory))
            .context("cannot write the configuration")?;
        let running = self.agent_command(binary()?).args(["run", "--config"]).arg(&file).start()?;
        Ok(Agent { running, directory, world: self.share() })
    }

    /// A `tollgate` command, such as `exec -- curl …`, on the client host outside the client cgroup.
    pub fn tollgate(&self) -> Result<Program> {
        Ok(self.agent_command(binary()?))
    }
}

impl Agent {
    /// Waits until `/readyz` answers 200. Fails, with the log, when the agent ends first.
    pub fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.get("/readyz");
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if let Some(status) = self.running.status() {
                bail!("tollgate ended before it was ready ({status})\n{}", self.log());
            }
            if Instant::now() > deadline {
                bail!("tollgate was not ready within {START:?}: {answer:?}\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The process itself: its output so far, and any signal.
    pub fn process(&self) -> &Running {
        &self.running
    }

    /// All it printed so far: standard output, then standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.running.stdout()).into_owned() + &self.running.stderr()
    }

    /// SIGTERM, then waits until it has drained and ended.
    pub fn stop(self, timeout: Duration) -> Result<Output> {
        self.running.signal(Signal::SIGTERM);
        self.running.wait(timeout)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.running.kill();
    }

    /// SIGSTOP: it hangs, and its sockets and links stay.
    pub fn pause(&self) {
        self.running.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.running.signal(Signal::SIGCONT);
    }

    /// The status and body of a page of its admin listener, asked from the client host.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(&self.world.client, ADMIN, path)
    }

    /// The metrics page.
    pub fn metrics(&self) -> Result<String> {
        match self.get("/metrics")? {
            (200, body) => Ok(body),
            (status, body) => bail!("/metrics answered {status}: {body}"),
        }
    }

    /// Its state directory: the CA and the files that clients' trust variables point to.
    pub fn state_dir(&self) -> &Path {
        &self.directory
    }
}

/// The program under test: `TOLLGATE_BIN`, or `tollgate` in the target directory of the running test.
pub fn binary() -> Result<PathBuf> {
    let path = if let Some(path) = env::var_os("TOLLGATE_BIN") {
        PathBuf::from(path)
    } else {
        let test = env::current_exe().context("cannot tell where this test's executable is")?;
        let folder = test.ancestors().skip(1).find(|path| !path.ends_with("deps") && !path.ends_with("examples"));
        folder.context("this test's executable is in no directory")?.join("tollgate")
    };
    if !path.is_file() {
        bail!("{} does not exist; run `cargo xtask build`, or set TOLLGATE_BIN", path.display());
    }
    Ok(path)
}

/// Adds what confines the agent to its world, where the text does not say it.
fn complete(config: &str, cgroup: &Path, directory: &Path) -> String {
    let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
    let has = |lines: &[String], start: &str| lines.iter().position(|line| line.starts_with(start));
    let cgroup = format!("  cgroup: {}", cgroup.display());
    match has(&lines, "intercept:") {
        Some(at)
            if !lines[at + 1..]
                .iter()
                .take_while(|line| line.starts_with(' '))
                .any(|line| line.trim().starts_with("cgroup:")) =>
        {
            lines.insert(at + 1, cgroup);
        }
        Some(_) => {}
        None => lines.extend(["intercept:".to_owned(), cgroup]),
    }
    if has(&lines, "state_dir:").is_none() {
        lines.push(format!("state_dir: {}", directory.display()));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(config: &str) -> String {
        complete(config, Path::new("/c"), Path::new("/s"))
    }

    #[test]
    fn a_configuration_is_confined_to_the_world() {
        assert_eq!(completed(""), "intercept:\n  cgroup: /c\nstate_dir: /s\n");
        assert_eq!(
            completed("intercept:\n  quic: block\nx: 1\n"),
            "intercept:\n  cgroup: /c\n  quic: block\nx: 1\nstate_dir: /s\n"
        );
    }

    #[test]
    fn what_the_test_chose_stays() {
        let own = "intercept:\n  quic: block\n  cgroup: /own\nstate_dir: /mine\n";
        assert_eq!(completed(own), own);
    }
}
