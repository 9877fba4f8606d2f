//! The built `tollgate` on the client host.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tollgate_tls::Authority;
use tollgate_tls::trust::{self, Environment};

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
    admin: SocketAddr,
    running: Running,
    directory: PathBuf,
    file: PathBuf,
    world: Arc<Inner>,
}

impl World {
    /// Starts `tollgate run` with this configuration (YAML, may be empty), confined to the world's client cgroup, and
    /// waits until it says that it is ready.
    ///
    /// `intercept.cgroup` and `ca.directory` are added unless the text names them. The CA is kept from one agent of the
    /// same world to the next, as on a real machine.
    pub fn agent(&self, config: &str) -> Result<Agent> {
        let agent = self.agent_unready(config)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// One more agent, whose admin pages are at another port than the usual one.
    pub fn another_agent(&self, port: u16, config: &str) -> Result<Agent> {
        let config = format!("{config}\nadmin:\n  listen: 127.0.0.1:{port}\n");
        let agent = Agent { admin: SocketAddr::new(ADMIN.ip(), port), ..self.agent_unready(&config)? };
        agent.wait_ready()?;
        Ok(agent)
    }

    /// The same, started by another command that runs it, such as `taskset -c 1`.
    pub fn agent_by(&self, command: &[&str], config: &str) -> Result<Agent> {
        let agent = self.start_agent(command, config)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// The same, without waiting: for agents that shall not start.
    pub fn agent_unready(&self, config: &str) -> Result<Agent> {
        self.start_agent(&[], config)
    }

    fn start_agent(&self, command: &[&str], config: &str) -> Result<Agent> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory().join("ca");
        let file = self.directory().join(format!("tollgate-{number}.yaml"));
        fs::write(&file, complete(config, &self.client_cgroup(), &directory))
            .context("cannot write the configuration")?;
        let binary = binary()?;
        let program = match command.split_first() {
            Some((first, rest)) => self.agent_command(first).args(rest).arg(&binary),
            None => self.agent_command(&binary),
        };
        let running = program.args(["run", "--config"]).arg(&file).start()?;
        Ok(Agent { admin: ADMIN, running, directory, file, world: self.share() })
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

    /// The file of its configuration.
    pub fn config_file(&self) -> &Path {
        &self.file
    }

    /// Writes another configuration in the place of the one that it was started with, in one step. It is completed as that was.
    pub fn configure(&self, config: &str) -> Result<()> {
        let cgroup = self.world.site.client_cgroup();
        let new = self.file.with_extension("new");
        fs::write(&new, complete(config, &cgroup, &self.directory)).context("cannot write the configuration")?;
        fs::rename(&new, &self.file).context("cannot put the configuration in its place")
    }

    /// SIGHUP: it reads its configuration again.
    pub fn reload(&self) {
        self.running.signal(Signal::SIGHUP);
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
        http::get(&self.world.client, self.admin, path)
    }

    /// The metrics page.
    pub fn metrics(&self) -> Result<String> {
        match self.get("/metrics")? {
            (200, body) => Ok(body),
            (status, body) => bail!("/metrics answered {status}: {body}"),
        }
    }

    /// The metrics page, once `settled` holds for it; a call is counted a moment after its client has the answer.
    pub fn metrics_when(&self, timeout: Duration, settled: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let page = self.metrics()?;
            if settled(&page) {
                return Ok(page);
            }
            if Instant::now() > deadline {
                bail!("/metrics did not come to show what the test waits for:\n{page}\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where its CA is, unless the test chose `ca.directory`.
    pub fn ca_directory(&self) -> &Path {
        &self.directory
    }

    /// Its CA's certificate, PEM: the root's alone, which stands first in the file, as clients are given it.
    pub fn ca_pem(&self) -> Result<String> {
        const END: &str = "-----END CERTIFICATE-----\n";
        let file = self.directory.join(Authority::FILE);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let end = text.find(END).with_context(|| format!("{} holds no certificate", file.display()))? + END.len();
        Ok(text[..end].to_owned())
    }

    /// The environment by which a client of this world trusts the agent beside the internet's own root, as
    /// `tollgate exec` sets it for a client with no such variables of its own. For [`Program::envs`].
    pub fn trust_variables(&self) -> Result<Environment> {
        let (pem, directory) = (self.ca_pem()?, self.directory.with_file_name("trust-of-clients"));
        // Inside, because the client's system roots are the world's.
        let trust = self.world.client.run(move || async move { trust::install(&directory, &pem, &Environment::new()) });
        Ok(trust.context("cannot write the files that clients trust")?.variables)
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
    add(&mut lines, "intercept", "cgroup", cgroup);
    add(&mut lines, "ca", "directory", directory);
    lines.join("\n") + "\n"
}

/// Adds `key: value` to the section, in YAML's block style, which tests write; a section in braces is left alone.
fn add(lines: &mut Vec<String>, section: &str, key: &str, value: &Path) {
    let entry = |indent: &str| format!("{indent}{key}: {}", value.display());
    let Some(at) = lines.iter().position(|line| line.trim_end() == format!("{section}:")) else {
        if !lines.iter().any(|line| line.starts_with(&format!("{section}:"))) {
            lines.extend([format!("{section}:"), entry("  ")]);
        }
        return;
    };
    let inside = || lines[at + 1..].iter().take_while(|line| line.starts_with(' '));
    if !inside().any(|line| line.trim_start().starts_with(&format!("{key}:"))) {
        let indent = inside().next().map_or(2, |line| line.len() - line.trim_start().len());
        lines.insert(at + 1, entry(&" ".repeat(indent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(config: &str) -> String {
        complete(config, Path::new("/c"), Path::new("/s"))
    }

    #[test]
    fn a_configuration_is_confined_to_the_world() {
        assert_eq!(completed(""), "intercept:\n  cgroup: /c\nca:\n  directory: /s\n");
        let own = "intercept:\n    quic: block\nx: 1\n";
        assert_eq!(completed(own), "intercept:\n    cgroup: /c\n    quic: block\nx: 1\nca:\n  directory: /s\n");
    }

    #[test]
    fn what_the_test_chose_stays() {
        for own in [
            "intercept:\n  quic: block\n  cgroup: /own\nca:\n  directory: /mine\n",
            "ca: {}\nintercept: {cgroup: /own}\n",
        ] {
            assert_eq!(completed(own), own);
        }
    }
}
