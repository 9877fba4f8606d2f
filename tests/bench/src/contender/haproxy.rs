//! HAProxy: terminating TLS and making it anew, and as a relay of bytes.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Contender, Kind, Running, Traits, rival};
use crate::stage::{BULK, HOST, Stage};

/// HAProxy with TLS on both sides.
pub(super) struct Haproxy {
    /// Whether it speaks HTTP/2 to the provider as well. It is not what its manual leads to, but what Tollgate does.
    pub(super) h2_throughout: bool,
}

/// HAProxy in TCP mode, which leaves TLS to the two ends. It is none of [`super::ALL`]: only tunnels are compared with it.
pub(super) struct HaproxyTcp;

const ADDRESS: &str = "127.0.0.1:8443";
const TCP_ADDRESS: &str = "127.0.0.1:8442";

impl Contender for Haproxy {
    fn name(&self) -> &'static str {
        if self.h2_throughout { "haproxy-h2" } else { "haproxy" }
    }

    fn traits(&self) -> Traits {
        Traits::relay(self.h2_throughout)
    }

    fn version(&self) -> Result<String> {
        rival::version("haproxy", "-v")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let config = rival::fill(
            include_str!("haproxy.cfg"),
            &[
                ("address", &ADDRESS),
                ("certificate", &stage.certificate_and_key().display()),
                ("root", &stage.root().display()),
                ("upstream", &stage.provider()),
                ("host", &HOST),
                ("alpn", &if self.h2_throughout { "h2" } else { "http/1.1" }),
            ],
        );
        start(stage, self.name(), ADDRESS, &config)
    }
}

impl Contender for HaproxyTcp {
    fn name(&self) -> &'static str {
        "haproxy-tcp"
    }

    fn traits(&self) -> Traits {
        let note = "relays bytes; TLS is the two ends' own";
        Traits { note, ..Traits::of(Kind::Relay) }
    }

    fn version(&self) -> Result<String> {
        rival::version("haproxy", "-v")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let values: [(&str, &dyn std::fmt::Display); 2] =
            [("address", &TCP_ADDRESS), ("upstream", &SocketAddr::new(BULK, 443))];
        start(stage, self.name(), TCP_ADDRESS, &rival::fill(include_str!("haproxy_tcp.cfg"), &values))
    }
}

fn start(stage: &Stage, name: &str, address: &str, config: &str) -> Result<Running> {
    let file = stage.file(&format!("{name}.cfg"), config)?;
    let (cgroup, program) = stage.contender(name, "haproxy")?;
    let running = program.args(["-db", "-f"]).arg(file).start()?;
    let address: SocketAddr = address.parse().context("an address")?;
    stage.wait_listening(address, &running)?;
    Ok(Running::relay(stage, address, cgroup, running))
}
