use anyhow::Result;
use tollgate_e2e::{samples, sum};
use tollgate_provider::Outcome;
use tollgate_world::World;

use crate::support::{GENEROUS, RESERVED, budgets, held, refused, streams, until, with_status};

/// Room for fifty calls, each of which may answer with 1000 tokens.
const FIFTY: &str = "
policy:
  budgets:
    - { name: fifty, limit: 50000 output tokens, window: month }
";

#[test]
fn of_500_streams_at_once_a_budget_for_50_admits_50_and_is_never_exceeded() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(FIFTY)?;
    let gate = world.provider().gate("all");
    let half = || streams(&world, &agent, world.client_command("curl"), 250, "gate=all,words=30")?.start();
    let (first, second) = (half()?, half()?);
    // All that were admitted are on their way, and none has ended.
    refused(&agent, "budget", 450)?;
    held(&agent, &gate, 50)?;
    gate.open();
    let ended = [first.wait(GENEROUS)?, second.wait(GENEROUS)?];
    assert_eq!(ended.iter().map(|output| with_status(output, 429)).sum::<usize>(), 450);
    assert_eq!(ended.iter().map(|output| with_status(output, 200)).sum::<usize>(), 50);
    let served = world.provider().truth().exchanges();
    assert_eq!(served.len(), 50, "what is refused reaches nobody");
    let spent: u64 = served.iter().filter_map(|exchange| exchange.usage).map(|usage| usage.output).sum();
    assert!(spent <= 50 * RESERVED, "{spent}");
    Ok(())
}

#[test]
fn what_was_spent_and_what_was_on_its_way_is_still_spent_after_the_agent_was_killed() -> Result<()> {
    let config = "
policy:
  budgets:
    - { name: ten, limit: 10000 output tokens, window: month }
";
    let world = World::new()?;
    let agent = world.agent(config)?;
    let gate = world.provider().gate("middle");
    let holding = streams(&world, &agent, world.client_command("curl"), 5, "gate=middle,words=30")?.start()?;
    held(&agent, &gate, 5)?;
    let whole = streams(&world, &agent, world.client_command("curl"), 2, "words=9")?.run()?;
    assert_eq!(with_status(&whole, 200), 2);
    // Both, as a call without an end is charged what was set aside. What the metrics tell is on the ledger.
    until(&agent, "two calls that have ended", || {
        Ok(sum(&samples(&agent)?, "tollgate_requests_total", &["completed"]) == 2)
    })?;
    agent.kill();
    drop(holding.wait(GENEROUS)?);
    gate.open();

    let completed = || -> u64 {
        let served = world.provider().truth().exchanges().into_iter();
        let completed = served.filter(|exchange| exchange.outcome == Outcome::Completed);
        completed.filter_map(|exchange| exchange.usage).map(|usage| usage.output).sum()
    };
    // The first of these follows a kill, the second an orderly end.
    for turn in ["after-kill", "after-stop"] {
        // Five calls of which no end is known are charged what was set aside for them.
        let spent = 5 * RESERVED + completed();
        let fit = usize::try_from((10_000 - spent) / RESERVED)?;
        assert!((1..10).contains(&fit), "{turn}: {spent}");
        let agent = world.agent(config)?;
        let gate = world.provider().gate(turn);
        let faults = format!("gate={turn},words=30");
        let asked = streams(&world, &agent, world.client_command("curl"), 10, &faults)?.start()?;
        refused(&agent, "budget", 10 - fit as u64)?;
        held(&agent, &gate, fit)?;
        let told = budgets(&world, &agent)?;
        assert_eq!(told["budgets"][0]["spent"], spent.to_string(), "{told:#}");
        gate.open();
        assert_eq!(with_status(&asked.wait(GENEROUS)?, 429), 10 - fit, "{turn}");
        assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    }
    Ok(())
}
