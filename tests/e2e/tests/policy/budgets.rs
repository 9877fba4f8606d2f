use anyhow::Result;
use tollgate_provider::Outcome;
use tollgate_world::World;

use crate::support::{GENEROUS, held, refused, streams, with_status};

/// Room for fifty calls, each of which may answer with 100 tokens.
const FIFTY: &str = "
policy:
  budgets:
    - { name: fifty, limit: 5000 output tokens, window: month }
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
    assert!(spent <= 5_000, "{spent}");
    Ok(())
}

#[test]
fn what_was_spent_and_what_was_on_its_way_is_still_spent_after_the_agent_was_killed() -> Result<()> {
    let config = "
policy:
  budgets:
    - { name: ten, limit: 1000 output tokens, window: month }
";
    let world = World::new()?;
    let agent = world.agent(config)?;
    let gate = world.provider().gate("middle");
    let holding = streams(&world, &agent, world.client_command("curl"), 5, "gate=middle,words=30")?.start()?;
    held(&agent, &gate, 5)?;
    let whole = streams(&world, &agent, world.client_command("curl"), 2, "words=9")?.run()?;
    assert_eq!(with_status(&whole, 200), 2);
    agent.metrics_when(GENEROUS, |page| page.contains("outcome=\"completed\""))?;
    agent.kill();
    drop(holding.wait(GENEROUS)?);
    gate.open();

    let served = world.provider().truth().exchanges();
    let completed = served.iter().filter(|exchange| exchange.outcome == Outcome::Completed);
    let known: u64 = completed.filter_map(|exchange| exchange.usage).map(|usage| usage.output).sum();
    // Five calls of which no end is known are charged what was set aside for them.
    let fit = usize::try_from((1_000 - 500 - known) / 100)?;
    assert!(fit > 0 && known > 0, "{known}");
    for restarts in 0..2 {
        let agent = world.agent(config)?;
        let gate = world.provider().gate("after");
        let asked = streams(&world, &agent, world.client_command("curl"), 10, "gate=after,words=1,500")?.start()?;
        refused(&agent, "budget", 10 - fit as u64)?;
        held(&agent, &gate, fit)?;
        // What the provider does not charge for is given back, so the next agent has as much.
        gate.open();
        assert_eq!(with_status(&asked.wait(GENEROUS)?, 429), 10 - fit, "after {restarts} restarts");
        assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    }
    Ok(())
}
