//! LiteLLM's proxy. It takes twenty seconds to start.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Contender, Kind, Running, Traits, rival};
use crate::stage::{HOST, Stage};

/// LiteLLM.
pub(super) struct Litellm;

const ADDRESS: &str = "127.0.0.1:4000";

impl Contender for Litellm {
    fn name(&self) -> &'static str {
        "litellm"
    }

    fn traits(&self) -> Traits {
        let note = "no database, no key check";
        Traits { client_h2: false, note, ..Traits::of(Kind::Gateway) }
    }

    fn version(&self) -> Result<String> {
        rival::python_version("litellm", "litellm")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let address: SocketAddr = ADDRESS.parse().context("an address")?;
        let config = stage.file("litellm.yaml", &rival::fill(include_str!("litellm.yaml"), &[("host", &HOST)]))?;
        let (cgroup, program) = stage.contender(self.name(), &rival::program("litellm", "bin/litellm")?)?;
        let running = program
            .arg("--config")
            .arg(config)
            .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string(), "--num_workers", "1"])
            .arg("--ssl_certfile_path")
            .arg(stage.certificate())
            .arg("--ssl_keyfile_path")
            .arg(stage.key())
            .envs([
                // The list of prices that came with it; it would look for a newer one first.
                ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
                ("LITELLM_MODE", "PRODUCTION"),
                ("LITELLM_LOG", "ERROR"),
                // It does not start without a key of its own unless told so.
                ("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true"),
            ])
            .env("SSL_CERT_FILE", stage.root())
            .start()?;
        stage.wait_listening(address, &running)?;
        Ok(Running::relay(stage, address, cgroup, running))
    }
}
