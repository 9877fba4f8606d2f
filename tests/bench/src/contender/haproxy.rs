//! HAProxy, terminating TLS and making it anew.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Contender, Kind, Running, Traits};
use crate::stage::{HOST, Stage};

/// HAProxy.
pub(super) struct Haproxy;

const ADDRESS: &str = "127.0.0.1:8443";

impl Contender for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn traits(&self) -> Traits {
        Traits { kind: Kind::Relay, client_tls: true, upstream_tls: true, client_h2: true, streams: true, note: "" }
    }

    fn version(&self) -> Result<String> {
        let said = Command::new("haproxy").arg("-v").output().context("cannot ask haproxy's version")?;
        Ok(String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned())
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let (bind, upstream) = (stage.certificate_and_key(), stage.provider());
        let config = format!(
            "global\n  nbthread 1\n  maxconn 20000\n  ssl-server-verify required\n\
             defaults\n  mode http\n  timeout connect 10s\n  timeout client 300s\n  timeout server 300s\n  http-reuse always\n\
             frontend f\n  bind {ADDRESS} ssl crt {} alpn h2,http/1.1\n  default_backend b\n\
             backend b\n  server s {upstream} ssl ca-file {} sni str({HOST}) verifyhost {HOST} alpn http/1.1\n",
            bind.display(),
            stage.root().display(),
        );
        let file = stage.file("haproxy.cfg", &config)?;
        let (cgroup, program) = stage.contender("haproxy", "haproxy")?;
        let running = program.args(["-db", "-f"]).arg(file).start()?;
        let address = ADDRESS.parse().context("an address")?;
        stage.wait_listening(address, &running)?;
        Ok(Running::relay(stage, address, cgroup, running))
    }
}
