use anyhow::Result;
use tollgate_e2e::{answer, chat, samples, sum};
use tollgate_world::{Agent, World};

use crate::support::{GENEROUS, held, streams, until, whole, with_status};

/// Denies one model, and has a budget that counts through all changes.
fn denying(model: &str) -> String {
    format!(
        "
policy:
  rules:
    - {{ name: not-{model}, match: {{ model: {model} }}, action: deny }}
  budgets:
    - {{ name: all, limit: 10M output tokens, window: month }}
  limits:
    - {{ name: at-once, concurrent: 1000 }}
"
    )
}

/// How often a configuration was read again, with this result.
fn reloads(agent: &Agent, result: &str) -> Result<u64> {
    Ok(sum(&samples(agent)?, "tollgate_config_reloads_total", &[&format!(r#""{result}""#)]))
}

#[test]
fn a_policy_changes_a_hundred_times_while_200_streams_run_and_none_is_lost() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(&denying("first"))?;
    let gate = world.provider().gate("reload");
    let running = streams(&world, &agent, world.client_command("curl"), 200, "gate=reload,words=20")?.start()?;
    held(&agent, &gate, 200)?;
    let call =
        |model: &str| answer(chat(&world, model, false).envs(agent.trust_variables()?).run()?).map(|said| said.1);
    let (mut good, mut bad) = (0, 0);
    for turn in 0..100 {
        if turn % 10 == 9 {
            agent.configure("policy:\n  rules:\n    - { name: broken, action: maybe }\n")?;
            bad += 1;
        } else {
            agent.configure(&denying(&format!("model-{turn}")))?;
            good += 1;
        }
        agent.reload();
        let (done, failed) = (good, bad);
        // The file is watched as well, so each change may be read twice, and the count may run ahead of what was read.
        until(&agent, "a reload", || Ok(reloads(&agent, "success")? >= done && reloads(&agent, "failure")? >= failed))?;
        // The streams go on meanwhile.
        gate.allow(20);
        if turn == 98 {
            until(&agent, "the last good policy", || Ok(call("model-98")? == 403))?;
        }
    }
    until(&agent, "the error, there to see", || {
        let (status, page) = agent.get("/status")?;
        Ok(status == 200 && page.contains("maybe"))
    })?;
    // The last one is bad, so the one before it is in force.
    assert_eq!(call("model-98")?, 403);
    assert_eq!(call("model-0")?, 200);
    gate.open();
    let ended = running.wait(GENEROUS)?;
    assert_eq!((with_status(&ended, 200), whole(&ended)), (200, 200), "{}", agent.log());
    assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    Ok(())
}

#[test]
fn a_new_level_of_the_log_holds_at_once_and_libraries_stay_quiet() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("log: { level: info }")?;
    let call = || answer(chat(&world, "gpt-4o-mini", false).envs(agent.trust_variables()?).run()?).map(|said| said.1);
    assert_eq!(call()?, 200);
    assert!(!agent.log().contains("\"DEBUG\""), "{}", agent.log());
    agent.configure("log: { level: debug }")?;
    agent.reload();
    until(&agent, "a line about a request", || {
        assert_eq!(call()?, 200);
        Ok(agent.log().contains("a request"))
    })?;
    assert!(agent.log().contains("\"target\":\"tollgate_proxy"), "{}", agent.log());
    for library in ["h2::", "hyper", "rustls", "tokio"] {
        assert!(!agent.log().contains(&format!("\"target\":\"{library}")), "{}", agent.log());
    }
    Ok(())
}
