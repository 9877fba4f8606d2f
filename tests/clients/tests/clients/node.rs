//! The vendors' SDKs for Node.

use anyhow::Result;
use tollgate_clients::{Trial, packages, source};

fn sdk(script: &str) -> Result<Trial> {
    let modules = packages("node")?.join("node_modules");
    // The version that the packages name, whatever the machine has.
    let node =
        modules.join(format!("node-linux-{}/bin/node", if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" }));
    Ok(Trial::new(node)?.env("NODE_PATH", modules).arg(source("node").join(script)))
}

#[test]
fn openai_on_node() -> Result<()> {
    sdk("openai_sdk.cjs")?.run()
}

#[test]
fn anthropic_on_node() -> Result<()> {
    sdk("anthropic_sdk.cjs")?.run()
}

#[test]
fn google_genai_on_node() -> Result<()> {
    sdk("google_genai_sdk.cjs")?.never_retries().run()
}
