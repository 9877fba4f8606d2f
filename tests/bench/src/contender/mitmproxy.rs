//! mitmproxy in its own eBPF mode: it redirects the client's connections by itself, through a TUN device and a TCP stack in user space.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tollgate_world::Running as Process;

use super::{Contender, Kind, Running, Traits, rival};
use crate::stage::{HOST, Stage, last_lines};

/// mitmdump, mitmproxy without a terminal.
pub(super) struct Mitmproxy;

/// Its redirector attaches to whatever is mounted at /sys/fs/cgroup. That is the clients' cgroup here, in a private mount namespace, so
/// that it steers this world's clients alone; then no names of programs need to be given.
const IN_VIEW_OF_CLIENTS: &str = r#"mount --bind "$0" /sys/fs/cgroup && exec "$@""#;
/// It starts the redirector by sudo. As root already, that is this: no terminal and no session of its own, so that it dies with us.
const SUDO: &str = "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nexec \"$@\"\n";
/// The word of `mitmproxy_addons.py`.
const REDIRECTED: &str = "redirected";
const PATIENCE: Duration = Duration::from_secs(90);

impl Contender for Mitmproxy {
    fn name(&self) -> &'static str {
        "mitmproxy"
    }

    fn traits(&self) -> Traits {
        let note = "by its eBPF mode, --mode local";
        Traits { note, ..Traits::of(Kind::Interceptor) }
    }

    fn version(&self) -> Result<String> {
        rival::python_version("mitmproxy", "mitmproxy")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let mitmdump = rival::program("mitmproxy", "bin/mitmdump")?;
        let addons = stage.file("mitmproxy_addons.py", include_str!("mitmproxy_addons.py"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", sudo(stage)?.display());
        let (cgroup, program) = stage.contender(self.name(), "unshare")?;
        let running = program
            .args(["--mount", "sh", "-c", IN_VIEW_OF_CLIENTS])
            .arg(stage.world.client_cgroup())
            .args([mitmdump.as_str(), "--mode", "local", "--scripts"])
            .arg(addons)
            .args(["--certs", &format!("{HOST}={}", stage.certificate_and_key().display())])
            .args(settings(&[
                ("confdir", &stage.world.directory().join("mitmproxy").display()),
                ("ssl_verify_upstream_trusted_ca", &stage.root().display()),
                // Large bodies pass through; without it they are collected first.
                ("stream_large_bodies", &"1m"),
                ("flow_detail", &0),
                ("termlog_verbosity", &"warn"),
            ]))
            .env("PATH", path)
            .start()?;
        wait_redirecting(stage, &running)?;
        let pid = Some(running.pid());
        Ok(Running { cgroup: Some(cgroup), pid, keep: vec![Box::new(running)], ..Running::new(stage) })
    }
}

fn settings(values: &[(&str, &dyn std::fmt::Display)]) -> Vec<String> {
    values.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]).collect()
}

/// The folder with a `sudo` in it.
fn sudo(stage: &Stage) -> Result<PathBuf> {
    let folder = stage.world.directory().join("mitmproxy-bin");
    fs::create_dir_all(&folder).context("cannot make a folder for mitmproxy")?;
    let file = folder.join("sudo");
    fs::write(&file, SUDO).context("cannot write mitmproxy's sudo")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).context("cannot make mitmproxy's sudo executable")?;
    Ok(folder)
}

/// Calls the provider until mitmproxy has seen one of the calls: before, they go past it.
fn wait_redirecting(stage: &Stage, running: &Process) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = running.status() {
            bail!("it ended before it redirected anything ({status}): {}", last_lines(running));
        }
        // Its outcome does not matter.
        let _answer = stage
            .load("curl")
            .args(["--silent", "--max-time", "5", "--cacert"])
            .arg(stage.root())
            .arg(format!("https://{HOST}/"))
            .run()?;
        if running.wait_for(REDIRECTED, Duration::from_millis(50)).is_ok() {
            return Ok(());
        }
    }
    bail!("it redirects nothing: {}", last_lines(running))
}
