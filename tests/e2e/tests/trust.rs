//! Clients that trust the agent, and those that do not.

use std::time::Duration;

use anyhow::Result;
use tollgate_e2e::{chat, json, wait_for_count};
use tollgate_world::World;

const GENEROUS: Duration = Duration::from_mins(1);
/// curl's code for a certificate that it does not trust.
const PEER_NOT_VERIFIED: i32 = 60;
const CONNECTIONS: &str = "tollgate_connections_total";

#[test]
fn a_client_that_does_not_trust_the_authority_fails_once_and_is_then_tunnelled() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("")?;
    let first = chat(&world, "gpt-4o-mini", false).run()?;
    assert_eq!(first.status.code(), Some(PEER_NOT_VERIFIED), "{first}");
    json(chat(&world, "gpt-4o-mini", false).run()?)?;
    wait_for_count(&agent, CONNECTIONS, &[r#"fate="client_refused""#, r#"reason="unknown_ca""#], 1)?;
    wait_for_count(&agent, CONNECTIONS, &[r#"fate="tunnelled""#, r#"reason="client_refused""#], 1)?;
    let log = agent.log();
    assert!(log.contains("refused our certificate") && log.contains("CURL_CA_BUNDLE"), "the remedy is logged: {log}");

    let doctor = world.tollgate()?.arg("doctor").run()?;
    assert_eq!(doctor.status.code(), Some(1), "{doctor}");
    let told = doctor.text();
    assert!(told.contains("curl") && told.contains("api.openai.com") && told.contains("CURL_CA_BUNDLE"), "{told}");
    Ok(())
}

#[test]
fn a_refusal_concerns_its_program_and_its_host_alone() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("")?;
    let first = chat(&world, "gpt-4o-mini", false).run()?;
    assert_eq!(first.status.code(), Some(PEER_NOT_VERIFIED), "{first}");
    // Another program, which trusts the agent, is metered still.
    let script = "import json, urllib.request\n\
                  request = urllib.request.Request('https://api.openai.com/v1/chat/completions', method='POST', \
                  data=json.dumps({'model': 'gpt-4o-mini', 'messages': [{'role': 'user', 'content': 'hi'}]}).encode(), \
                  headers={'content-type': 'application/json', 'authorization': 'Bearer k'})\n\
                  print(json.load(urllib.request.urlopen(request))['usage']['total_tokens'])";
    let python = world.client_command("/usr/bin/python3").args(["-c", script]).envs(agent.trust_variables()?).run()?;
    python.success()?;
    wait_for_count(&agent, CONNECTIONS, &[r#"fate="intercepted""#], 1)
}

#[test]
fn with_terminate_off_everyone_is_tunnelled_and_counted_by_host() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("terminate: off\n")?;
    json(chat(&world, "gpt-4o-mini", false).run()?)?;
    wait_for_count(&agent, CONNECTIONS, &[r#"reason="terminate_off""#], 1)
}

#[test]
fn the_authority_is_kept_from_one_agent_to_the_next() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("")?;
    let (first, variables) = (agent.ca_pem()?, agent.trust_variables()?);
    agent.stop(GENEROUS)?.success()?;
    let agent = world.agent("")?;
    assert_eq!(agent.ca_pem()?, first);
    json(chat(&world, "gpt-4o-mini", false).envs(variables).run()?)?;
    Ok(())
}
