//! nginx, terminating TLS and making it anew.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Contender, Kind, Running, Traits, rival};
use crate::stage::{HOST, Stage};

/// nginx.
pub(super) struct Nginx;

const ADDRESS: &str = "127.0.0.1:8444";

impl Contender for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn traits(&self) -> Traits {
        let note = "proxy_buffering off, as streamed answers need it; HTTP/1.1 to the provider, always";
        Traits { note, ..Traits::of(Kind::Relay) }
    }

    fn version(&self) -> Result<String> {
        rival::version("nginx", "-v")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let config = rival::fill(
            include_str!("nginx.conf"),
            &[
                ("address", &ADDRESS),
                ("directory", &stage.world.directory().display()),
                ("certificate", &stage.certificate().display()),
                ("key", &stage.key().display()),
                ("root", &stage.root().display()),
                ("upstream", &stage.provider()),
                ("host", &HOST),
            ],
        );
        let file = stage.file("nginx.conf", &config)?;
        let (cgroup, program) = stage.contender(self.name(), "nginx")?;
        let running = program.arg("-c").arg(file).start()?;
        let address: SocketAddr = ADDRESS.parse().context("an address")?;
        stage.wait_listening(address, &running)?;
        Ok(Running::relay(stage, address, cgroup, running))
    }
}
