//! Two agents that steer the same programs: an upgrade, or a session beside a node-wide agent.

use std::time::Duration;

use anyhow::Result;
use tollgate_e2e::{CHAT, chat, json, post, samples, sum};
use tollgate_world::{Agent, World};

const GENEROUS: Duration = Duration::from_mins(1);

fn intercepted(agent: &Agent) -> Result<u64> {
    Ok(sum(&samples(agent)?, "tollgate_connections_total", &[r#"fate="intercepted""#]))
}

#[test]
fn a_new_agent_takes_over_from_an_old_one_without_a_failed_call() -> Result<()> {
    let world = World::new()?;
    let old = world.agent("")?;
    let variables = old.trust_variables()?;
    let call = || json(chat(&world, "gpt-4o-mini", false).envs(&variables).run()?);
    call()?;
    // Both at work: each call is taken by one of them, once, and goes to the provider from there.
    let new = world.another_agent(9465, "")?;
    call()?;
    call()?;
    assert_eq!(intercepted(&old)? + intercepted(&new)?, 3, "{}\n{}", old.log(), new.log());
    assert_eq!(world.provider().truth().sums().completed, 3);
    let before = intercepted(&new)?;
    assert_eq!(old.stop(GENEROUS)?.status.code(), Some(0));
    call()?;
    assert_eq!(intercepted(&new)?, before + 1);
    Ok(())
}

#[test]
fn the_admin_pages_pass_from_the_old_agent_to_the_new_one() -> Result<()> {
    let world = World::new()?;
    let old = world.agent("")?;
    let new = world.agent_unready("")?;
    new.process().wait_for("\"ready\"", GENEROUS)?;
    assert_eq!(status(&old)?["pid"], old.pid(), "the old one answers while it is there");
    old.stop(GENEROUS)?;
    new.wait_ready()?;
    assert_eq!(status(&new)?["pid"], new.pid());
    Ok(())
}

fn status(agent: &Agent) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&agent.get("/status")?.1)?)
}

#[test]
fn exec_beside_a_node_wide_agent_counts_a_call_once() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("")?;
    // Started by a program that the agent steers, as from a shell on a machine where the service runs.
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#;
    let script = "exec \"$0\" exec -- curl --silent --show-error --fail -H 'content-type: application/json' \
                  -H 'authorization: Bearer k' --data-binary \"$1\" \"$2\"";
    let output = world
        .client_command("sh")
        .args(["-c", script])
        .arg(tollgate_world::agent::binary()?)
        .args([body, CHAT])
        .run()?
        .success()?;
    assert!(output.errors().contains("gpt-4o-mini"), "the session counts it: {output}");
    assert_eq!(
        intercepted(&agent)?,
        0,
        "the node-wide agent leaves the session's calls to the session\n{}",
        agent.log()
    );
    // And goes on with everyone else's.
    json(post(&world, CHAT, body).envs(agent.trust_variables()?).run()?)?;
    assert_eq!(intercepted(&agent)?, 1);
    Ok(())
}
