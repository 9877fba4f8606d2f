//! Anthropic's coding agent, a Bun program.

use anyhow::Result;
use tollgate_clients::{Trial, packages};
use tollgate_world::World;

/// Its session, which it tells the provider.
const SESSION: &str = "9a1a7a2b-5912-44f0-9fca-399adc3b5649";

fn claude(prompt: &str) -> Result<Trial> {
    let platform = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    let modules = packages("node")?.join("node_modules");
    let program = modules.join(format!("@anthropic-ai/claude-code-linux-{platform}/claude"));
    let trial = Trial::new(program)?.arg("-p").arg(prompt).arg("--session-id").arg(SESSION);
    Ok(trial
        .env("ANTHROPIC_API_KEY", "sk-ant-not-a-real-key")
        .own_headers(&["x-client-request-id"])
        .compared("/v1/messages")
        .abandons_connections()
        .without_peers()
        .without_issuers()
        .before(forget))
}

/// Makes it a new user's first session, with the same name for the machine each time.
fn forget(world: &World) -> Result<()> {
    let home = world.directory().join("home");
    if home.join(".claude").exists() {
        std::fs::remove_dir_all(home.join(".claude"))?;
    }
    std::fs::write(home.join(".claude.json"), format!(r#"{{"userID":"{}"}}"#, "0".repeat(64)))?;
    Ok(())
}

/// The same, and the stand-in calls the tools that it is offered.
fn forget_and_call_tools(world: &World) -> Result<()> {
    const MORE_THAN_IT_SENDS: u32 = 50;
    world.provider().inject("tools".parse()?, MORE_THAN_IT_SENDS);
    forget(world)
}

#[test]
fn claude_code_under_exec() -> Result<()> {
    claude("Say “naïve 漢字 🚦”, please.")?.run_under_exec()
}

#[test]
fn claude_code_with_a_tool_under_exec() -> Result<()> {
    // The first is answered with a call; the second has its result.
    claude("Read it.")?.arg("--tools").arg("Read").before(forget_and_call_tools).calls(2).run_under_exec()
}

#[test]
fn claude_code_with_a_node_wide_agent() -> Result<()> {
    claude("Say “naïve 漢字 🚦”, please.")?.run()
}
