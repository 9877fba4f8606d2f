//! The agent's death is nobody's outage, and nobody else's connections are its business.

use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate_e2e::{CHAT, answer, chat, json, post, samples, sum};
use tollgate_world::{Agent, World};

const GENEROUS: Duration = Duration::from_mins(1);

/// A world with an agent that steers, proven by a metered call.
fn steered(config: &str) -> Result<(World, Agent)> {
    let world = World::new()?;
    let agent = world.agent(config)?;
    json(chat(&world, "gpt-4o-mini", false).envs(agent.trust_variables()?).run()?)?;
    assert_eq!(intercepted(&agent)?, 1, "the first call is intercepted\n{}", agent.log());
    Ok((world, agent))
}

fn intercepted(agent: &Agent) -> Result<u64> {
    Ok(sum(&samples(agent)?, "tollgate_connections_total", &[r#"fate="intercepted""#]))
}

#[test]
fn a_killed_agents_clients_go_direct_with_their_next_call() -> Result<()> {
    let (world, agent) = steered("")?;
    let variables = agent.trust_variables()?;
    agent.kill();
    json(chat(&world, "gpt-4o-mini", false).envs(variables).run()?)?;
    // And a client that never trusted the agent sees the real certificate.
    json(chat(&world, "gpt-4o-mini", false).run()?)?;
    assert_eq!(world.provider().truth().sums().completed, 3);
    Ok(())
}

#[test]
fn a_hung_agents_clients_go_direct_once_its_heartbeat_is_stale_and_come_back_with_it() -> Result<()> {
    let (world, agent) = steered("intercept:\n  stale_after: 2s\n")?;
    let variables = agent.trust_variables()?;
    agent.pause();
    // Until the heartbeat is stale a call may hang; curl gives up on that and tries again.
    let deadline = Instant::now() + GENEROUS;
    loop {
        let call = chat(&world, "gpt-4o-mini", false).args(["--max-time", "5"]).envs(&variables).run()?;
        if call.status.success() {
            break;
        }
        assert!(Instant::now() < deadline, "no call went direct: {call}");
    }
    agent.resume();
    let deadline = Instant::now() + GENEROUS;
    loop {
        json(chat(&world, "gpt-4o-mini", false).envs(&variables).run()?)?;
        if intercepted(&agent)? >= 2 {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "no call was intercepted again\n{}", agent.log());
    }
}

#[test]
fn a_stopped_agent_finishes_its_streams_takes_nothing_new_and_exits_with_0() -> Result<()> {
    let (world, agent) = steered("drain:\n  timeout: 60s\n")?;
    let variables = agent.trust_variables()?;
    let gate = world.provider().gate("drain");
    let stream = chat(&world, "gpt-4o-mini+gate=drain+words=6", true).envs(&variables).start()?;
    gate.allow(2);
    stream.wait_for("data:", GENEROUS)?;
    let stopping = agent.process();
    stopping.signal(tollgate_world::Signal::SIGTERM);
    stopping.wait_for("draining", GENEROUS)?;
    // A client that does not trust the agent: that it succeeds proves that it went direct.
    json(chat(&world, "gpt-4o-mini", false).run()?)?;
    assert!(agent.process().status().is_none(), "the agent waits for its stream\n{}", agent.log());
    gate.open();
    let (body, status) = answer(stream.wait(GENEROUS)?)?;
    assert_eq!(status, 200);
    assert!(body.contains("data: [DONE]"), "the stream is whole: {body}");
    let ended = agent.stop(GENEROUS)?;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    Ok(())
}

#[test]
fn a_drain_that_takes_too_long_is_cut_off_and_still_exits_with_0() -> Result<()> {
    let (world, agent) = steered("drain:\n  timeout: 1s\n")?;
    let stream = chat(&world, "gpt-4o-mini+stall=2", true).envs(agent.trust_variables()?).start()?;
    stream.wait_for("data:", GENEROUS)?;
    let ended = agent.stop(GENEROUS)?;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    assert!(ended.errors().contains("drain.timeout"), "the log says what to change: {ended}");
    assert_eq!(ended.errors().matches(r#""outcome":"stopped""#).count(), 1, "the call is on record: {ended}");
    stream.kill();
    Ok(())
}

#[test]
fn told_to_stop_twice_it_ends_at_once_and_what_it_cut_off_is_on_record() -> Result<()> {
    let (world, agent) = steered("drain:\n  timeout: 10m\n")?;
    let stream = chat(&world, "gpt-4o-mini+stall=2", true).envs(agent.trust_variables()?).start()?;
    stream.wait_for("data:", GENEROUS)?;
    agent.process().signal(tollgate_world::Signal::SIGTERM);
    agent.process().wait_for("draining", GENEROUS)?;
    let ended = agent.stop(GENEROUS)?;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    assert_eq!(ended.errors().matches(r#""outcome":"stopped""#).count(), 1, "{ended}");
    stream.kill();
    Ok(())
}

#[test]
fn other_hosts_are_untouched_and_a_neighbour_on_a_shared_address_is_tunnelled() -> Result<()> {
    let (world, agent) = steered("")?;
    // No trust in the agent: only the real certificate is accepted.
    let site = |host: &str| {
        let url = format!("https://{host}/");
        world.client_command("curl").args(["--silent", "--show-error", "--verbose", &url]).run()?.success()
    };
    let other = site("other.example")?;
    let neighbour = site("other-site.example")?;
    assert!(other.errors().contains("other.example"), "{other}");
    assert!(!neighbour.text().is_empty(), "{neighbour}");
    let samples = samples(&agent)?;
    let tunnelled = |reason| sum(&samples, "tollgate_connections_total", &[r#"fate="tunnelled""#, reason]);
    assert_eq!(tunnelled(r#"reason="other_host""#), 1, "the neighbour alone came by: {samples:#?}");
    assert_eq!(sum(&samples, "tollgate_connections_total", &[]), 2, "{samples:#?}");
    Ok(())
}

#[test]
fn a_provider_with_a_bad_certificate_is_refused_in_the_callers_dialect() -> Result<()> {
    use tollgate_provider::Flaw;
    for (flaw, word) in [(Flaw::Expired, "expired"), (Flaw::WrongName, "name"), (Flaw::UnknownIssuer, "does not trust")]
    {
        let world = World::new()?;
        let agent = world.agent("")?;
        world.provider().present(world.pki(), "api.openai.com", flaw)?;
        let (body, status) = answer(chat(&world, "gpt-4o-mini", false).envs(agent.trust_variables()?).run()?)?;
        assert_eq!(status, 502, "{flaw:?}: {body}");
        let error: serde_json::Value = serde_json::from_str(&body)?;
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("api.openai.com") && message.to_lowercase().contains(word), "{flaw:?}: {message}");
        assert_eq!(world.provider().truth().sums().exchanges, 0, "nothing was sent to an impostor");
        // Without the agent, this client would have refused the provider itself.
        agent.kill();
        assert!(!chat(&world, "gpt-4o-mini", false).run()?.status.success(), "{flaw:?}");
    }
    Ok(())
}

#[test]
fn nothing_of_the_call_is_in_the_log() -> Result<()> {
    let (world, agent) = steered("log:\n  level: debug\n")?;
    for version in ["--http1.1", "--http2"] {
        json(chat(&world, "gpt-4o-mini", false).arg(version).envs(agent.trust_variables()?).run()?)?;
        let url = format!("{CHAT}?key=secret-in-the-query");
        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"secret prompt"}]}"#;
        answer(post(&world, &url, body).arg(version).envs(agent.trust_variables()?).run()?)?;
    }
    let output = agent.stop(GENEROUS)?;
    let log = output.text() + &output.errors();
    assert!(log.contains("gpt-4o-mini"), "the calls are in the log: {log}");
    for secret in ["sk-secret", "secret prompt", "Hello, world", "secret-in-the-query"] {
        assert!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
    Ok(())
}

#[test]
fn without_a_configured_cgroup_the_whole_tree_that_the_agent_sees_is_steered() -> Result<()> {
    let world = World::new()?;
    // A cgroup namespace makes the world's part of the tree look like all of it, so the machine around stays out of this.
    let directory = world.directory().join("node-wide");
    let file = world.directory().join("node-wide.yaml");
    std::fs::write(&file, format!("ca:\n  directory: {}\n", directory.join("ca").display()))?;
    // The shell stays: an agent that is alone in its cgroup exempts the whole of it.
    let script = "mount -t cgroup2 none /mnt && { \"$@\" & } && trap 'kill $!' TERM; wait; wait $!";
    let agent = world
        .agent_command("unshare")
        .args(["--cgroup", "--mount", "sh", "-c", script, "sh"])
        .arg(tollgate_world::agent::binary()?)
        .args(["run", "--config"])
        .arg(&file)
        .start()?;
    agent.wait_for("ready", GENEROUS)?;
    let trust = directory.join("trust/bundle.pem");
    let call = |program: tollgate_world::Program| {
        let arguments = ["--silent", "--show-error", "--fail", "-H", "authorization: Bearer k"];
        program.args(arguments).arg("https://api.openai.com/v1/models").run()
    };
    // In the tree: its first try meets the agent's certificate, which it does not trust.
    assert_eq!(call(world.agent_command("curl"))?.status.code(), Some(60));
    call(world.agent_command("curl").env("CURL_CA_BUNDLE", &trust))?.success()?;
    // Beside the tree: untouched.
    call(world.client_command("curl"))?.success()?;
    agent.signal(tollgate_world::Signal::SIGTERM);
    assert_eq!(agent.wait(GENEROUS)?.status.code(), Some(0));
    Ok(())
}
